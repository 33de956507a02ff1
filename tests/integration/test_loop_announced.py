"""What the loop announces: after the commit, in order, again where nobody knows, and marked once it is through."""

from collections.abc import Sequence
from typing import Any

import pytest
from diary import claims, line
from loop_worker import until
from loop_world import PARTITIONS, World, partition_for

from shared.errors import Retry
from shared.identity import part_of
from shared.runtime.producer import Producer
from shared.runtime.relay import Outgoing
from shared.runtime.step import Message

pytestmark = pytest.mark.servers


async def test_every_announcement_goes_to_the_partition_of_its_part_in_order(world: World) -> None:
    """``publish_batch`` would ignore the keys and send a batch to one random partition."""
    await world.send([line(claim) for claim in claims(400)])
    await world.worker()
    await world.applied(400)
    records = await world.read(world.target)
    assert len(records) == 400
    assert all(record.partition == partition_for(record.key.decode()) for record in records)
    for partition in range(PARTITIONS):
        there = [record.key.decode() for record in records if record.partition == partition]
        assert there == [claim for claim in claims(400) if partition_for(claim) == partition]


async def test_an_announcement_larger_than_a_producers_batch_is_sent(world: World) -> None:
    sizes = {"C1": 10, "C2": 400_000, "C3": 2_000_000, "C4": 7_000_000, "C5": 300_000, "C6": 10}
    await world.send([line(claim, "big", size) for claim, size in sizes.items()])
    await world.worker()
    await world.applied(6)
    assert {record.key.decode(): len(record.value) - 2 for record in await world.read(world.target)} == sizes


async def test_a_record_as_large_as_the_topic_allows_can_be_set_aside(world: World) -> None:
    """Its dead letter is larger than it is, by the headers that say why."""
    await world.send([line("C1"), b"\x00" * (8 * 1024 * 1024 - 100), line("C2")])
    worker = await world.worker()
    await world.applied(3)
    assert await world.noted() == ["C1", "C2"]
    assert worker.telemetry.stops == {}


@pytest.mark.parametrize("how", ["lose", "forget"], ids=["nothing left", "all left unacknowledged"])
async def test_what_was_committed_and_not_announced_is_announced_from_the_table_in_order(world: World, how: str) -> None:
    worker = await world.worker(batch_max=50)
    await world.holds_all(worker)
    setattr(worker.sender, how, 2)
    await world.send([line(claim, "fail" if n % 10 == 3 else "settle") for n, claim in enumerate(claims(100))])
    await world.applied(100)
    assert getattr(worker.sender, how) == 0
    assert _first_of_each(await world.announced()) == await _expected_order(world)
    assert len({letter.value for letter in await world.dead()}) == 10


async def test_a_new_owner_announces_what_the_old_one_did_not(world: World) -> None:
    first = await world.worker(batch_max=50)
    await world.holds_all(first)
    first.sender.lose = 1_000_000
    await world.send([line(claim) for claim in claims(100)])

    async def committed() -> bool:
        return int((await world.leases())[0]["decided"]) >= 50

    await until(committed, "a commit without announcement")
    await first.crash()
    assert await world.announced() == []
    await world.worker()
    await world.applied(100)
    announced = await world.announced()
    assert announced == await _expected_order(world)


async def test_a_clean_stop_leaves_nothing_to_announce_again(world: World) -> None:
    first = await world.worker(batch_max=20)
    await world.send([line(claim) for claim in claims(300)])

    async def some() -> bool:
        return bool((await world.leases()).get(0)) and (await world.leases())[0]["decided"] > 40

    await until(some, "work to be under way")
    await first.stop()
    for lease in (await world.leases()).values():
        assert lease["relayed_seq"] == lease["out_seq"]
    second = await world.worker()
    await world.applied(300)
    announced = await world.announced()
    assert len(announced) == len(set(announced)) == 300
    assert await world.noted() == claims(300)
    await second.stop()


async def test_a_step_without_a_table_moves_no_offset_before_its_announcement_is_acknowledged(world: World) -> None:
    worker = await world.worker(world.diary(outbox=None), batch_max=50)
    await world.holds_all(worker)
    worker.sender.lose = 2
    await world.send([line(claim, "fail" if claim == "C7" else "settle") for claim in claims(100)])
    await world.applied(100)
    assert _first_of_each(await world.announced()) == await _expected_order(world, [c for c in claims(100) if c != "C7"])
    assert [letter.value for letter in await world.dead()] == [line("C7", "fail")]


async def test_a_producer_that_failed_is_replaced_and_keeps_the_order(world: World) -> None:
    """An idempotent producer never recovers from an out-of-order sequence; a new one does."""
    producer = Producer(world.kafka, world.counts)
    message = [Outgoing(Message(world.target, part_of("C1"), b"C1", str(n).encode())) for n in range(6)]
    await producer.send(message[:2])
    producer._ack_seconds = 0.0
    with pytest.raises(Retry):
        await producer.send(message[2:4])
    producer._ack_seconds = 30.0
    await producer.send(message[2:])
    await producer.close()
    values = [record.value for record in await world.read(world.target)]
    assert sorted(set(values)) == [str(n).encode() for n in range(6)]
    assert _first_of_each(values) == sorted(set(values))


def _first_of_each(sequence: Sequence[Any]) -> list[Any]:
    return list(dict.fromkeys(sequence))


async def _expected_order(world: World, noted: Sequence[str] | None = None) -> list[str]:
    noted = await world.noted() if noted is None else noted
    return [claim for partition in range(PARTITIONS) for claim in noted if partition_for(claim) == partition]
