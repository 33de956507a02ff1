"""docker-compose.yml and the Dockerfile say the same as the program: services, environment, versions."""

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from deploy.local import broker
from shared.events import SERVICES as PROGRAM

ROOT = Path(__file__).parents[2]
COMPOSE: dict[str, Any] = yaml.safe_load((ROOT / "docker-compose.yml").read_text(encoding="utf-8"))
SERVERS = {"kafka", "postgres", "redis"}
SERVICES = {name: service for name, service in COMPOSE["services"].items() if name not in SERVERS}


def variables_read_by_the_program() -> set[str]:
    sources = [*(ROOT / "shared").rglob("*.py"), *(ROOT / "services").rglob("*.py")]
    read = {name for source in sources for name in re.findall(r"\bGONGJI_[A-Z_]+[A-Z]\b", source.read_text(encoding="utf-8"))}
    return read | {f"GONGJI_{server.upper()}" for server in SERVERS}


def test_every_service_of_the_program_has_its_container() -> None:
    assert {name: service["command"] for name, service in SERVICES.items()} == {name: ["serve", name] for name in PROGRAM}


@pytest.mark.parametrize("name", SERVICES)
def test_a_container_is_given_only_what_the_program_reads_and_every_address(name: str) -> None:
    given = set(SERVICES[name]["environment"])
    assert given - variables_read_by_the_program() == set()
    assert {"GONGJI_KAFKA", "GONGJI_POSTGRES", "GONGJI_REDIS", "GONGJI_HOME"} <= given


@pytest.mark.parametrize("name", SERVICES)
def test_a_service_starts_after_servers_that_can_tell_that_they_are_well(name: str) -> None:
    assert SERVICES[name]["depends_on"] == {server: {"condition": "service_healthy"} for server in SERVERS}
    assert all("healthcheck" in service for service in COMPOSE["services"].values())


def test_addresses_name_servers_of_this_file() -> None:
    environment = SERVICES["intake"]["environment"]
    for server in SERVERS:
        assert re.search(rf"(^|//|@){server}:\d+", environment[f"GONGJI_{server.upper()}"])


def test_the_counter_is_published_to_this_machine_alone() -> None:
    _, _, port = SERVICES["intake"]["environment"]["GONGJI_API"].rpartition(":")
    assert [one.rpartition(":")[2] for one in SERVICES["intake"]["ports"]] == [port]
    assert all(one.startswith("127.0.0.1:") for one in SERVICES["intake"]["ports"])


def test_containers_run_the_versions_that_local_servers_run() -> None:
    pom = (ROOT / "deploy/local/kafka/pom.xml").read_text(encoding="utf-8")
    kafka = re.search(r"<kafka.version>(.+)</kafka.version>", pom)
    assert kafka is not None
    assert COMPOSE["services"]["kafka"]["image"] == f"apache/kafka:{kafka[1]}"


@pytest.mark.parametrize(
    "setting",
    ["message.max.bytes", "auto.create.topics.enable", "group.initial.rebalance.delay.ms", "offsets.topic.replication.factor"],
)
def test_kafka_in_a_container_is_set_as_the_local_one(setting: str) -> None:
    variable = f"KAFKA_{setting.replace('.', '_').upper()}"
    assert COMPOSE["services"]["kafka"]["environment"][variable] == str(broker._SETTINGS[setting])


def test_what_the_dockerfile_copies_is_let_through_by_dockerignore() -> None:
    copied = set()
    for line in (ROOT / "deploy/Dockerfile").read_text(encoding="utf-8").splitlines():
        if line.startswith("COPY"):
            copied |= {source.partition("/")[0] for source in line.split()[1:-1]}
    let_through = {line[1:] for line in (ROOT / ".dockerignore").read_text(encoding="utf-8").splitlines() if line.startswith("!")}
    assert copied == let_through
