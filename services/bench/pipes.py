"""The second floor: the same bytes between the same topics, and the same rows by COPY; nothing parsed, nothing decided.

What Kafka and Postgres cost by themselves. The bytes and rows are those of the run before: values of each topic as they
stood there, rows of each table as text lines of COPY.

``python -m services.bench.pipes HOP HOME``: one hop as a process, as the services are.
"""

import asyncio
import io
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Final, NamedTuple

import asyncpg
import msgspec
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition

from shared.events import ACCEPTED, ADJUDICATED, ELIGIBLE, SETTLED, SUBMITTED
from shared.runtime import access
from shared.runtime.settings import Settings

BATCH: Final = 500


class Hop(NamedTuple):
    """One service's place: what it reads, what it announces, what it writes."""

    source: str
    target: str
    tables: tuple[str, ...]


HOPS: Final = {
    "intake": Hop(SUBMITTED, ACCEPTED, ("intake.submission", "intake.outgoing")),
    "eligibility": Hop(ACCEPTED, ELIGIBLE, ()),
    "adjudication": Hop(ELIGIBLE, ADJUDICATED, ("adjudication.decision", "adjudication.counter")),
    "account": Hop(ADJUDICATED, SETTLED, ("account.outcome", "account.journal", "account.posting")),
}


class Cargo(msgspec.Struct):
    """What a hop carries: the values of its target topic, and for each table lines of COPY."""

    values: list[bytes]
    rows: dict[str, list[bytes]]


async def cargo(settings: Settings, hop: Hop, values: Sequence[bytes]) -> Cargo:
    """A hop's cargo, from the run that has just been audited."""
    connection = await asyncpg.connect(settings.postgres)
    try:
        rows = {}
        for table in hop.tables:
            text = io.BytesIO()
            columns = await _columns(connection, table)
            query = f"select {columns} from {table} limit {len(values) * 3}"  # noqa: S608 - names of our own
            await connection.copy_from_query(query, output=text)
            rows[table] = text.getvalue().splitlines(keepends=True)
    finally:
        await connection.close()
    return Cargo(list(values), rows)


async def _columns(connection: asyncpg.Connection, table: str) -> str:
    schema, name = table.split(".")
    found = await connection.fetch(
        "select column_name from information_schema.columns where table_schema = $1 and table_name = $2 "
        "and is_generated = 'NEVER' order by ordinal_position",
        schema,
        name,
    )
    return ", ".join(f'"{row[0]}"' for row in found)


async def run(settings: Settings, hop: Hop, carried: Cargo) -> None:
    """Carries everything from a source to its target, until its cargo is delivered."""
    consumer = AIOKafkaConsumer(**access.kafka(settings.kafka), auto_offset_reset="earliest", max_partition_fetch_bytes=8_388_608)
    producer = AIOKafkaProducer(**access.kafka(settings.kafka), acks="all", enable_idempotence=True, max_batch_size=262_144)
    connection = await asyncpg.connect(settings.postgres)
    columns = {table: (await _columns(connection, table)).replace('"', "").split(", ") for table in hop.tables}
    await consumer.start()
    await producer.start()
    consumer.assign([TopicPartition(hop.source, partition) for partition in range(settings.partitions)])
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    delivered = 0
    try:
        while delivered < len(carried.values):
            fetched = await consumer.getmany(timeout_ms=200, max_records=BATCH)
            count = min(sum(map(len, fetched.values())), len(carried.values) - delivered)
            if not count:
                continue
            await _write(connection, columns, carried, slice(delivered, delivered + count))
            await _announce(producer, hop, carried.values[delivered : delivered + count], settings.partitions)
            delivered += count
            await asyncio.sleep(0.02 if count < BATCH else 0)  # as the loop does: let records gather
    finally:
        await consumer.stop()
        await producer.stop()
        await connection.close()


async def _write(connection: asyncpg.Connection, columns: dict[str, list[str]], carried: Cargo, part: slice) -> None:
    whole = len(carried.values)
    async with connection.transaction():
        for table, names in columns.items():
            lines = carried.rows[table]
            rows = b"".join(lines[len(lines) * part.start // whole : len(lines) * part.stop // whole])
            schema, name = table.split(".")
            await connection.copy_to_table(name, schema_name=schema, source=io.BytesIO(rows), columns=names)


async def _announce(producer: AIOKafkaProducer, hop: Hop, values: Sequence[bytes], partitions: int) -> None:
    acknowledgements = []
    for partition in range(partitions):
        mine = values[partition::partitions]
        if not mine:
            continue
        builder = producer.create_batch()
        for value in mine:
            if builder.append(key=b"floor", value=value, timestamp=None) is None:
                acknowledgements.append(await producer.send_batch(builder, hop.target, partition=partition))
                builder = producer.create_batch()
                builder.append(key=b"floor", value=value, timestamp=None)
        acknowledgements.append(await producer.send_batch(builder, hop.target, partition=partition))
    await asyncio.gather(*acknowledgements)


if __name__ == "__main__":
    hop_name, directory = sys.argv[1:]
    given = msgspec.msgpack.decode((Path(directory) / f"cargo.{hop_name}").read_bytes(), type=Cargo)
    asyncio.run(run(Settings.load(), HOPS[hop_name], given))
