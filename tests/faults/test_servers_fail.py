"""Kafka, Postgres and Redis are killed, frozen, emptied while claims flow. The outcomes are those of an undisturbed run.

Each test sends a day of its own through one deployment, and ends with every outcome compared and the books audited.
"""

import asyncio
import signal
import time
from collections.abc import Iterator, Sequence

import pytest
import redis
from deployment import Deployment, Line, check, chunks, claims_of, day, deployment, until
from servers import LocalServers

from services.pipeline import SERVICES
from shared.runtime.cache import Cache


@pytest.fixture(scope="module")
def running(private_servers: LocalServers) -> Iterator[Deployment]:
    with deployment(private_servers) as made:
        made.start()
        yield made


@pytest.fixture(autouse=True)
def _servers_and_services(running: Deployment) -> Iterator[None]:
    """Whatever a test left stopped goes on for the next; the services themselves must have lived through it."""
    yield
    for name in ("kafka", "redis", "postgres"):
        running.servers.kill(name, signal.SIGCONT)
    running.servers.up()
    assert running.restart_the_dead() == []


def begin(running: Deployment, claims: int, seed: int) -> tuple[list[Line], list[Sequence[Line]]]:
    """A day whose register is applied, and its claims in two halves."""
    lines = day(claims, seed=seed)
    running.register(lines)
    return lines, chunks(claims_of(lines), 2)


def counted(running: Deployment, service: str = "adjudication") -> int:
    [(records,)] = running.rows("select coalesce(sum(records), 0)::bigint from runtime.lease where service = %s", service)
    return int(records)


def under_way(running: Deployment, before: int, records: int = 150) -> None:
    """Waits until so many more records are decided; the rest is on its way."""
    until(lambda: counted(running) >= before + records, f"{records} decisions")


# -- Redis --------------------------------------------------------------------------------------------------------------


def test_redis_frozen_holds_up_no_settlement_and_catches_up_afterwards(running: Deployment) -> None:
    lines, (first, second) = begin(running, 600, seed=21)
    before = counted(running)
    running.send(first)
    under_way(running, before)
    running.servers.kill("redis", signal.SIGSTOP)
    frozen_at = time.monotonic()
    running.send(second)
    running.drain()
    until(lambda: time.monotonic() - frozen_at > 5, "five seconds of a frozen Redis")
    running.servers.kill("redis", signal.SIGCONT)
    _projected(running)
    shown, stored = _shown_of(running, _members(lines)), _stored_of(running, _members(lines))
    assert shown.items() <= stored.items()
    assert all(key in shown for key, (_, version) in stored.items() if version)  # a row without a decision need not be shown
    check(running, lines)


def test_redis_flushed_twice_while_claims_flow_costs_no_fen(running: Deployment) -> None:
    lines, halves = begin(running, 600, seed=22)
    for half in halves:
        before = counted(running)
        running.send(half)
        under_way(running, before, 50)
        _redis(running).flushall()
    running.drain()
    _projected(running)
    shown, stored = _shown_of(running, _members(lines)), _stored_of(running, _members(lines))
    assert shown.items() <= stored.items()  # what is there is right; what was flushed comes from Postgres when asked for
    check(running, lines)


def test_redis_killed_and_started_again_empty_costs_no_fen(running: Deployment) -> None:
    lines, (first, second) = begin(running, 600, seed=23)
    before = counted(running)
    running.send(first)
    under_way(running, before, 50)
    running.servers.kill("redis")
    running.send(second)
    running.drain()
    running.servers.up()
    _projected(running)
    shown, stored = _shown_of(running, _members(lines)), _stored_of(running, _members(lines))
    assert shown.items() <= stored.items()
    assert len(shown) > 0  # what was decided while Redis was away was written when it came back
    check(running, lines)


def test_what_a_hand_wrote_into_redis_is_swept_away(running: Deployment) -> None:
    _redis(running).flushall()
    lines, halves = begin(running, 60, seed=24)
    for half in halves:
        running.send(half)
    running.drain()
    _projected(running)
    right = _stored_of(running, _members(lines))
    ahead, of_another_kind = sorted({member for member, _, _ in right})[:2]
    key = _prefix(running) + ahead
    _redis(running).hset(key, _redis(running).hkeys(key)[0], "999999:1")
    _redis(running).set(_prefix(running) + of_another_kind, "no hash at all")
    until(
        lambda: not _redis(running).exists(key) and not _redis(running).exists(_prefix(running) + of_another_kind),
        "both to be deleted",
    )
    check(running, lines)


def _redis(running: Deployment) -> "redis.Redis":
    return redis.Redis.from_url(running.servers.addresses.redis)


def _prefix(running: Deployment) -> str:
    [(incarnation,)] = running.rows("select incarnation::text from runtime.deployment")
    return f"gongji:{incarnation}:counters:"


def _members(lines: Sequence[Line]) -> list[str]:
    return sorted({line["member_id"] for line in claims_of(lines) if line.get("member_id")})


def _stored_of(running: Deployment, members: Sequence[str]) -> dict[tuple[str, str, str], tuple[int, int]]:
    """Counters as Postgres has them."""
    query = "select member_id, period, name, used, version from adjudication.counter where member_id = any(%s)"
    rows = running.rows(query, members)
    return {(row[0], row[1], row[2]): (row[3], row[4]) for row in rows}


def _shown_of(running: Deployment, members: Sequence[str]) -> dict[tuple[str, str, str], tuple[int, int]]:
    """Counters as Redis has them."""

    async def read() -> dict[tuple[str, str, str], tuple[int, int]]:
        [(incarnation,)] = running.rows("select incarnation::text from runtime.deployment")
        cache = Cache(running.servers.addresses.redis, incarnation)
        shown = {(m, p, n): value for m in members for (p, n), value in (await cache.read(m)).items()}
        await cache.close()
        return shown

    return asyncio.run(read())


def _projected(running: Deployment) -> None:
    query = "select count(*) from runtime.lease where service = 'adjudication' and projected_seq < out_seq"
    until(lambda: running.rows(query) == [(0,)], "Redis to catch up")


# -- Kafka --------------------------------------------------------------------------------------------------------------


def test_kafka_killed_and_started_again_while_claims_flow_changes_nothing(running: Deployment) -> None:
    lines, (first, second) = begin(running, 700, seed=31)
    before = counted(running)
    running.send(first)
    under_way(running, before)
    running.servers.kill("kafka")
    running.servers.up()
    running.send(second)
    running.drain()
    check(running, lines)


def test_a_broker_that_freezes_beyond_every_session_changes_nothing(running: Deployment) -> None:
    lines, (first, second) = begin(running, 600, seed=32)
    before = counted(running)
    running.send(first)
    under_way(running, before)
    running.servers.kill("kafka", signal.SIGSTOP)
    frozen_at = time.monotonic()
    until(lambda: time.monotonic() - frozen_at > 15, "fifteen seconds of a frozen broker")
    running.servers.kill("kafka", signal.SIGCONT)
    running.send(second)
    running.drain()
    check(running, lines)


# -- Postgres -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("number", [signal.SIGQUIT, signal.SIGKILL], ids=["immediate stop", "kill -9"])
def test_postgres_stopped_and_started_again_while_claims_flow_changes_nothing(
    running: Deployment, number: signal.Signals
) -> None:
    lines, (first, second) = begin(running, 700, seed=40 + number)
    before = counted(running)
    running.send(first)
    under_way(running, before)
    running.servers.kill("postgres", number)
    running.send(second)
    running.servers.up()
    running.drain()
    check(running, lines)


def test_backends_ended_in_the_middle_of_their_transactions_change_nothing(running: Deployment) -> None:
    lines, (first, second) = begin(running, 700, seed=51)
    ended: set[tuple[int, str]] = set()
    running.send(first)
    until(lambda: len({name for _, name in _end_backends(running, ended)}) >= 3, "backends of three services to be ended")
    running.send(second)
    until(lambda: len(_end_backends(running, ended)) >= 8, "eight backends to be ended")
    running.drain()
    check(running, lines)


def _end_backends(running: Deployment, ended: set[tuple[int, str]]) -> set[tuple[int, str]]:
    """Ends what is inside a transaction that has written; adds (pid, application) to ``ended``."""
    query = """
        with written as materialized (  -- the planner would else end backends before it looks at their names
            select pid, application_name from pg_stat_activity
            where application_name = any(%s) and backend_xid is not null
        ) select pid, application_name from written where pg_terminate_backend(pid)
    """
    ended.update((pid, name) for pid, name in running.rows(query, [f"gongji-{name}" for name in SERVICES]))
    return ended
