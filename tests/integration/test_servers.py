"""The local servers: started, found again, killed, taken up on the same data, stopped; no stranger is touched."""

import json
import os
import re
import signal
import socket
import stat
import subprocess
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

import asyncpg
import psycopg
import pytest
import redis
import servers as fixtures
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from deployment import until
from servers import LocalServers
from typer.testing import CliRunner

from deploy.local import servers as local_servers
from deploy.local.cache import Cache
from deploy.local.cli import app
from deploy.local.database import ELSEWHERE, Database
from deploy.local.process import becomes_free, free_port
from deploy.local.servers import Addresses
from shared.errors import ServerMissing

NAMES = ("kafka", "postgres", "redis")
command = CliRunner()


@pytest.fixture
def local(private_servers: LocalServers) -> LocalServers:
    private_servers.up()
    return private_servers


def port(address: str) -> int:
    return int(address.rpartition(":")[2].partition("/")[0])


async def make_topic(address: str, topic: str) -> None:
    admin = AIOKafkaAdminClient(bootstrap_servers=address)
    await admin.start()
    await admin.create_topics([NewTopic(topic, num_partitions=1, replication_factor=1)])
    await admin.close()


async def put(address: str, topic: str, value: bytes) -> None:
    async with AIOKafkaProducer(bootstrap_servers=address, acks="all", max_request_size=10 << 20) as producer:
        await producer.send_and_wait(topic, value)


async def first_record(address: str, topic: str) -> bytes | None:
    async with AIOKafkaConsumer(bootstrap_servers=address, max_partition_fetch_bytes=10 << 20) as consumer:
        partition = TopicPartition(topic, 0)
        consumer.assign([partition])
        await consumer.seek_to_beginning(partition)
        value: bytes | None = (await consumer.getone()).value
        return value


def test_what_is_up_is_left_alone(local: LocalServers) -> None:
    before = local.addresses
    assert before.dead == []
    assert local.up() == before


def test_status_and_the_state_file_agree_and_only_the_owner_may_read_it(local: LocalServers) -> None:
    state = local.home / "servers.json"
    assert stat.S_IMODE(state.stat().st_mode) == 0o600
    kept = json.loads(state.read_text())
    assert local_servers.status(local.home) == Addresses(**kept)


def test_all_listen_on_loopback_only(local: LocalServers) -> None:
    ours = {port(getattr(local.addresses, name)) for name in NAMES}
    properties = (local.home / "servers/kafka/server.properties").read_text()
    ours.add(int(properties.partition("CONTROLLER://127.0.0.1:")[2].partition("\n")[0]))
    listening = "0A"
    places: dict[int, set[str]] = {}
    for table in ("/proc/net/tcp", "/proc/net/tcp6"):
        for line in Path(table).read_text().splitlines()[1:]:
            _, place, _, state, *_ = line.split()
            address, _, number = place.rpartition(":")
            if state == listening and int(number, 16) in ours:
                places.setdefault(int(number, 16), set()).add(address)
    loopback = {"0100007F", "0000000000000000FFFF00000100007F"}
    assert set(places) == ours
    assert all(addresses <= loopback for addresses in places.values()), places


def test_the_owner_of_the_database_is_no_superuser_but_may_make_roles_and_databases(local: LocalServers) -> None:
    with psycopg.connect(local.addresses.postgres, autocommit=True) as owner:
        query = "select rolsuper, rolcreaterole, rolcreatedb from pg_roles where rolname = current_user"
        assert owner.execute(query).fetchone() == (False, True, True)
        owner.execute("create role some_service")
        owner.execute("drop role some_service")


def test_a_wrong_password_and_the_superuser_are_refused(local: LocalServers) -> None:
    good = local.addresses.postgres
    password = good.split(":")[2].split("@")[0]
    for bad in (good.replace(password, "wrong"), good.replace("//gongji:", "//postgres:")):
        with pytest.raises(psycopg.OperationalError, match="password authentication failed"):
            psycopg.connect(bad, connect_timeout=5)


@pytest.mark.parametrize("setting", ["fsync", "synchronous_commit", "full_page_writes"])
def test_what_postgres_commits_is_durable(local: LocalServers, setting: str) -> None:
    with psycopg.connect(local.addresses.postgres) as owner:
        assert owner.execute(f"show {setting}").fetchone() == ("on",)


async def test_kafka_takes_a_record_of_eight_mebibytes(local: LocalServers, topic_prefix: str) -> None:
    value = os.urandom(8 << 20)
    await make_topic(local.addresses.kafka, f"{topic_prefix}large")
    await put(local.addresses.kafka, f"{topic_prefix}large", value)
    assert await first_record(local.addresses.kafka, f"{topic_prefix}large") == value


async def test_kafka_makes_no_topic_that_nobody_declared(local: LocalServers, topic_prefix: str) -> None:
    async with AIOKafkaProducer(bootstrap_servers=local.addresses.kafka) as producer:
        await producer.client.add_topic(f"{topic_prefix}undeclared")  # asks the broker for it, as a send would
    admin = AIOKafkaAdminClient(bootstrap_servers=local.addresses.kafka)
    await admin.start()
    topics = await admin.list_topics()
    await admin.close()
    assert f"{topic_prefix}undeclared" not in topics


@pytest.mark.parametrize("name", NAMES)
async def test_a_killed_server_comes_up_again_on_its_data_and_port(local: LocalServers, name: str, topic_prefix: str) -> None:
    topic = f"{topic_prefix}kept"
    await make_topic(local.addresses.kafka, topic)
    await put(local.addresses.kafka, topic, b"still here")
    with psycopg.connect(local.addresses.postgres, autocommit=True) as owner:
        owner.execute(f'create table "{topic}" as select 42 as answer')
    before = local.addresses

    local.kill(name)
    seen = local_servers.status(local.home)
    assert seen is not None
    assert seen.dead == [name]

    after = local.up()
    assert (after.kafka, after.postgres, after.redis) == (before.kafka, before.postgres, before.redis)
    assert {other for other in NAMES if after.pids[other] != before.pids[other]} == {name}
    assert await first_record(after.kafka, topic) == b"still here"
    with psycopg.connect(after.postgres) as owner:
        assert owner.execute(f'select answer from "{topic}"').fetchone() == (42,)
    with redis.Redis.from_url(after.redis) as client:
        assert client.ping()


def test_a_postmaster_killed_under_a_busy_session_comes_up_again(local: LocalServers) -> None:
    with psycopg.connect(local.addresses.postgres, autocommit=True) as busy:
        busy.execute("set statement_timeout = 0")
        with ThreadPoolExecutor(1) as aside:
            asleep = aside.submit(busy.execute, "select pg_sleep(300)")
            until(lambda: _asleep(local), "the session to be busy")
            local.kill("postgres")
            assert local.up().dead == []
            with pytest.raises(psycopg.OperationalError):
                asleep.result(timeout=30)


def _asleep(local: LocalServers) -> bool:
    with psycopg.connect(local.addresses.postgres) as looking:
        return looking.execute("select count(*) from pg_stat_activity where wait_event = 'PgSleep'").fetchone() == (1,)


def test_commands_at_the_same_time_start_each_server_once(local: LocalServers) -> None:
    local_servers.down(local.home)
    with ThreadPoolExecutor(3) as at_once:
        answers = set(map(str, at_once.map(lambda _: local_servers.up(local.home), range(3))))
    assert len(answers) == 1


def test_a_frozen_server_can_be_stopped(local: LocalServers) -> None:
    local.kill("redis", signal.SIGSTOP)
    local_servers.down(local.home)
    seen = local_servers.status(local.home)
    assert seen is not None
    assert seen.dead == list(NAMES)


def test_a_pid_in_the_state_file_that_is_a_stranger_now_is_never_killed(local: LocalServers) -> None:
    with subprocess.Popen(["sleep", "600"]) as stranger:
        state = json.loads((local.home / "servers.json").read_text())
        state["pids"] = dict.fromkeys(NAMES, stranger.pid)
        (local.home / "servers.json").write_text(json.dumps(state))
        local_servers.down(local.home)
        assert stranger.poll() is None
        seen = local_servers.status(local.home)
        assert seen is not None
        assert seen.dead == list(NAMES)
        stranger.terminate()


def test_a_port_that_a_stranger_took_is_given_up(local: LocalServers) -> None:
    before = local.addresses
    local.kill("redis")
    assert becomes_free(port(before.redis), 5)
    with closing(socket.create_server(("127.0.0.1", port(before.redis)))):
        after = local.up()
    assert after.redis != before.redis
    assert after.dead == []


def test_a_server_that_cannot_start_says_why_in_the_words_of_its_log(local: LocalServers) -> None:
    local.kill("postgres")
    settings = next((local.home / "servers/postgres").glob("data/postgresql.conf"))
    whole = settings.read_text()
    try:
        settings.write_text(whole + "\nno_such_setting = 1\n")
        with pytest.raises(ServerMissing, match="no_such_setting") as raised:
            local.up()
        assert raised.value.server == "postgres"
    finally:
        settings.write_text(whole)
    assert local.up().dead == []


@pytest.fixture
def hide_programs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    def hide() -> None:
        monkeypatch.setenv("PATH", str(tmp_path))
        monkeypatch.delenv("JAVA_HOME", raising=False)
        monkeypatch.setattr("deploy.local.database._DEBIAN", tmp_path)

    return hide


@pytest.mark.parametrize(("name", "remedy"), [("kafka", "openjdk-17-jre-headless"), ("redis", "redis-server")])
def test_a_program_that_is_not_installed_is_named_with_what_to_install(
    local: LocalServers, hide_programs: Callable[[], None], name: str, remedy: str
) -> None:
    local.kill(name)
    hide_programs()
    with pytest.raises(ServerMissing, match=f"apt-get install {remedy}") as raised:
        local.up()
    assert raised.value.server == name


def test_without_a_postgres_installation_the_package_is_named(tmp_path: Path, hide_programs: Callable[[], None]) -> None:
    hide_programs()
    with pytest.raises(ServerMissing, match="apt-get install postgresql"):
        Database(tmp_path).start(free_port())


@pytest.mark.skipif(os.geteuid() != 0, reason="only root has homes which Postgres's user may not enter")
def test_root_may_have_its_home_where_postgres_may_not_enter(tmp_path: Path) -> None:
    tmp_path.chmod(0o700)
    place = tmp_path / "postgres"
    place.mkdir()
    database = Database(place)
    try:
        local_servers._ensure(database)
        assert database.data.is_relative_to(ELSEWHERE)
        assert database.data.parent.exists()
    finally:
        database.process.stop(database.gently, 20)
        database.erase()
    assert not database.data.parent.exists()


def test_the_command_prints_addresses_and_pids(local: LocalServers, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GONGJI_HOME", str(local.home))
    result = command.invoke(app, ["up", "--json"])
    assert result.exit_code == 0, result.output
    printed = json.loads(result.stdout)
    assert list(printed) == ["kafka", "postgres", "redis", "pids"]
    assert list(printed["pids"]) == list(NAMES)
    assert printed["kafka"] == local.addresses.kafka


def test_the_status_of_servers_of_which_one_died_is_exit_3(local: LocalServers, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GONGJI_HOME", str(local.home))
    local.kill("redis")
    result = command.invoke(app, ["status", "--json"])
    assert result.exit_code == 3
    assert json.loads(result.stdout)["pids"]["redis"] == 0
    assert "not running: redis" in result.stderr


def test_a_disk_that_runs_full_is_said_by_status_before_it_is(local: LocalServers, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GONGJI_HOME", str(local.home))
    assert "left on its disk" not in command.invoke(app, ["status"]).stderr
    monkeypatch.setattr("deploy.local.cli._SCARCE", 1 << 60)
    said = command.invoke(app, ["status"])
    assert said.exit_code == 0
    assert re.findall(r"(\w+): \d+ MiB left on its disk", said.stderr) == ["kafka", "postgres"]


def test_the_status_of_a_home_without_servers_is_exit_3(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GONGJI_HOME", str(tmp_path / "none"))
    result = command.invoke(app, ["status", "--json"])
    assert (result.exit_code, result.stdout) == (3, "")
    assert not (tmp_path / "none").exists()


def test_a_fresh_database_is_empty_and_gone_afterwards(local: LocalServers, new_database: Callable[..., str]) -> None:
    dsn = new_database(local.addresses.postgres)
    with psycopg.connect(dsn) as owner:
        assert owner.execute("select count(*) from pg_tables where schemaname = 'public'").fetchone() == (0,)
        assert owner.info.dbname.startswith("test_")


def test_what_a_killed_test_run_left_behind_is_swept_by_the_next_and_what_is_in_use_is_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fixtures, "_HOMES", tmp_path)
    left_behind = tmp_path / "1-abcdef"
    redis_alone = Cache(left_behind / "servers" / "redis")
    local_servers._ensure(redis_alone)
    assert redis_alone.process.pid()
    with fixtures._own_home() as first:
        assert not left_behind.exists()
        assert not redis_alone.process.pid()
        with fixtures._own_home() as second:
            assert first.exists()
            assert second.exists()
    assert not first.exists()
    assert not second.exists()


async def test_the_servers_of_the_run_are_three_that_answer_and_a_database_of_ones_own(
    servers: Addresses, fresh_database: str, environment: dict[str, str]
) -> None:
    assert fresh_database != servers.postgres
    assert environment["GONGJI_POSTGRES"] == fresh_database
    connection = await asyncpg.connect(fresh_database)  # the services' driver reads the DSN too
    await connection.execute("create table mine (answer int)")
    await connection.close()
    with psycopg.connect(servers.postgres) as owner:
        assert owner.execute("select count(*) from pg_tables where tablename = 'mine'").fetchone() == (0,)
    admin = AIOKafkaAdminClient(bootstrap_servers=servers.kafka)
    await admin.start()
    assert (await admin.describe_cluster())["brokers"]
    await admin.close()
    with redis.Redis.from_url(servers.redis) as client:
        assert client.ping()


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_home_of_another_user_is_a_usage_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tmp_path.chmod(0o500)
    monkeypatch.setenv("GONGJI_HOME", str(tmp_path / "home"))
    result = command.invoke(app, ["up"])
    assert result.exit_code == 2
    assert "GONGJI_HOME" in result.stderr
