"""A fetch's partitions on the wire (Kafka protocol, Fetch version 11), packed and unpacked a partition at a time.

aiokafka's schemas call four functions a field, of every partition, whether it has records or not: a fifth of all calls for a
batch of one claim over eight partitions. Other versions of the request go by aiokafka's own.
"""

import struct
from collections.abc import Sequence
from io import BytesIO
from typing import Any

from aiokafka.protocol.fetch import FetchRequest_v11, FetchResponse_v11
from aiokafka.protocol.types import Schema, String

# partition, leader's epoch, offset, start of the log, most bytes
Asked = tuple[int, int, int, int, int]
# partition, error, high-water mark, stable up to, start of the log, aborted transactions, replica to read from, records
Answered = tuple[int, int, int, int, int, list[tuple[int, int]] | None, int, bytes | None]

_COUNT = struct.Struct(">i")
_ASKED = struct.Struct(">iiqqi")
_ANSWERED = struct.Struct(">ihqqqi")  # the first five of what is answered, and how many transactions were aborted
_ABORTED = struct.Struct(">qq")  # producer, first offset
_RECORDS = struct.Struct(">ii")  # replica to read from, bytes of records
_TEXT = String("utf-8")


class AskedTopics:
    """The field ``topics`` of a request."""

    def encode(self, topics: Sequence[tuple[str, Sequence[Asked]]]) -> bytes:
        """Topics with their partitions as bytes."""
        parts = [_COUNT.pack(len(topics))]
        for topic, partitions in topics:
            parts += (_TEXT.encode(topic), _COUNT.pack(len(partitions)))
            parts += [_ASKED.pack(*partition) for partition in partitions]
        return b"".join(parts)

    @staticmethod
    def repr(topics: Any) -> str:
        """For aiokafka's log."""
        return repr(topics)


class AnsweredTopics:
    """The field ``topics`` of an answer."""

    def decode(self, data: BytesIO) -> list[tuple[str | None, list[Answered]]]:
        """Topics with what each partition has. Raises struct.error or ValueError for bytes that end too early."""
        return [
            (_TEXT.decode(data), [self._partition(data) for _ in range(_count(data))]) for _ in range(_count(data))
        ]  # fmt: skip

    def _partition(self, data: BytesIO) -> Answered:
        partition, error, highwater, stable, start, transactions = _ANSWERED.unpack(data.read(_ANSWERED.size))
        aborted = None if transactions < 0 else [_ABORTED.unpack(data.read(_ABORTED.size)) for _ in range(transactions)]
        replica, length = _RECORDS.unpack(data.read(_RECORDS.size))
        records = None if length < 0 else data.read(length)
        if records is not None and len(records) != length:
            raise ValueError(f"partition {partition}: {length} bytes of records announced, {len(records)} came")
        return partition, error, highwater, stable, start, aborted, replica, records

    @staticmethod
    def repr(topics: Any) -> str:
        """For aiokafka's log: the records are left out."""
        return repr([(topic, [partition[:-1] for partition in partitions]) for topic, partitions in topics])


def install() -> None:
    """Puts the two in the place of aiokafka's."""
    FetchRequest_v11.SCHEMA = _with(FetchRequest_v11.SCHEMA, AskedTopics())
    FetchResponse_v11.SCHEMA = _with(FetchResponse_v11.SCHEMA, AnsweredTopics())


def _with(schema: Schema, topics: Any) -> Schema:
    named = zip(schema.names, schema.fields, strict=True)
    return Schema(*((name, topics if name == "topics" else field) for name, field in named))


def _count(data: BytesIO) -> int:
    return int(_COUNT.unpack(data.read(_COUNT.size))[0])
