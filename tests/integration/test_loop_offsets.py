"""Where the loop goes on, what it announces, and who works: Postgres says, whatever Kafka's own books say."""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

import asyncpg
import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from diary import claims, line
from loop_worker import until
from loop_world import PARTITIONS, World

from shared.runtime import kafka
from shared.runtime.kafka import ConsumerLog

pytestmark = pytest.mark.servers


async def _commit(world: World, offsets: dict[int, int]) -> None:
    """Tells Kafka other offsets than ours."""
    consumer = AIOKafkaConsumer(bootstrap_servers=world.kafka, group_id=f"{world.prefix}group", enable_auto_commit=False)
    await consumer.start()
    try:
        consumer.assign([TopicPartition(world.source, partition) for partition in offsets])
        await consumer.commit({TopicPartition(world.source, partition): offset for partition, offset in offsets.items()})
    finally:
        await consumer.stop()


@pytest.mark.parametrize("committed", [0, 37, 150], ids=["rewound", "in the middle", "ahead"])
async def test_kafkas_committed_offset_decides_nothing(world: World, committed: int) -> None:
    first = await world.worker()
    await world.send([line(claim) for claim in claims(100)])
    await world.applied(100)
    await first.stop()
    await world.send([line(claim) for claim in claims(100, "D")])
    await _commit(world, dict.fromkeys(range(PARTITIONS), committed))
    await world.worker()
    await world.applied(200)
    assert await world.noted() == claims(100) + claims(100, "D")
    assert sorted(await world.announced()) == sorted(claims(100) + claims(100, "D"))
    assert (await world.leases())[0]["repeated"] == 0


async def test_ten_thousand_records_sent_again_are_dropped_each_and_announced_never(world: World) -> None:
    await world.worker()
    await world.send([line(claim) for claim in claims(10_000)])
    await world.applied(10_000, seconds=60)
    await world.send([line(claim) for claim in claims(10_000)])
    await world.applied(20_000, seconds=60)
    lease = (await world.leases())[0]
    assert (lease["decided"], lease["repeated"], lease["out_seq"]) == (10_000, 10_000, 10_000)
    announced = await world.announced()
    assert len(announced) == len(set(announced)) == 10_000


async def test_offsets_rewound_in_the_books_by_ten_thousand_give_only_repeats(world: World) -> None:
    """As after a restored backup of the lease alone: the natural-key inbox, not the offset, keeps claims single."""
    first = await world.worker()
    await world.send([line(claim) for claim in claims(10_000)])
    await world.applied(10_000, seconds=60)
    await first.stop()
    await world.books.execute("update runtime.lease set next_offset = 0, last_digest = null where topic = $1", world.source)
    await world.worker()
    await world.applied(20_000, seconds=60)
    assert len(await world.noted()) == len(await world.announced()) == 10_000


async def test_without_any_committed_offset_a_topic_is_read_from_its_beginning(world: World) -> None:
    await world.send([line(claim) for claim in claims(10)])
    await world.worker()
    await world.applied(10)
    assert await world.noted() == claims(10)


async def test_only_what_was_applied_is_committed_to_kafka_and_only_once_the_group_is_settled(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A commit that crosses a rebalance starts the next one."""
    worker = await world.worker()
    await world.send([line("C1"), line("C2")], partition=1)
    await world.applied(2)
    consumer = worker.consumer()
    assert consumer is not None
    await worker.holdings.advise()
    assert await consumer.committed(TopicPartition(world.source, 1)) is None
    monkeypatch.setattr(kafka, "SETTLED_SECONDS", 0.0)
    await worker.holdings.advise()
    committed = {n: await consumer.committed(TopicPartition(world.source, n)) for n in range(PARTITIONS)}
    assert committed == {0: 0, 1: 2, 2: 0, 3: 0}


async def test_a_decision_that_fails_is_not_passed_over(world: World) -> None:
    """FastStream goes on past a handler that raises, and its acknowledgement past records that failed."""
    fails = True

    async def during(_: Any, __: Sequence[Any]) -> None:
        if fails:
            raise asyncpg.SerializationError("not now")

    worker = await world.worker(world.diary(during=during))
    await world.send([line(claim) for claim in claims(5)])
    await until(lambda: worker.holdings._troubles >= 2, "two tries")
    await world.send([line(claim) for claim in claims(5, "D")])
    assert await world.noted() == []
    fails = False
    await world.applied(10)
    assert await world.noted() == claims(5) + claims(5, "D")


# -- outsiders' transactions --------------------------------------------------------------------------------------------


@asynccontextmanager
async def _outsider(world: World) -> AsyncIterator[AIOKafkaProducer]:
    producer = AIOKafkaProducer(bootstrap_servers=world.kafka, transactional_id=f"{world.prefix}outsider")
    await producer.start()
    try:
        yield producer
    finally:
        await producer.stop()


async def _in_transaction(producer: AIOKafkaProducer, topic: str, values: Sequence[bytes], *, commit: bool) -> None:
    await producer.begin_transaction()
    for value in values:
        await producer.send(topic, value, partition=0)
    await (producer.commit_transaction() if commit else producer.abort_transaction())


async def test_transactions_of_outsiders_leave_gaps_that_lose_nothing_and_show_nothing_aborted(world: World) -> None:
    async with _outsider(world) as producer:
        for turn in range(6):
            commit = turn % 2 == 1  # the log begins with an aborted one
            name = "C" if commit else "aborted"
            await _in_transaction(producer, world.source, [line(f"{name}{turn}-{n}") for n in range(3)], commit=commit)
    expected = [f"C{turn}-{n}" for turn in (1, 3, 5) for n in range(3)]
    first = await world.worker()
    await world.applied(9)
    assert await world.noted() == expected
    await first.stop()
    second = await world.worker()  # goes on behind a marker
    async with _outsider(world) as producer:
        await _in_transaction(producer, world.source, [line("aborted")], commit=False)
        await _in_transaction(producer, world.source, [line("D1"), line("D2")], commit=True)
    await world.applied(11)
    assert await world.noted() == [*expected, "D1", "D2"]
    assert second.telemetry.stops == {}


async def test_the_mark_behind_a_transaction_is_no_record_that_waits(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    worker = await world.worker()
    await world.holds_all(worker)
    async with _outsider(world) as producer:
        await _in_transaction(producer, world.source, [line("C1")], commit=True)
    await world.applied(1)
    log, place = worker.holdings.log, (world.source, 0)
    assert isinstance(log, ConsumerLog)

    async def read() -> bool:
        return await log.waiting({place: 1}, resting=True) == 0

    assert await log.waiting({place: 1}, resting=False) == 1
    await until(read, "the mark to be read")
    told: list[int] = []
    monkeypatch.setattr(worker.holdings._telemetry, "lag", lambda records, _: told.append(records))
    await worker.holdings.advise()
    assert told == [0]
