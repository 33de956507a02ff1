"""When a consumer asks the broker: while somebody waits for records, and not ahead of a batch that is worked on."""

import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

import pytest
from aiokafka import TopicPartition
from diary import line
from loop_worker import until
from loop_world import World

from shared.runtime.fetch import ALONE_MS, Consumer

pytestmark = pytest.mark.servers


@asynccontextmanager
async def reading(world: World, *partitions: int) -> AsyncIterator[Consumer]:
    """A consumer at the start of these partitions of the source."""
    options = {"enable_auto_commit": False, "auto_offset_reset": "none", "fetch_max_wait_ms": ALONE_MS}
    consumer = Consumer(bootstrap_servers=world.kafka, **options)
    await consumer.start()
    try:
        places = [TopicPartition(world.source, partition) for partition in partitions]
        consumer.assign(places)
        for place in places:
            consumer.seek(place, 0)
        yield consumer
    finally:
        await consumer.stop()


async def values(consumer: Consumer, most: int = 500) -> list[bytes]:
    """The next batch."""
    for _ in range(50):
        if found := await consumer.getmany(max_records=most):
            return [record.value for records in found.values() for record in records]
    raise AssertionError("nothing came")


async def test_what_comes_while_a_batch_is_worked_on_comes_together(world: World) -> None:
    async with reading(world, 0, 1) as consumer:
        await world.send([b"first"])
        assert await values(consumer) == [b"first"]
        for number in range(5):  # meanwhile, one by one
            await world.send([b"%d" % number], partition=number % 2)
        assert sorted(await values(consumer)) == [b"0", b"1", b"2", b"3", b"4"]


async def test_no_fetch_goes_out_while_nobody_waits(world: World) -> None:
    """Fetches that found nothing within milliseconds took most of the processor's time when there was little to do."""
    async with reading(world, 0) as consumer:
        await world.send([b"first"])
        await values(consumer)
        fetcher = consumer._fetcher
        asked: list[object] = []
        fetcher._proc_fetch_request = asked.append  # whoever asks now is seen
        fetcher._notify(fetcher._wait_consume_future)
        await world.send([b"second"])  # takes many turns of the event loop
        assert asked == []
        del fetcher._proc_fetch_request
        assert await values(consumer) == [b"second"]


async def test_behind_the_last_of_a_backlog_the_next_is_asked_for_at_once(world: World) -> None:
    async with reading(world, 0) as consumer:
        await world.send([b"%d" % number for number in range(25)])
        assert [len(await values(consumer, most=10)) for _ in range(2)] == [10, 10]
        await world.send([b"more"])
        assert len(await values(consumer, most=10)) == 5

        async def fetched() -> bool:
            return TopicPartition(world.source, 0) in consumer._fetcher._records

        await until(fetched, "the next records, fetched while nobody waits")
        assert await values(consumer) == [b"more"]


async def test_who_begins_to_wait_is_seen_at_once(world: World) -> None:
    async with reading(world, 0) as consumer:
        consumer._fetcher._fetcher_timeout = 3_600  # the fetcher looks no more by itself whether somebody waits
        for value in (b"first", b"second", b"third"):
            await world.send([value])
            assert await values(consumer) == [value]


async def test_where_nobody_waits_for_what_comes_of_them_records_share_a_batch(world: World) -> None:
    batches: list[tuple[float, int]] = []

    async def during(_: object, filed: Sequence[object]) -> None:
        batches.append((time.monotonic(), len(filed)))

    worker = await world.worker(world.diary(during=during), rest_seconds=1.0)
    await world.holds_all(worker)
    await world.send([line("C1")])
    await world.applied(1)
    await world.send([line("C2")])
    await world.send([line("C3")])
    await world.applied(3)
    (began, _), (went_on, _), *_ = batches
    assert went_on - began >= 1.0, "it did not rest"
    assert sum(records for _, records in batches) == 3


async def test_a_full_batch_is_followed_by_the_next_at_once(world: World) -> None:
    worker = await world.worker(rest_seconds=20.0, batch_max=1)
    await world.holds_all(worker)
    await world.send([line("C1"), line("C2"), line("C3")])
    await world.applied(3)
    assert await world.noted() == ["C1", "C2", "C3"]
