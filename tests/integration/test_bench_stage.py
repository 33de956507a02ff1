"""The benchmark's stage and its look at Postgres, on real servers that are the benchmark's own."""

import asyncio
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import asyncpg
import pytest
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType
from leavings import environment, left_behind
from waiting import eventually

from services.bench import day, watch
from services.bench.day import Asked, Feed
from services.bench.load import Prepared
from services.bench.run import settled_before
from services.bench.stage import Stage, stage
from shared.errors import Stop, UsageError
from shared.runtime import access
from shared.runtime.service import prepare

pytestmark = pytest.mark.servers


@pytest.fixture(scope="module")
def own(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    """A stage where one was killed before, in an environment that names somebody else's Postgres."""
    home = tmp_path_factory.mktemp("bench") / "real"
    home.mkdir()
    (home / "records").write_bytes(b"of a run that was killed")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("GONGJI_POSTGRES", "postgresql://somebody:else@127.0.0.1:1/theirs")
        patch.setenv("GONGJI_KAFKA_USER", "somebody")
        with stage(home) as made:
            yield made
    assert not home.exists()


def test_a_stage_is_its_own_whatever_the_environment_names(own: Stage) -> None:
    assert own.settings.postgres == own.addresses.postgres
    assert not {"GONGJI_POSTGRES", "GONGJI_KAFKA_USER"} & set(own.environment)
    assert not (own.home / "records").exists()


def test_two_benchmarks_do_not_share_a_stage(own: Stage) -> None:
    with pytest.raises(UsageError, match="another benchmark"), stage(own.home):
        pass


def test_an_interrupted_benchmark_leaves_nothing(tmp_path: Path) -> None:
    options = ("--rate", "20", "--backlog", "1000", "--members", "100", "--no-floors")
    command = (sys.executable, "-m", "services", "bench", *options)
    with subprocess.Popen(command, env=environment(tmp_path), stderr=subprocess.PIPE, text=True) as running:
        assert running.stderr is not None
        while (line := running.stderr.readline()) and not line.startswith("warming up"):
            pass
        assert eventually(lambda: "services.bench.load" in " ".join(left_behind(tmp_path)))
        running.send_signal(signal.SIGTERM)
        _, said = running.communicate(timeout=120)
    assert running.returncode == 130
    assert "interrupted; everything that was started is stopped" in said
    assert left_behind(tmp_path) == []
    assert not (tmp_path / "bench" / "real").exists()


def test_topics_that_forget_keep_what_the_books_are_rebuilt_from(own: Stage) -> None:
    asyncio.run(prepare(own.settings))
    asyncio.run(own.forget())
    wanted = {"claims.submitted": ("-1", "-1"), "claims.settled": (str(90 * 86_400_000), str(64 * 1024 * 1024))}
    given_up = time.monotonic() + 20  # a broker says what it is told a moment after it is told
    while (kept := asyncio.run(_kept(own, *wanted))) != wanted and time.monotonic() < given_up:
        time.sleep(0.2)
    assert kept == wanted


async def _kept(own: Stage, *topics: str) -> dict[str, tuple[str, ...]]:
    """How long (ms) and how much (bytes a partition) the broker says that it keeps."""
    admin = AIOKafkaAdminClient(**access.kafka(own.settings.kafka))
    await admin.start()
    try:
        [answer] = await admin.describe_configs([ConfigResource(ConfigResourceType.TOPIC, topic) for topic in topics])
        settings = {resource[3]: {entry[0]: entry[1] for entry in resource[4]} for resource in answer.resources}
        return {topic: (found["retention.ms"], found["retention.bytes"]) for topic, found in settings.items()}
    finally:
        await admin.close()


@pytest.fixture(scope="module")
def settling(own: Stage) -> Stage:
    asyncio.run(prepare(own.settings))
    own.start()
    return own


def test_what_is_settled_before_goes_in_pieces_and_is_answered(settling: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(day, "_PIECE", 20)
    asked = Asked(rate=1, minutes=0.05, backlog=1, members=100, seed=6, floors=False, stored=70)
    feed = Feed(asked, settling.settings.partitions)
    asyncio.run(settling.register(feed.register))
    sent, since = sum(asyncio.run(settling.ends()).values()), int(time.time() * 1000)
    asyncio.run(settled_before(settling, feed))
    assert sum(asyncio.run(settling.ends()).values()) - sent == 70
    assert len(asyncio.run(settling.outcomes(since))) == 70  # a repeat is answered too
    assert list(feed.stored()) == []
    assert len(feed.steady) == 3


def test_statements_waits_workers_and_a_slow_statement_s_plan_are_seen(settling: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    own = settling
    asked = Asked(rate=20, minutes=0.05, backlog=1, members=100, seed=5, floors=False, profile=True)
    feed = Feed(asked, own.settings.partitions)
    asyncio.run(own.register(feed.register))
    generate = own.generate

    async def beside_a_slow_statement(records: Sequence[Prepared], rate: float) -> float:
        connection = await asyncpg.connect(own.settings.postgres)
        await connection.execute("select count(*) from account.outcome, pg_sleep(0.05)")
        await connection.close()
        return await generate(records, rate)

    monkeypatch.setattr(own, "generate", beside_a_slow_statement)
    seen = watch.watched(own, feed.watched, asked.rate, print)
    assert seen is not None
    assert 0.1 < seen["statements"] < 50
    assert any('"decision"' in one["query"] for one in seen["most"])
    assert sum(seen["waits"].values()) == pytest.approx(1, abs=0.01)
    [slow] = [one for one in seen["slow"] if "pg_sleep" in one["query"]]
    assert slow["ms"] > 50
    assert any("Function Scan of pg_sleep" in node for node in slow["plan"])
    assert {"intake", "eligibility", "adjudication", "account", "crossregion"} == set(seen["workers_us"])
    assert any(part.startswith("services.adjudication") for part in seen["workers_us"]["adjudication"])
    assert sum(seen["broker_us"].values()) > 0
    assert own.audit() > 0


def test_an_audit_that_does_not_pass_is_heard(own: Stage) -> None:
    asyncio.run(prepare(own.settings))
    asyncio.run(_changed(own, "update runtime.deployment set partitions = partitions + 1"))
    try:
        with pytest.raises(Stop, match=r"no figure[^*]*leases_belong_to_the_deployment: deployment"):
            own.audit()
    finally:
        asyncio.run(_changed(own, "update runtime.deployment set partitions = partitions - 1"))


async def _changed(own: Stage, sql: str) -> None:
    connection = await asyncpg.connect(own.settings.postgres)
    try:
        await connection.execute(sql)
    finally:
        await connection.close()
