"""The lease: one worker at a time, and only on the log that the books were made from."""

import asyncio
import logging
from collections.abc import AsyncIterator, Sequence
from typing import Any

import asyncpg
import pytest
from diary import SERVICE, claims, line
from loop_worker import until
from loop_world import PARTITIONS, World
from prometheus_client import generate_latest

from shared.errors import Fenced
from shared.runtime import lease as leases
from shared.runtime.database import Database
from shared.runtime.lease import Advance
from shared.runtime.takeover import Taker
from shared.runtime.telemetry import REGISTRY

pytestmark = pytest.mark.servers


@pytest.fixture
async def database(world: World) -> AsyncIterator[Database]:
    opened = Database(world.dsn, role="gongji_service", name=f"gongji-{SERVICE}")
    yield opened
    await opened.close()


async def _take(database: Database, world: World, partition: int = 0, cluster_id: str = "") -> leases.Lease:
    async with database.transaction() as tx:
        return await leases.take(tx, SERVICE, (world.source, partition), cluster_id or world.cluster_id, "test")


# -- the fence ----------------------------------------------------------------------------------------------------------


async def unasked() -> tuple[int, int]:
    raise AssertionError("the bounds given fit, and nobody needs others")


async def test_taking_raises_the_epoch_and_fences_who_held_it(world: World, database: Database) -> None:
    old, other = await _take(database, world), await _take(database, world, partition=1)
    new = await _take(database, world)
    assert new.epoch == old.epoch + 1
    with pytest.raises(Fenced) as fenced:
        async with database.transaction() as tx:
            await leases.fence(tx, SERVICE, [old, other])
    assert fenced.value.args[0] == [(world.source, 0)]
    async with database.transaction() as tx:
        await leases.fence(tx, SERVICE, [new, other])
        await leases.advance(tx, SERVICE, [(new, Advance(5, b"d", 4, decided=3, repeated=1, rejected=1))])
    row = (await world.leases())[0]
    assert (row["next_offset"], row["out_seq"], row["records"]) == (5, 4, 5)


async def test_the_marks_of_a_fenced_holder_change_nothing(world: World, database: Database) -> None:
    old = await _take(database, world)
    async with database.transaction() as tx:
        await leases.advance(tx, SERVICE, [(old, Advance(5, b"d", 4, decided=5))])
    await _take(database, world)
    old.relayed_seq = old.projected_seq = 4
    async with database.transaction() as tx:
        await leases.mark(tx, SERVICE, [old])
    row = (await world.leases())[0]
    assert (row["relayed_seq"], row["projected_seq"]) == (0, 0)


async def test_a_mark_never_goes_back_nor_past_what_was_decided(world: World, database: Database) -> None:
    lease = await _take(database, world)
    async with database.transaction() as tx:
        await leases.advance(tx, SERVICE, [(lease, Advance(5, b"d", 4, decided=5))])
        for relayed, expected in ((3, 3), (2, 3), (9, 4)):
            lease.relayed_seq = lease.projected_seq = relayed
            await leases.mark(tx, SERVICE, [lease])
            row = await tx.fetchrow("select relayed_seq, projected_seq from runtime.lease where topic = $1", world.source)
            assert row is not None
            assert tuple(row) == (expected, expected)


async def test_a_batch_of_a_fenced_worker_is_rolled_back_whole(world: World, database: Database) -> None:
    """Another takes the lease between two batches; what this one still has in hand is not applied, nor announced."""
    worker = await world.worker()
    await world.holds_all(worker)
    await _take(database, world)
    await world.send([line(claim) for claim in claims(10)])
    await until(lambda: _metric("gongji_fenced_total", world) >= 1, "the fence")
    await world.applied(10)  # it takes the lease again in time, as Kafka still gives it the partition
    assert await world.noted() == claims(10)
    assert len(await world.announced()) == 10


async def test_leases_are_locked_in_the_order_of_their_partitions(world: World, database: Database) -> None:
    """Whoever waits for a lower partition holds no higher one, whatever order it asked in: so no two wait for each other."""
    high, low = await _take(database, world, partition=1), await _take(database, world, partition=0)
    waiting = Database(world.dsn, role="gongji_service", name="gongji-waiting")
    third = Database(world.dsn, role="gongji_service", name="gongji-third")
    async with database.transaction() as first:
        await leases.fence(first, SERVICE, [low])

        async def ask() -> None:
            async with waiting.transaction() as tx:
                await tx.execute("set local enable_indexscan = off; set local enable_bitmapscan = off")  # rows as they lie: 1, 0
                await leases.fence(tx, SERVICE, [high, low])

        asked = asyncio.create_task(ask())
        stuck = "select count(*) = 1 from pg_stat_activity where application_name = 'gongji-waiting' and wait_event_type = 'Lock'"

        async def is_stuck() -> bool:
            return bool(await world.books.fetchval(stuck))

        await until(is_stuck, "the second to wait")
        async with third.transaction() as tx:
            await tx.execute("set local lock_timeout = '200ms'")
            await leases.fence(tx, SERVICE, [high])
    await asked
    await waiting.close()
    await third.close()


async def test_a_holder_frozen_inside_its_transaction_is_evicted(world: World, database: Database) -> None:
    frozen, go_on = asyncio.Event(), asyncio.Event()

    async def freeze(_: Any, __: Sequence[Any]) -> None:
        frozen.set()
        await asyncio.wait_for(go_on.wait(), 25)

    first = await world.worker(world.diary(during=freeze))
    await world.holds_all(first)
    await world.send([line(claim) for claim in claims(10)])
    await frozen.wait()  # with the lease's row locked, idle in transaction
    taker = Taker(first.step, database, first.sender, first.telemetry, world.cluster_id, "the next owner")
    lease, offset = await taker.take((world.source, 0), (0, 10), unasked)
    assert (lease.epoch, offset) == (2, 0)
    assert _metric("gongji_evicted_total", world) == 1
    go_on.set()
    await until(lambda: (world.source, 0) not in first.held, "the first to find out")
    assert await world.noted() == []
    assert await world.announced() == []


async def test_a_holder_that_lost_its_connection_once_can_still_be_evicted(world: World, database: Database) -> None:
    """The backend that holds the row is not the one that took the lease."""
    frozen, go_on, stumbled = asyncio.Event(), asyncio.Event(), False

    async def freeze(_: asyncpg.Connection, filed: Sequence[Any]) -> None:
        nonlocal stumbled
        if filed[0].partition == 1 and not stumbled:
            stumbled = True
            raise asyncpg.ConnectionDoesNotExistError("gone, and a new backend comes")
        if filed[0].partition == 0:
            frozen.set()
            await asyncio.wait_for(go_on.wait(), 25)

    first = await world.worker(world.diary(during=freeze))
    await world.holds_all(first)
    await world.send([line("C1")], partition=1)
    await world.applied(1)
    await world.send([line("C2")], partition=0)
    await frozen.wait()
    taker = Taker(first.step, database, first.sender, first.telemetry, world.cluster_id, "the next owner")
    await taker.take((world.source, 0), (0, 1), unasked)
    go_on.set()
    await until(lambda: (world.source, 0) not in first.held, "the first to find out")
    assert await world.noted() == ["C1"]


# -- the log that the books were made from ------------------------------------------------------------------------------


async def test_a_lease_of_another_kafka_cluster_is_not_taken(world: World) -> None:
    first = await world.worker()
    await world.send([line("C1")])
    await world.applied(1)
    await first.stop()
    before = {partition: row["epoch"] for partition, row in (await world.leases()).items()}
    second = await world.worker(cluster_id="another")
    await until(lambda: len(second.telemetry.stops) == PARTITIONS, "all partitions to stop")
    why = second.telemetry.stops[world.source, 0]
    assert world.cluster_id in why
    assert "another" in why
    assert "gongji lease adopt" in why
    assert {partition: row["epoch"] for partition, row in (await world.leases()).items()} == before


async def _half_way(world: World) -> None:
    """Ten records of each of partitions 0 and 1 are applied, and the worker has gone."""
    first = await world.worker()
    for partition in (0, 1):
        await world.send([line(claim) for claim in claims(10, f"P{partition}-")], partition=partition)
    await world.applied(20)
    await first.stop()


async def _stops_alone(world: World, caplog: pytest.LogCaptureFixture, why: str) -> None:
    """Partition 0 stops for this reason, with an alarm; partition 1 goes on; nothing was applied that should not be."""
    worker = await world.worker()
    await until(lambda: bool(worker.telemetry.stops), "the partition to stop")
    await world.send([line("after")], partition=1)
    await world.applied(21)
    assert list(worker.telemetry.stops) == [(world.source, 0)]
    assert why in worker.telemetry.stops[world.source, 0]
    alarms = [record for record in caplog.records if record.levelno == logging.CRITICAL]
    assert len(alarms) == 1
    await until(lambda: _metric("gongji_partitions_stopped", world) == 1, "the alarm in the metrics")
    assert (await world.leases())[0]["next_offset"] == 10
    assert (await world.noted())[-1] == "after"


async def test_a_log_that_starts_past_the_next_record_stops(world: World, caplog: pytest.LogCaptureFixture) -> None:
    await _half_way(world)
    await world.send([line(claim) for claim in claims(5, "lost")])
    await world.delete_before(12, partition=0)
    await _stops_alone(world, caplog, "the log starts at 12, past the next record 10: records are missing")


async def test_a_log_pruned_up_to_the_next_record_goes_on(world: World) -> None:
    await _half_way(world)
    await world.delete_before(10, partition=0)
    await world.send([line("next")])
    worker = await world.worker()
    await world.applied(21)
    assert worker.telemetry.stops == {}


async def test_a_log_that_ends_before_the_next_record_stops(world: World) -> None:
    await _half_way(world)
    await world.books.execute(
        "update runtime.lease set next_offset = 0, last_digest = null where topic = $1 and partition = 1", world.source
    )
    await world.make_again(world.source)
    for partition, count in ((0, 9), (1, 20)):
        await world.send([line(claim) for claim in claims(count, f"P{partition}-")], partition=partition)
    worker = await world.worker()
    await until(lambda: bool(worker.telemetry.stops), "the partition to stop")
    await world.applied(40)
    assert list(worker.telemetry.stops) == [(world.source, 0)]
    assert "the log ends at 9, before the next record 10" in worker.telemetry.stops[world.source, 0]


async def test_a_topic_made_again_with_other_records_stops(world: World, caplog: pytest.LogCaptureFixture) -> None:
    """Long enough, so that only the content of the record applied last tells."""
    await _half_way(world)
    await world.make_again(world.source)
    await world.send([line(claim) for claim in claims(20, "other")], partition=0)
    await world.send([line(claim) for claim in claims(10, "P1-")], partition=1)
    await _stops_alone(world, caplog, "holds another record at 9 than the one applied")


async def test_a_topic_made_again_under_a_running_worker_is_noticed(world: World) -> None:
    worker = await world.worker()
    await world.send([line(claim) for claim in claims(10)])
    await world.applied(10)
    await world.make_again(world.source)
    await world.send([line(claim) for claim in claims(5, "other")])
    await until(lambda: (world.source, 0) in worker.telemetry.stops, "the partition to stop", 40)
    assert await world.noted() == claims(10)


async def test_a_record_applied_last_that_is_gone_from_the_middle_stops(world: World) -> None:
    """As a compaction would leave it: the log goes on behind it, and its bounds fit."""
    await _half_way(world)
    await world.send([line("later")])
    await world.books.execute("update runtime.lease set next_offset = 9 where topic = $1 and partition = 0", world.source)
    worker = await world.worker()
    await until(lambda: (world.source, 0) in worker.telemetry.stops, "the partition to stop")
    assert "later" not in await world.noted()


def _metric(name: str, world: World) -> float:
    """A metric of this world's worker."""
    for sample in generate_latest(REGISTRY).decode().splitlines():
        if sample.startswith(f"{name}{{") and world.prefix in sample:
            return float(sample.rpartition(" ")[2])
    return 0.0
