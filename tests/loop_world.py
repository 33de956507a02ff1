"""A world for the loop alone: the diary's step (``diary.py``) on the real broker and the real books."""

import asyncio
import secrets
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

import asyncpg
import psycopg
import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, ConsumerRecord, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, NewTopic, RecordsToDelete
from diary import SERVICE, SQL, Diary
from faststream.kafka import KafkaBroker

from deploy.local.servers import Addresses
from deploy.migrations import run as migrate
from shared.errors import Retry
from shared.events import DEAD, REJECTED
from shared.identity import part_of, partition_of
from shared.runtime import topics as declared_topics
from shared.runtime.cache import Projection
from shared.runtime.database import Database
from shared.runtime.holdings import Holdings
from shared.runtime.kafka import consume, make_broker
from shared.runtime.loop import Loop
from shared.runtime.producer import Producer
from shared.runtime.relay import Outgoing
from shared.runtime.takeover import Taker
from shared.runtime.telemetry import Telemetry

PARTITIONS = 4
_CLAIM_PARTITIONS = 8


@dataclass
class Sender:
    """The real producer, of which the next sends may fail: before anything left (``lose``), or after all did (``forget``)."""

    producer: Producer
    lose: int = 0
    forget: int = 0
    sent: list[Outgoing] = field(default_factory=list)

    async def send(self, outgoing: Sequence[Outgoing]) -> None:
        if self.lose and outgoing:
            self.lose -= 1
            raise Retry("the broker is said to be away")
        await self.producer.send(outgoing)
        self.sent += outgoing
        if self.forget and outgoing:
            self.forget -= 1
            raise Retry("the broker is said not to have answered")


class Worker:
    """One worker of the diary: consumer, loop and sweep as in a service's process."""

    def __init__(
        self,
        world: "World",
        step: Diary,
        *,
        batch_max: int,
        projection: Projection | None,
        outsiders_write: bool,
        cluster_id: str,
        rest_seconds: float,
    ) -> None:
        self.step = step
        self.telemetry = Telemetry(SERVICE, world.prefix)
        self.database = Database(world.dsn, role="gongji_service", name=f"gongji-{SERVICE}")
        self.sender = Sender(Producer(world.kafka, world.counts))
        owner = secrets.token_hex(4)
        self.holdings = Holdings(Taker(step, self.database, self.sender, self.telemetry, cluster_id, owner), projection)
        self.loop = Loop(step, self.database, self.sender, self.holdings, self.telemetry, batch_max=batch_max)
        self.broker: KafkaBroker = make_broker(world.kafka)
        self.consumer = consume(
            self.broker, step.topics, f"{world.prefix}group", self.loop.handle, self.holdings,
            batch_max=batch_max, outsiders_write=outsiders_write, rest_seconds=rest_seconds,
        )  # fmt: skip
        self._sweeping: asyncio.Task[None] | None = None

    async def start(self) -> "Worker":
        await self.broker.start()
        self._sweeping = asyncio.create_task(self._sweep())
        return self

    async def _sweep(self) -> None:
        while True:
            await asyncio.sleep(0.1)
            await self.holdings.sweep()

    async def stop(self) -> None:
        """Ends as on SIGTERM."""
        await self._still()
        await self.holdings.release()
        await self.producer_closed()

    async def crash(self) -> None:
        """Ends without storing a mark."""
        await self._still()
        await self.producer_closed()

    async def _still(self) -> None:
        if self._sweeping is not None:
            self._sweeping.cancel()
            done = await asyncio.gather(self._sweeping, return_exceptions=True)
            assert isinstance(done[0], asyncio.CancelledError), done
            self._sweeping = None
        await self.broker.stop()

    async def producer_closed(self) -> None:
        await self.sender.producer.close()
        await self.database.close()

    @property
    def held(self) -> set[tuple[str, int]]:
        return set(self.holdings._held)

    async def holds(self, *partitions: int) -> None:
        """Waits until exactly these partitions are held."""
        await until(
            lambda: {partition for _, partition in self.held} == set(partitions), lambda: f"{partitions}, not {self.held}"
        )


@dataclass
class World:
    """Topics, books and workers of one test."""

    kafka: str
    dsn: str
    prefix: str
    cluster_id: str
    books: asyncpg.Connection
    admin: AIOKafkaAdminClient
    workers: list[Worker] = field(default_factory=list)

    @property
    def source(self) -> str:
        return f"{self.prefix}in"

    @property
    def target(self) -> str:
        return f"{self.prefix}out"

    @property
    def counts(self) -> Mapping[str, int]:
        return {self.source: PARTITIONS, self.target: PARTITIONS, DEAD: _CLAIM_PARTITIONS, REJECTED: _CLAIM_PARTITIONS}

    async def worker(
        self,
        step: Diary | None = None,
        *,
        batch_max: int = 500,
        projection: Projection | None = None,
        outsiders_write: bool = True,
        cluster_id: str = "",
        rest_seconds: float = 0.0,
    ) -> Worker:
        """Starts a worker."""
        made = Worker(
            self, step or self.diary(), batch_max=batch_max, projection=projection,
            outsiders_write=outsiders_write, cluster_id=cluster_id or self.cluster_id, rest_seconds=rest_seconds,
        )  # fmt: skip
        self.workers.append(made)
        return await made.start()

    def diary(self, **how: Any) -> Diary:
        return Diary((self.source,), self.target, **how)

    async def holds_all(self, worker: Worker) -> None:
        await worker.holds(*range(PARTITIONS))

    # -- the log -----------------------------------------------------------------------------------------------

    async def make_topics(self, *names: str) -> None:
        settings = {"max.message.bytes": str(8 * 1024 * 1024)}
        await self.admin.create_topics([NewTopic(name, PARTITIONS, 1, topic_configs=settings) for name in names])

    async def make_again(self, name: str) -> None:
        """Deletes a topic with all its records, and makes an empty one of the same name."""
        await self.admin.delete_topics([name])

        async def gone() -> bool:
            return name not in await self.admin.list_topics()

        await until(gone, f"{name} to be deleted")
        await self.make_topics(name)

    async def delete_before(self, offset: int, partition: int) -> None:
        await self.admin.delete_records({TopicPartition(self.source, partition): RecordsToDelete(before_offset=offset)})

    async def send(
        self,
        values: Sequence[bytes | None],
        partition: int = 0,
        *,
        headers: Sequence[tuple[str, bytes | None]] = (),
        compression: str | None = None,
    ) -> None:
        """Sends records to one partition of the source, in one batch."""
        producer = AIOKafkaProducer(
            bootstrap_servers=self.kafka, acks="all", max_request_size=16 * 1024 * 1024, compression_type=compression, linger_ms=5
        )
        await producer.start()
        try:
            sent = [
                await producer.send(self.source, value, key=b"sender", partition=partition, headers=list(headers))
                for value in values
            ]
            await asyncio.gather(*sent)
        finally:
            await producer.stop()

    async def read(self, topic: str) -> list[ConsumerRecord]:
        """Everything on a topic, partition by partition in order."""
        consumer = AIOKafkaConsumer(
            bootstrap_servers=self.kafka, auto_offset_reset="earliest", max_partition_fetch_bytes=16 * 1024 * 1024
        )
        await consumer.start()
        try:
            places = [TopicPartition(topic, number) for number in range(self.counts[topic])]
            ends = await consumer.end_offsets(places)
            wanted = [place for place in places if ends[place]]
            if not wanted:
                return []
            consumer.assign(wanted)
            await consumer.seek_to_beginning(*wanted)
            records: list[ConsumerRecord] = []
            while any([await consumer.position(place) < ends[place] for place in wanted]):
                for fetched in (await consumer.getmany(timeout_ms=200)).values():
                    records += fetched
        finally:
            await consumer.stop()
        return sorted(records, key=lambda record: (record.partition, record.offset))

    async def announced(self) -> list[str]:
        """The claims on the target topic, repeats included, partition by partition in order."""
        return [record.key.decode() for record in await self.read(self.target)]

    async def dead(self) -> list[ConsumerRecord]:
        """The dead letters of this world's records."""
        return [record for record in await self.read(DEAD) if dict(record.headers)["topic"] == self.source.encode()]

    # -- the books ---------------------------------------------------------------------------------------------

    async def leases(self) -> dict[int, asyncpg.Record]:
        rows = await self.books.fetch("select * from runtime.lease where service = $1 and topic = $2", SERVICE, self.source)
        return {row["partition"]: row for row in rows}

    async def noted(self) -> list[str]:
        """The claims in the diary, by partition and sequence."""
        rows = await self.books.fetch("select claim from diary.entry order by source_partition, source_offset")
        return [row["claim"] for row in rows]

    async def quarantined(self) -> list[asyncpg.Record]:
        return list(await self.books.fetch("select * from runtime.quarantine where topic = $1 order by id", self.source))

    async def applied(self, records: int, seconds: float = 30.0) -> None:
        """Waits until so many records were applied and everything decided is acknowledged and marked."""

        async def there() -> bool:
            rows = (await self.leases()).values()
            return sum(row["records"] for row in rows) >= records and all(row["relayed_seq"] == row["out_seq"] for row in rows)

        async def state() -> str:
            return str([dict(row) for row in (await self.leases()).values()])

        await until(there, state, seconds)
        counted = sum(row["records"] for row in (await self.leases()).values())
        assert counted == records, f"{counted} records applied, not {records}"


async def until(
    condition: Callable[[], bool | Awaitable[bool]], what: str | Callable[[], str | Awaitable[str]], seconds: float = 30.0
) -> None:
    """Waits for a condition, and fails naming it when it does not come."""
    deadline = asyncio.get_running_loop().time() + seconds
    while True:
        answer = condition()
        if answer if isinstance(answer, bool) else await answer:
            return
        if asyncio.get_running_loop().time() > deadline:
            told = what() if callable(what) else what
            pytest.fail(f"waited {seconds} s for {told if isinstance(told, str) else await told}")
        await asyncio.sleep(0.03)


def partition_for(claim: str) -> int:
    """Where the diary announces a claim."""
    return partition_of(part_of(claim), PARTITIONS)


@pytest.fixture(scope="session")
def diary_books(servers: Addresses) -> Iterator[str]:
    """DSN of a database of this run's own, with all books and the diary."""
    name = f"test_diary_{secrets.token_hex(4)}"
    with psycopg.connect(servers.postgres, autocommit=True) as owner:
        owner.execute(f"create database {name}")
        dsn = urlsplit(servers.postgres)._replace(path=f"/{name}").geturl()
        migrate(dsn)
        with psycopg.connect(dsn, autocommit=True) as connection:
            connection.execute(SQL)
        yield dsn
        owner.execute(f"drop database {name} with (force)")


@pytest.fixture
async def world(servers: Addresses, diary_books: str, topic_prefix: str) -> AsyncIterator[World]:
    """A world of its own for one test: new topics, empty books."""
    cluster_id = await declared_topics.prepare(servers.kafka, _CLAIM_PARTITIONS)
    admin = AIOKafkaAdminClient(bootstrap_servers=servers.kafka)
    await admin.start()
    books = await asyncpg.connect(diary_books)
    await books.execute("truncate diary.entry, runtime.lease, runtime.quarantine")
    made = World(servers.kafka, diary_books, topic_prefix, cluster_id, books, admin)
    await made.make_topics(made.source, made.target)
    try:
        yield made
    finally:
        for worker in made.workers:
            await worker.crash()
        await admin.delete_topics([made.source, made.target])
        await admin.close()
        await made.books.close()
