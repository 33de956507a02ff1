"""A world for the loop alone: the diary's step (``diary.py``) on the real broker and the real books."""

import asyncio
import secrets
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

import asyncpg
import psycopg
import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, ConsumerRecord, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, NewTopic, RecordsToDelete
from diary import SERVICE, SQL, Diary
from loop_worker import Worker, until

from deploy.local.servers import Addresses
from deploy.migrations import run as migrate
from shared.events import DEAD, REJECTED
from shared.identity import part_of, partition_of
from shared.runtime import topics as declared_topics
from shared.runtime.cache import Projection

PARTITIONS = 4
_CLAIM_PARTITIONS = 8


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

    async def is_gapless(self) -> None:
        """Every number of a partition is that of an entry or of something set aside."""
        for partition, lease in (await self.leases()).items():
            rows = await self.books.fetch(
                "select seq from diary.entry where source_topic = $1 and source_partition = $2 and seq is not null "
                "union all select seq from runtime.quarantine where topic = $1 and partition = $2 order by 1",
                self.source,
                partition,
            )
            assert [row["seq"] for row in rows] == list(range(1, lease["out_seq"] + 1))

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
