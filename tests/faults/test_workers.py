"""Workers are killed, frozen, multiplied; records are repeated, poisoned, misplaced. The books stay as if nothing had been.

Each test sends a day of its own through one deployment and compares every outcome with those of an undisturbed run of that
day in one process (``gongji replay``; that the two agree undisturbed is the first test). Then the audit.
"""

import asyncio
import json
import signal
from collections.abc import Iterator, Sequence
from typing import Any

import pytest
from aiokafka import AIOKafkaProducer
from deployment import Deployment, Line, chunks, day, deployment, until
from servers import LocalServers

from services.pipeline import SERVICES
from shared.events import REGISTER_TYPES
from shared.runtime.points import POINTS


@pytest.fixture(scope="module")
def running(private_servers: LocalServers) -> Iterator[Deployment]:
    with deployment(private_servers) as made:
        made.start()
        yield made


@pytest.fixture(autouse=True)
def _five_whole_services(running: Deployment) -> None:
    """Whatever a test left dead is started again, and what is too many ended."""
    running.restart_the_dead()
    for name in SERVICES:
        for surplus in running.of(name)[1:]:
            running.kill(surplus, signal.SIGTERM)


def claims_of(lines: Sequence[Line]) -> list[Line]:
    return [line for line in lines if line["type"] not in REGISTER_TYPES]


def undisturbed(running: Deployment, lines: Sequence[Line]) -> dict[str, Any]:
    """What one process without servers makes of the day."""
    feed = running.servers.home / "feed.ndjson"
    feed.write_text("".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines))
    done = running.command("replay", str(feed))
    assert done.returncode == 0, done.stderr[-2000:]
    return {outcome["event_id"]: outcome for outcome in map(json.loads, done.stdout.splitlines())}


def check(running: Deployment, *days: Sequence[Line]) -> None:
    """Every outcome of these days is what an undisturbed run gives, nothing more is on the wire, and the books are clean."""
    found = running.outcomes()
    for lines in days:
        expected = undisturbed(running, lines)
        wrong = {name: (found.get(name), outcome) for name, outcome in expected.items() if found.get(name) != outcome}
        assert not wrong, f"{len(wrong)} of {len(expected)}; the first: {next(iter(wrong.items()))}"
        numbers = {(line["institution_id"], line.get("claim_no") or line.get("use_no")) for line in claims_of(lines)}
        more = [
            outcome
            for name, outcome in found.items()
            if name not in expected and (outcome["institution_id"], outcome.get("claim_no") or outcome.get("use_no")) in numbers
        ]
        assert not more, more[:3]
    running.audit()


def test_a_day_without_faults_gives_what_one_process_gives(running: Deployment) -> None:
    lines = day(1000, seed=1)
    running.register(lines)
    running.send(claims_of(lines))
    running.drain()
    check(running, lines)


def test_a_kill_at_any_point_between_fetch_and_mark_changes_nothing(running: Deployment) -> None:
    lines = day(1500, seed=2)
    running.register(lines)
    pieces = chunks(claims_of(lines), len(POINTS))
    for point, piece in zip(POINTS, pieces, strict=True):
        running.stop()
        running.workers.clear()
        running.start(GONGJI_CRASH_AT=f"{point}:1")
        running.send(piece)
        died: set[str] = set()
        while died < set(SERVICES):  # each dies once: the next only gets something when the one before it works again
            until(lambda: any(not worker.alive for worker in running.workers), f"the next after {died} to die at {point}")
            died |= set(running.restart_the_dead())
    running.drain()
    check(running, lines)


def test_one_worker_becomes_three_and_one_again_under_load(running: Deployment) -> None:
    lines = day(1500, seed=3)
    running.register(lines)
    first, second, third = chunks(claims_of(lines), 3)
    running.send(first)
    more = [*running.start(*SERVICES), *running.start(*SERVICES)]
    running.send(second)
    for worker in more[:5]:
        running.kill(worker, signal.SIGTERM)
    running.send(third)
    for worker in more[5:]:
        running.kill(worker, signal.SIGKILL)
    running.workers = [worker for worker in running.workers if worker.alive]
    running.drain()
    check(running, lines)


def test_a_frozen_worker_that_wakes_up_after_its_partitions_moved_is_fenced(running: Deployment) -> None:
    lines = day(1000, seed=4)
    running.register(lines)
    first, second = chunks(claims_of(lines), 2)
    frozen = [running.of(name)[0] for name in ("intake", "adjudication", "account")]
    running.send(first)
    for worker in frozen:
        running.kill(worker, signal.SIGSTOP)
    epochs = dict(running.rows("select topic || partition, epoch from runtime.lease where service = 'adjudication'"))
    running.start("intake", "adjudication", "account")
    until(
        lambda: all(
            epoch > epochs[place]
            for place, epoch in running.rows("select topic || partition, epoch from runtime.lease where service = 'adjudication'")
        ),
        "the partitions to move",
    )
    running.send(second)
    running.drain()
    for worker in frozen:
        running.kill(worker, signal.SIGCONT)
    running.drain()
    check(running, lines)


def test_the_same_claim_on_every_partition_at_once_is_settled_once(running: Deployment) -> None:
    lines = day(200, seed=5)
    running.register(lines)
    claims = [line for line in claims_of(lines) if line["type"] == "claim"]
    seen: dict[tuple[str, str], Line] = {}
    once = [
        seen.setdefault((c["institution_id"], c["claim_no"]), c)
        for c in claims
        if (c["institution_id"], c["claim_no"]) not in seen
    ]
    for partition in range(4):
        running.send(once, partition=partition)
    running.drain()
    found = running.outcomes()
    mine = [o for o in found.values() if (o["institution_id"], o.get("claim_no")) in seen]
    assert len(mine) == len(once)
    settled = running.rows(
        "select count(*), count(distinct (institution_id, claim_no)) from account.outcome where kind = 'claim' and revision = 0"
    )
    assert settled[0][0] == settled[0][1]
    running.audit()


def test_poison_in_the_middle_of_a_batch_takes_no_neighbour_with_it(running: Deployment) -> None:
    lines = day(300, seed=6)
    running.register(lines)
    poison = [b"{", b"", b"\xff\xfe", b"null", b"[1]", b'{"institution_id": 1, "claim_no": "x"}', b'{"a":' * 20000, b"NaN"]
    mixed: list[Line | bytes] = []
    for number, line in enumerate(claims_of(lines)):
        mixed.append(line)
        if number % 20 == 0:
            mixed.append(poison[number // 20 % len(poison)])
    before = len(running.dead_letters())
    running.send(mixed)
    running.drain()
    sent = [line for line in mixed if isinstance(line, bytes)]
    assert sorted(running.dead_letters()[before:]) == sorted(sent) or len(running.dead_letters()) - before == len(sent)
    check(running, lines)


def test_a_stranger_on_an_inner_topic_is_set_aside(running: Deployment) -> None:
    before = len(running.dead_letters())
    running_before = running.rows("select count(*) from account.outcome")[0][0]

    async def intrude() -> None:
        producer = AIOKafkaProducer(bootstrap_servers=running.servers.addresses.kafka)
        await producer.start()
        for topic in ("claims.accepted", "claims.eligible", "claims.adjudicated", "claims.settled"):
            await producer.send_and_wait(topic, b"\x00garbage", headers=[("x", b"\xff"), ("", b"")], partition=0)
        await producer.stop()

    asyncio.run(intrude())
    running.drain()
    assert len(running.dead_letters()) == before + 4
    assert running.rows("select count(*) from account.outcome")[0][0] == running_before
