"""`gongji demo` as its users run it: a process of its own, on local servers that it starts and stops."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from leavings import environment, left_behind
from waiting import eventually

from deploy.local import servers as local

SECONDS = 300


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """One home for the module: a second demo works on the books of the first."""
    home = tmp_path_factory.mktemp("demo") / "home"
    yield home
    local.erase(home)


def demo(home: Path, *options: str, **more: str) -> subprocess.CompletedProcess[str]:
    command = (sys.executable, "-m", "services", "demo", *options)
    return subprocess.run(command, env=environment(home, **more), capture_output=True, text=True, check=False, timeout=SECONDS)


def ended(result: subprocess.CompletedProcess[str]) -> dict[str, Any]:
    assert result.returncode == 0, result.stderr
    said: dict[str, Any] = json.loads(result.stdout)
    return said


@pytest.fixture
def found(home: Path) -> Path:
    """The home with its servers running: a demo leaves what it finds."""
    local.up(home)
    return home


def fen(amount: str) -> int:
    return int(Decimal(amount) * 100)


@pytest.fixture(scope="module")
def the_day(home: Path) -> subprocess.CompletedProcess[str]:
    """A day of seed 7 in new books, a worker of each service killed on the way."""
    result = demo(home, "--claims", "1500", "--seed", "7", "--chaos", "--json")
    assert left_behind(home) == []
    return result


def test_a_day_settles_and_its_summary_adds_up(the_day: subprocess.CompletedProcess[str]) -> None:
    day = ended(the_day)
    records, outcomes = day["records"], day["outcomes"]
    assert records["taken"] == day["submitted"] == records["outcomes"] + records["repeats"] + records["dead"]
    assert records["outcomes"] == sum(outcomes.values())
    assert min(outcomes["settled"], outcomes["rejected"], outcomes["reversed"], records["repeats"]) > 0
    assert outcomes["settled"] > 1000
    assert {reason["code"] for reason in day["reasons"]} >= {
        "malformed",
        "within_deductible",
        "cap_reached",
        "duplicate_conflict",
    }
    assert all(reason["zh"] and reason["en"] for reason in day["reasons"])
    for city in day["paid"]:
        parts = ("pooled", "large_expense", "civil_servant", "veterans", "account", "family_account", "cash")
        assert fen(city["total"]) == sum(fen(city[part]) for part in parts)
    assert [city["region"] for city in day["paid"]] == ["130900", "420300", "440800", "511900", "653100"]
    assert day["owed"]
    assert sum(fen(net) for net in day["net"].values()) == 0
    assert 0 < day["latency_ms"]["p50"] <= day["latency_ms"]["p95"] <= day["latency_ms"]["p99"]
    assert day["drain"]["claims_per_second"] == pytest.approx(records["outcomes"] / day["drain"]["seconds"], rel=0.02)
    assert day["audit"]["ok"]
    assert day["audit"]["checks"]


def test_a_worker_of_each_service_was_killed_on_the_way(the_day: subprocess.CompletedProcess[str]) -> None:
    kills = ended(the_day)["kills"]
    assert [kill["service"] for kill in kills] == ["intake", "eligibility", "adjudication", "account", "crossregion"]
    assert all(f"kill -9 {kill['pid']}" in the_day.stderr for kill in kills)


def test_the_same_day_again_is_nothing_but_repeats(the_day: subprocess.CompletedProcess[str], found: Path) -> None:
    first = ended(the_day)
    again = ended(demo(found, "--claims", "1500", "--seed", "7", "--json"))
    assert first["submitted"] == again["submitted"]
    assert (again["records"]["outcomes"], again["paid"]) == (0, [])
    assert again["records"]["repeats"] == again["submitted"] - again["records"]["dead"]
    assert left_behind(found, servers=False) == []


def test_an_interrupted_demo_leaves_nothing_running(home: Path) -> None:
    local.down(home)
    assert interrupted(home, signal.SIGINT) == 130
    assert left_behind(home) == []


def test_a_demo_asked_to_keep_stays_up_and_says_how_to_stop(home: Path) -> None:
    """Its books have what the interrupted one left under way: that is not counted as its own."""
    local.down(home)
    result = demo(home, "--claims", "100", "--keep", "--json")
    try:
        assert ended(result)["submitted"] < 150
        addresses = local.status(home)
        assert addresses is not None
        assert addresses.dead == []
        for address in (addresses.kafka, addresses.postgres.split("@")[1], addresses.redis):  # its password is not printed
            assert address in result.stderr
        assert sum(command.rstrip().endswith("serve account") for command in left_behind(home)) == 1
        kill, pid = next(line for line in result.stderr.splitlines() if "to stop" in line).split(";")[0].split()[-2:]
        assert kill == "kill"
        os.kill(int(pid), signal.SIGTERM)
        assert eventually(lambda: left_behind(home, servers=False) == [])
    finally:
        local.down(home)
    assert left_behind(home) == []


def test_servers_that_a_demo_found_stay_also_when_it_is_told_to_end(found: Path) -> None:
    before = local.status(found)
    assert interrupted(found, signal.SIGTERM) == 130
    assert left_behind(found, servers=False) == []
    assert local.status(found) == before


def interrupted(home: Path, number: signal.Signals) -> int:
    """Starts a demo, sends it a signal while its day runs, and gives its exit code."""
    command = (sys.executable, "-m", "services", "demo", "--claims", "2000", "--rate", "50")
    with subprocess.Popen(command, env=environment(home), stderr=subprocess.PIPE, text=True) as running:
        assert running.stderr is not None
        while (line := running.stderr.readline()) and not line.startswith("sent "):
            pass
        assert len(left_behind(home, servers=False)) == 6  # a supervisor and five workers
        running.send_signal(number)
        _, said = running.communicate(timeout=SECONDS)
    assert "interrupted" in said
    return running.returncode


def test_without_a_server_s_program_the_remedy_is_one_command(tmp_path: Path) -> None:
    result = demo(tmp_path / "home", "--claims", "10", PATH=str(tmp_path))
    assert result.returncode == 3
    assert "apt-get install" in result.stderr
    assert left_behind(tmp_path) == []


def test_servers_are_named_all_or_none(tmp_path: Path) -> None:
    result = demo(tmp_path / "home", GONGJI_KAFKA="127.0.0.1:1")
    assert result.returncode == 2
    assert "GONGJI_POSTGRES" in result.stderr
