"""``gongji feed send`` against the real Kafka and Postgres: what it sends, and what it waits for."""

import asyncio
from collections.abc import AsyncIterator, Mapping

import asyncpg
import pytest
from aiokafka import AIOKafkaConsumer
from aiokafka.admin import AIOKafkaAdminClient, NewTopic

from deploy import migrations
from deploy.local.servers import Addresses
from services.ops.barrier import Barrier, Ends
from services.ops.send import Feeder, Outward
from shared.errors import ServerMissing
from shared.runtime.database import Database

PATH = [
    ("intake", "claims.submitted"), ("eligibility", "claims.accepted"),
    ("adjudication", "claims.eligible"), ("account", "claims.adjudicated"),
]  # fmt: skip


class Leases:
    """Lease rows moved by hand, as services would move them."""

    def __init__(self, connection: asyncpg.Connection) -> None:
        self._connection = connection

    async def move(self, service: str, topic: str, next_offset: int, *, unannounced: int = 0) -> None:
        await self._connection.execute(
            "insert into runtime.lease (service, topic, partition, cluster_id, next_offset, out_seq, relayed_seq)"
            " values ($1, $2, 0, 'here', $3, $4, 0) on conflict (service, topic, partition)"
            " do update set next_offset = excluded.next_offset, out_seq = excluded.out_seq",
            service, topic, next_offset, unannounced,
        )  # fmt: skip


@pytest.fixture
def migrated(fresh_database: str) -> str:
    migrations.run(fresh_database)
    return fresh_database


@pytest.fixture
async def leases(migrated: str) -> AsyncIterator[Leases]:
    connection = await asyncpg.connect(migrated)
    yield Leases(connection)
    await connection.close()


@pytest.fixture
async def database(migrated: str) -> AsyncIterator[Database]:
    ours = Database(migrated, role="gongji_ops", name="gongji-feed")
    yield ours
    await ours.close()


@pytest.fixture
async def topics(servers: Addresses, topic_prefix: str) -> AsyncIterator[Mapping[str, int]]:
    """Two topics of three partitions, deleted afterwards."""
    counts = {f"{topic_prefix}register.member": 3, f"{topic_prefix}claims": 3}
    admin = AIOKafkaAdminClient(bootstrap_servers=servers.kafka)
    await admin.start()
    await admin.create_topics([NewTopic(name, count, 1) for name, count in counts.items()])
    yield counts
    await admin.delete_topics(list(counts))
    await admin.close()


def barrier(database: Database, ends: Ends, *, stalled_seconds: float = 30) -> Barrier:
    async def ends_of(topics: object) -> Ends:
        return {place: end for place, end in ends.items() if place[0] in list(topics)}  # type: ignore[call-overload]

    return Barrier(database, ends_of, lambda _: None, stalled_seconds=stalled_seconds)


async def settles(task: "asyncio.Task[None]") -> bool:
    """Whether it ends within half a second."""
    await asyncio.wait([task], timeout=0.5)
    return task.done()


async def test_what_is_sent_arrives_whole_in_order_and_in_the_partition_of_its_part(
    servers: Addresses, topics: Mapping[str, int]
) -> None:
    claims = next(name for name in topics if name.endswith("claims"))
    outward = [
        Outward(claims, part, b"key" if part else None, b"%d " % number + b"x" * (300_000 if number == 7 else 10))
        for number, part in enumerate((0, 1023, 500, 0, 1023, 500, 0, 0, 341, 342))
    ]
    async with Feeder(servers.kafka, topics) as feeder:
        await feeder.send(outward[:6])
        await feeder.send(outward[6:])
        reached = await feeder.ends_of([claims])
        assert feeder.take_ends(claims) == reached
        assert feeder.take_ends(claims) == {}
    found: dict[int, list[int]] = {}
    consumer = AIOKafkaConsumer(claims, bootstrap_servers=servers.kafka, auto_offset_reset="earliest")
    await consumer.start()
    for _ in outward:
        record = await asyncio.wait_for(consumer.getone(), 10)
        found.setdefault(record.partition, []).append(int(record.value.split()[0]))
    await consumer.stop()
    assert found == {0: [0, 3, 6, 7, 8], 1: [2, 5, 9], 2: [1, 4]}
    assert {partition: end for (_, partition), end in reached.items()} == {0: 5, 1: 3, 2: 2}


async def test_claims_wait_until_every_consumer_has_applied_the_register(database: Database, leases: Leases) -> None:
    topic = "register.member"
    await leases.move("somebody else", topic, 0)
    waiting = asyncio.create_task(barrier(database, {}).applied({(topic, 0): 5}))
    assert not await settles(waiting)
    await leases.move("eligibility", topic, 5)
    assert not await settles(waiting)
    await leases.move("somebody else", topic, 4)
    assert not await settles(waiting)
    await leases.move("somebody else", topic, 5)
    assert await settles(waiting)
    await waiting


async def test_a_feed_is_answered_when_each_service_has_announced_and_the_next_has_decided(
    database: Database, leases: Leases
) -> None:
    ends = {(topic, 0): 3 for _, topic in PATH}
    waiting = asyncio.create_task(barrier(database, ends).answered({("claims.submitted", 0): 3}))
    for service, topic in PATH:
        assert not await settles(waiting)
        await leases.move(service, topic, 3, unannounced=1)
        assert not await settles(waiting)
        await leases.move(service, topic, 3)
    assert await settles(waiting)
    await waiting


async def test_a_service_that_does_not_move_is_named(database: Database, leases: Leases) -> None:
    await leases.move("eligibility", "register.member", 2)
    with pytest.raises(ServerMissing, match=r"eligibility.*register\.member/0.*gongji serve all"):
        await barrier(database, {}, stalled_seconds=0.3).applied({("register.member", 0): 5})


async def test_a_database_that_does_not_answer_is_named() -> None:
    nowhere = Database("postgresql://nobody@127.0.0.1:1/nothing", role="gongji_ops", name="gongji-feed")
    with pytest.raises(ServerMissing, match="postgres"):
        await barrier(nowhere, {}, stalled_seconds=0.3).applied({("register.member", 0): 5})
