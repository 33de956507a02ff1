"""The load generator, a process of its own: sends prepared records on a fixed schedule, whatever becomes of them.

``python -m services.bench.load FILE RATE``: FILE holds length-prefixed records; the first line on stdout is the instant (Unix
seconds) at which record 0 was due. Record i is due i / RATE seconds later; latency is counted from there, so a system that
makes the generator wait cannot hide it. RATE 0: as fast as Kafka takes them.
"""

import asyncio
import sys
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final, NamedTuple

import msgspec
from aiokafka import AIOKafkaProducer

from services.ops.send import route
from shared.events import SUBMITTED
from shared.identity import partition_of
from shared.runtime import access

_TICK_SECONDS: Final = 0.005
_LEAD_SECONDS: Final = 1.0
_BATCH_BYTES: Final = 262_144

Number = tuple[str, str, str]  # institution, number, kind


class Prepared(NamedTuple):
    """A record as it goes on the wire."""

    partition: int
    key: bytes
    value: bytes


def prepare(lines: Iterable[dict[str, Any] | bytes], partitions: int) -> Iterator[Prepared]:
    """Feed lines as records of ``claims.submitted``."""
    for line in lines:
        outward = route(line if isinstance(line, bytes) else msgspec.json.encode(line))
        yield Prepared(partition_of(outward.part, partitions), outward.key or b"", outward.value)


def write(file: Path, records: Sequence[Prepared]) -> None:
    """Writes records for a generator."""
    file.write_bytes(msgspec.msgpack.encode(records))


def read(file: Path) -> list[Prepared]:
    """Reads records that ``write`` wrote."""
    return msgspec.msgpack.decode(file.read_bytes(), type=list[Prepared])


def number_of(value: bytes) -> Number | None:
    """The number of a record or an outcome; None for what has none."""
    try:
        return number_in(msgspec.json.decode(value))
    except msgspec.DecodeError:
        return None


def number_in(document: Mapping[str, Any]) -> Number:
    """The number that a record or an outcome tells."""
    kind = document.get("kind") or document.get("type")
    number = document.get("claim_no") or document.get("use_no")
    return (str(document.get("institution_id")), str(number), str(kind))


async def run(bootstrap: str, records: Sequence[Prepared], rate: float) -> None:
    """Sends on schedule, prints when record 0 was due, and returns when everything is acknowledged."""
    producer = AIOKafkaProducer(
        **access.kafka(bootstrap), acks="all", enable_idempotence=True, max_batch_size=_BATCH_BYTES, linger_ms=2
    )
    await producer.start()
    try:
        start = time.time() + _LEAD_SECONDS
        sys.stdout.write(f"{start!r}\n")
        sys.stdout.flush()
        for due in _due(len(records), start, rate):
            if due is None:
                await asyncio.sleep(_TICK_SECONDS)
                continue
            record = records[due]
            await producer.send(SUBMITTED, record.value, key=record.key or None, partition=record.partition)
        await producer.flush()
    finally:
        await producer.stop()


def _due(count: int, start: float, rate: float) -> Iterator[int | None]:
    """The numbers of the records in turn; None while the next is not due."""
    sent = 0
    while sent < count:
        due = count if not rate else min(count, int(max(0.0, time.time() - start) * rate))
        if due <= sent:
            yield None
        while sent < due:
            yield sent
            sent += 1


if __name__ == "__main__":
    asyncio.run(run(sys.argv[1], read(Path(sys.argv[2])), float(sys.argv[3])))
