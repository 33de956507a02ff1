"""Where the loop goes on, what it announces, and who works: Postgres says, whatever Kafka's own books say."""

import asyncio
from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import asynccontextmanager
from typing import Any

import asyncpg
import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from diary import line
from loop_world import PARTITIONS, World, partition_for, until

from shared.errors import Retry
from shared.identity import part_of
from shared.runtime import kafka
from shared.runtime.kafka import ConsumerLog
from shared.runtime.lease import Place
from shared.runtime.producer import Producer
from shared.runtime.relay import Outgoing
from shared.runtime.step import Message

pytestmark = pytest.mark.servers


def claims(count: int, name: str = "C") -> list[str]:
    return [f"{name}{number}" for number in range(count)]


async def _commit(world: World, offsets: dict[int, int]) -> None:
    """Tells Kafka other offsets than ours."""
    consumer = AIOKafkaConsumer(bootstrap_servers=world.kafka, group_id=f"{world.prefix}group", enable_auto_commit=False)
    await consumer.start()
    try:
        consumer.assign([TopicPartition(world.source, partition) for partition in offsets])
        await consumer.commit({TopicPartition(world.source, partition): offset for partition, offset in offsets.items()})
    finally:
        await consumer.stop()


# -- offsets ------------------------------------------------------------------------------------------------------------


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


# -- announcing ---------------------------------------------------------------------------------------------------------


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


# -- workers ------------------------------------------------------------------------------------------------------------


async def test_workers_come_and_go_while_batches_run_and_every_claim_is_noted_once(world: World) -> None:
    """Rebalances do not wait for a running handler: the listener drains, and the fence holds."""

    async def slow(_: Any, __: Sequence[Any]) -> None:
        await asyncio.sleep(0.05)

    async def feed() -> None:
        for turn in range(20):
            await asyncio.gather(
                *(world.send([line(f"P{n}-{turn}-{i}") for i in range(15)], partition=n) for n in range(PARTITIONS)),
            )

    feeding = asyncio.create_task(feed())
    first = await world.worker(world.diary(during=slow), batch_max=10)
    more = [await world.worker(world.diary(during=slow), batch_max=10) for _ in range(2)]
    await until(lambda: all(worker.held for worker in [first, *more]), "all three to work")
    await more[0].stop()
    await first.crash()
    await feeding
    await world.applied(20 * 15 * PARTITIONS, seconds=60)
    noted = await world.noted()
    assert len(noted) == len(set(noted)) == 20 * 15 * PARTITIONS
    announced = _first_of_each(await world.announced())
    by_source = await _by_source(world)
    for names in by_source.values():  # of one source partition and one target partition the order is kept
        for partition in range(PARTITIONS):
            mine = [name for name in names if partition_for(name) == partition]
            assert [name for name in announced if name in set(mine)] == mine


async def _by_source(world: World) -> dict[int, list[str]]:
    rows = await world.books.fetch("select source_partition, claim from diary.entry order by source_partition, source_offset")
    found: dict[int, list[str]] = {}
    for row in rows:
        found.setdefault(row["source_partition"], []).append(row["claim"])
    return found


async def test_a_worker_waits_for_its_batch_before_it_lets_a_partition_go(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    inside, go_on = asyncio.Event(), asyncio.Event()

    async def wait(_: Any, __: Sequence[Any]) -> None:
        inside.set()
        await asyncio.wait_for(go_on.wait(), 20)

    first = await world.worker(world.diary(during=wait))
    await world.holds_all(first)
    await world.send([line(claim) for claim in claims(10)])
    await inside.wait()
    revoked, asked_back, let_go = first.holdings.revoked, asyncio.Event(), asyncio.Event()

    async def revoke(places: Iterable[Place]) -> None:
        asked_back.set()
        await revoked(places)
        let_go.set()

    monkeypatch.setattr(first.holdings, "revoked", revoke)
    joining = asyncio.create_task(world.worker())
    await asyncio.wait_for(asked_back.wait(), 20)
    with pytest.raises(TimeoutError):  # time enough to let go, were it not for the batch
        await asyncio.wait_for(let_go.wait(), 1)
    go_on.set()
    second = await joining
    await until(lambda: bool(second.held) and bool(first.held), "both to work")
    await world.applied(10)
    assert await world.noted() == claims(10)
    assert len(await world.announced()) == 10


async def test_a_worker_takes_nothing_back_before_it_is_told_what_is_its_own(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Meanwhile the client still names the old partitions, and whoever has them now would be fenced at its first batch."""
    first = await world.worker()
    await world.holds_all(first)
    holdings, revoked = first.holdings, first.holdings.revoked
    between: list[tuple[int, int]] = []

    async def revoke(places: Iterable[Place]) -> None:
        await revoked(places)
        await holdings.sweep()
        assert holdings.log is not None
        between.append((len(holdings.log.assigned()), len(first.held)))

    monkeypatch.setattr(holdings, "revoked", revoke)
    second = await world.worker()
    await until(lambda: bool(second.held) and bool(first.held), "both to work")
    assert between == [(PARTITIONS, 0)]


async def test_what_waits_behind_a_long_batch_is_told_while_nothing_is_fetched(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    go_on = asyncio.Event()

    async def wait(_: Any, __: Sequence[Any]) -> None:
        await asyncio.wait_for(go_on.wait(), 20)

    worker = await world.worker(world.diary(during=wait))
    await world.holds_all(worker)
    told: list[int] = []
    monkeypatch.setattr(worker.holdings._telemetry, "lag", lambda records, _: told.append(records))
    await world.send([line("first")])
    await until(worker.holdings.busy.locked, "the batch to be worked on")
    await world.send([line(claim) for claim in claims(30)])
    await worker.holdings.advise()
    assert told[-1] == 31
    go_on.set()
    await world.applied(31)


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
