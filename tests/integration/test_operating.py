"""Operating the services: their pages, their metrics, their logs; what they say when they cannot start."""

import json
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from socket import create_server

import psycopg
import pytest
from breaking_redis import cache, prefix
from deployment import Deployment, Line, claims_of, day, deployment, until
from servers import LocalServers

from services.pipeline import PATH
from shared.events import SERVICES

PACKS = Path(__file__).parents[2] / "policies"
AT = "2023-05-02T11:00:00+08:00"
STEPS = {(place.service, place.name) for place in PATH}


@pytest.fixture(scope="module")
def running(private_servers: LocalServers) -> Iterator[Deployment]:
    with deployment(private_servers) as made:
        made.start()
        yield made


@pytest.fixture(scope="module")
def lines(running: Deployment) -> list[Line]:
    """A small day with every kind of mistake, settled."""
    made = day(300, seed=71)
    running.register(made)
    running.send([*claims_of(made), b"{", b'{"member_id": "310102199001011234"', b"\xff"])
    running.drain()
    return made


def test_a_redis_that_lost_everything_is_filled_again_from_the_books(running: Deployment, lines: list[Line]) -> None:
    assert lines
    stored = running.rows("select member_id, period, name, used, version from adjudication.counter")
    redis = cache(running)
    redis.flushall()
    redis.set(prefix(running) + stored[0][0], "by hand, and no hash")
    done = running.command("counters", "rebuild", "--json")
    assert (done.returncode, json.loads(done.stdout)["counters"]) == (0, len(stored))
    for member_id, period, name, used, version in stored:
        assert redis.hget(prefix(running) + member_id, f"{period}|{name}") == f"{version}:{used}".encode()
    running.audit()


def page(running: Deployment, service: str, path: str) -> tuple[int, str]:
    """What a service answers there."""
    [worker] = running.of(service)
    return worker.page(path)


@pytest.mark.parametrize("service", SERVICES)
def test_a_service_is_alive_and_ready_and_shows_what_it_reads(running: Deployment, service: str) -> None:
    assert page(running, service, "/live") == (200, "alive")
    until(lambda: page(running, service, "/ready") == (200, "ready"), f"{service} to be ready")
    status, text = page(running, service, "/asyncapi")
    assert status == 200
    for place in PATH:
        assert place.service != service or all(topic in text for topic in place.topics)
    assert page(running, service, "/nothing")[0] == 404


def test_the_metrics_that_operators_need_are_there_for_every_step(running: Deployment, lines: list[Line]) -> None:
    metrics = "\n".join(page(running, service, "/metrics")[1] for service in SERVICES)
    for name in (
        "gongji_records_total",
        "gongji_batches_total",
        "gongji_lag_seconds",
        "gongji_lag_records",
        "gongji_leases_held",
        "gongji_partitions_stopped",
        "gongji_partitions_missing",
        "gongji_relay_backlog",
    ):
        shown = set(re.findall(rf'^{name}{{[^}}]*service="(\w+)",step="(\w+)"', metrics, re.MULTILINE))
        counted = STEPS - {("account", "crediting")} if name.endswith("_total") else STEPS  # the day has no such command
        assert shown >= counted, (name, counted - shown)
    for name in ("gongji_fenced_total", "gongji_retries_total", "gongji_evicted_total", "gongji_announced_again_total"):
        assert f"# TYPE {name.removesuffix('_total')}_total counter" in metrics or f"# TYPE {name} counter" in metrics
    assert len(lines) > 300


def test_records_and_outcomes_are_counted_as_the_books_have_them(running: Deployment, lines: list[Line]) -> None:
    assert lines
    for service, name in (("intake", "submissions"), ("adjudication", "decisions"), ("account", "settlement")):
        counted = _labelled(running, service, "gongji_records_total", name)
        query = "select sum(decided), sum(repeated), sum(rejected), sum(quarantined) from runtime.lease where service = %s"
        [sums] = running.rows(query + " and topic like 'claims.%%'", service)
        assert [counted.get(key, 0) for key in ("decided", "repeated", "rejected", "quarantined")] == [int(n) for n in sums]
    outcomes = _labelled(running, "account", "gongji_settled_total", "settlement")
    booked = dict(running.rows("select outcome, count(*) from account.outcome where kind <> 'question' group by outcome"))
    assert {key: value for key, value in outcomes.items() if key != "answered"} == booked
    assert _labelled(running, "intake", "gongji_records_total", "submissions")["quarantined"] > 0


def _labelled(running: Deployment, service: str, name: str, step: str) -> dict[str, int]:
    """A counter by its last label."""
    pattern = rf'^{name}{{[^}}]*step="{step}"[^}}]*}} (\S+)$'
    found: dict[str, int] = {}
    for line in page(running, service, "/metrics")[1].splitlines():
        if value := re.match(pattern, line):
            labels = dict(re.findall(r'(\w+)="([^"]*)"', line))
            found[labels.get("became") or labels["outcome"]] = int(float(value[1]))
    return found


def test_logs_are_json_lines_and_name_no_member(running: Deployment, lines: list[Line]) -> None:
    members = {line["member_id"] for line in lines if line.get("member_id")} | {"310102199001011234"}
    assert len(members) > 100
    for worker in running.workers:
        text = worker.log.read_text()
        logged = [line for line in text.splitlines() if not line.startswith("gongji: ")]
        assert logged
        for line in logged:
            assert {"at", "level", "log", "message"} <= json.loads(line).keys()
        assert [member for member in members if member in text] == []
        metrics = page(running, worker.name, "/metrics")[1]
        assert [member for member in members if member in metrics] == []


def test_a_stopped_partition_is_told_on_the_page_in_the_metrics_and_in_the_log(running: Deployment, lines: list[Line]) -> None:
    """The books say that the log goes further than it does: its tail is lost."""
    assert lines
    [worker] = running.of("crossregion")
    running.kill(worker, signal.SIGTERM)
    running.workers.remove(worker)
    [(topic, partition, next_offset)] = running.rows(
        "select topic, partition, next_offset from runtime.lease where service = 'crossregion' order by partition limit 1"
    )
    _set_next_offset(running, next_offset + 1000)
    try:
        [worker] = running.start("crossregion")
        until(lambda: f"{topic}/{partition}: the log ends at" in page(running, "crossregion", "/ready")[1], "the page to tell")
        assert page(running, "crossregion", "/ready")[0] == 503
        stopped = 'gongji_partitions_stopped{service="crossregion",step="obligations"} 1.0'
        until(lambda: stopped in page(running, "crossregion", "/metrics")[1], "the metric to tell")
        alarms = [json.loads(line) for line in worker.log.read_text().splitlines() if '"CRITICAL"' in line]
        assert [(alarm["topic"], alarm["partition"]) for alarm in alarms] == [(topic, partition)]
        assert page(running, "crossregion", "/live") == (200, "alive")
        held = 'gongji_leases_held{service="crossregion",step="obligations"} 7.0'
        until(lambda: held in page(running, "crossregion", "/metrics")[1], "the others to be held")
    finally:
        running.kill(worker, signal.SIGTERM)
        running.workers.remove(worker)
        _set_next_offset(running, next_offset)
        running.start("crossregion")


def _set_next_offset(running: Deployment, offset: int) -> None:
    with psycopg.connect(running.servers.addresses.postgres, autocommit=True) as connection:
        place = "service = 'crossregion' and partition = 0 and topic = 'claims.settled'"
        connection.execute(f"update runtime.lease set next_offset = %s where {place}", (offset,))


def test_a_feed_with_lines_that_are_no_records_is_sent_whole_and_ends_with_1(running: Deployment, tmp_path: Path) -> None:
    member, *_ = (line for line in day(5, seed=73) if line["type"] == "member")
    good = json.dumps({"type": "reversal", "claim_no": "F1", "institution_id": "F", "reversed_at": AT, "reason": "x"})
    broken = ["garbage", '{"type":"claim"}', json.dumps(member | {"valid_from": "soon"})]
    feed = tmp_path / "feed.ndjson"
    feed.write_text("\n".join([good, *broken, good]), encoding="utf-8-sig")  # the file's byte order mark is no record's
    done = running.command("feed", "send", str(feed))
    told = done.stderr.splitlines()
    assert done.returncode == 1, done.stderr
    assert [line.split(": ")[0] for line in told[:3]] == [f"{feed}:{number}" for number in (2, 3, 4)]
    assert "sent 1 register lines, 4 submissions" in told[3]
    assert told[4].startswith("3 lines are no records")
    running.drain()
    assert {line.encode() for line in broken} <= set(running.dead_letters())
    feed.write_text(good)
    assert running.command("feed", "send", str(feed)).returncode == 0


def test_sigterm_drains_and_leaves_nothing_to_announce_again(running: Deployment, lines: list[Line]) -> None:
    assert lines
    more = day(300, seed=72)
    running.register(more)
    running.send(claims_of(more))
    [worker] = running.of("adjudication")
    running.kill(worker, signal.SIGTERM)
    assert worker.process.returncode == 0, worker.log.read_text()[-2000:]
    behind = "select count(*) from runtime.lease where service = 'adjudication' and relayed_seq < out_seq"
    assert running.rows(behind) == [(0,)]
    running.workers.remove(worker)
    running.start("adjudication")
    running.drain()
    again = re.findall(r'"announced_again": (\d+)', running.of("adjudication")[0].log.read_text())
    assert again
    assert set(again) == {"0"}


# -- what cannot start --------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def nowhere() -> int:
    """A port on which nobody answers."""
    with create_server(("127.0.0.1", 0)) as taken:
        port: int = taken.getsockname()[1]
    return port


def serve(running: Deployment, **environment: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [sys.executable, "-m", "services", "serve", "intake"],
        env=running.environment | environment, capture_output=True, text=True, timeout=90, check=False,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("server", "address"), [("kafka", "127.0.0.1:{}"), ("postgres", "postgresql://gongji@127.0.0.1:{}/gongji")]
)
def test_a_needed_server_that_is_not_there_is_named_with_its_remedy(
    running: Deployment, nowhere: int, server: str, address: str
) -> None:
    done = serve(running, **{f"GONGJI_{server.upper()}": address.format(nowhere)})
    assert done.returncode == 3, done.stderr[-2000:]
    [message] = [line for line in done.stderr.splitlines() if line.startswith("gongji: ")]
    assert message.startswith(f"gongji: {server}: ")
    assert "gongji servers up" in message
    assert f"GONGJI_{server.upper()}" in message
    assert "Traceback" not in done.stderr


def test_without_redis_a_service_starts_with_a_warning(running: Deployment, nowhere: int) -> None:
    [worker] = running.start("intake", GONGJI_REDIS=f"redis://127.0.0.1:{nowhere}/0")
    try:
        warnings = [json.loads(line) for line in worker.log.read_text().splitlines() if '"WARNING"' in line]
        [warning] = [one for one in warnings if "redis is not there" in one["message"]]
        assert "gongji servers up" in warning["remedy"]
    finally:
        running.kill(worker, signal.SIGTERM)
        running.workers.remove(worker)


def test_nothing_configured_is_exit_3_too(running: Deployment, tmp_path: Path) -> None:
    done = serve(running, GONGJI_HOME=str(tmp_path))
    assert done.returncode == 3
    assert "gongji servers up" in done.stderr


def test_a_wrong_pack_keeps_a_service_from_starting(running: Deployment, tmp_path: Path) -> None:
    packs = tmp_path / "policies"
    shutil.copytree(PACKS, packs)
    pack = packs / "130900-cangzhou.yaml"
    pack.write_text(pack.read_text().replace("unit:", "unti:", 1))
    done = serve(running, GONGJI_POLICIES=str(packs))
    assert done.returncode == 2, done.stderr[-2000:]
    assert "130900-cangzhou.yaml" in done.stderr
    assert "unti" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("GONGJI_API_CLIENT_CA", "nowhere.pem"),
        ("GONGJI_API_CERT", "nowhere.pem"),
        ("GONGJI_HTTP", "x"),
        ("GONGJI_LOG_LEVEL", "LOUD"),
    ],
)
def test_a_setting_that_cannot_be_kept_is_told_at_the_start(running: Deployment, variable: str, value: str) -> None:
    done = serve(running, **{variable: value})
    assert done.returncode == 2, done.stderr[-2000:]
    [message] = done.stderr.splitlines()
    assert re.match(rf"gongji: {variable}=('?){value}\1: ", message)


def test_a_page_whose_port_another_has_is_told_with_its_variable(running: Deployment) -> None:
    with create_server(("127.0.0.1", 0)) as taken:
        done = serve(running, GONGJI_HTTP=f"127.0.0.1:{taken.getsockname()[1]}")
    assert done.returncode == 2, done.stderr[-2000:]
    assert re.search(r"^gongji: GONGJI_HTTP=127.0.0.1:\d+: Address already in use$", done.stderr, re.MULTILINE)


def test_a_key_that_is_none_is_not_sent_nor_shown(running: Deployment, tmp_path: Path) -> None:
    feed = tmp_path / "feed.ndjson"
    feed.write_text("{}")
    for key in ("bad\nx", "schlüssel"):
        done = running.command("feed", "send", "--http", "http://127.0.0.1:1", str(feed), GONGJI_KEY=key)
        assert (done.returncode, done.stderr.startswith("gongji: GONGJI_KEY: "), key in done.stderr) == (2, True, False)


def test_an_unknown_service_is_a_usage_error(running: Deployment) -> None:
    done = running.command("serve", "intaek")
    assert done.returncode == 2
    assert "intake" in done.stderr


def test_another_kafka_cluster_under_the_same_books_stops_the_start(running: Deployment) -> None:
    with psycopg.connect(running.servers.addresses.postgres, autocommit=True) as connection:
        [(ours,)] = connection.execute("select cluster_id from runtime.deployment").fetchall()
        connection.execute("update runtime.deployment set cluster_id = 'another'")
        try:
            done = serve(running)
        finally:
            connection.execute("update runtime.deployment set cluster_id = %s", (ours,))
    assert done.returncode == 1, done.stderr[-2000:]
    assert "these books belong to Kafka cluster another" in done.stderr
    assert "gongji lease adopt" in done.stderr
