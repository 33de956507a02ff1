"""Records are repeated, poisoned, misplaced. The books stay as if nothing had been.

Each test sends a day of its own through one deployment and compares every outcome with those of an undisturbed run of that
day in one process (``gongji replay``; that the two agree undisturbed is the first test). Then the audit.
"""

import asyncio
from collections.abc import Iterator

import pytest
from aiokafka import AIOKafkaProducer
from deployment import Deployment, Line, claims_of, day, deployment
from servers import LocalServers
from verdict import check


@pytest.fixture(scope="module")
def running(private_servers: LocalServers) -> Iterator[Deployment]:
    with deployment(private_servers) as made:
        made.start()
        yield made


def test_a_day_without_faults_gives_what_one_process_gives(running: Deployment) -> None:
    lines = day(1000, seed=1)
    running.register(lines)
    running.send(claims_of(lines))
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
