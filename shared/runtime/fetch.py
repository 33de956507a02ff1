"""Fetching from Kafka without losing anything to a batch that cannot be read (measured with aiokafka 0.14).

Two faults of aiokafka lose records. A header's name that is no UTF-8 raises out of ``getmany``, for ever. And whatever
raises there takes along what the same call had drained of other partitions: their positions have moved on already.
"""

import asyncio
import logging
import struct
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, SupportsIndex

from aiokafka import AIOKafkaConsumer, ConsumerRecord, TopicPartition
from aiokafka.consumer import consumer as client
from aiokafka.consumer import fetcher
from aiokafka.consumer.group_coordinator import GroupCoordinator
from aiokafka.errors import (
    CorruptRecordException,
    KafkaError,
    NoOffsetForPartitionError,
    RecordTooLargeError,
    UnsupportedCodecError,
)
from aiokafka.record.default_records import _DefaultRecordBatchPy as SlowBatch
from aiokafka.record.memory_records import MemoryRecords

from shared.runtime import fetch_wire, inflation
from shared.runtime.lease import Place

Found = Mapping[TopicPartition, Sequence[ConsumerRecord]]

log = logging.getLogger("gongji.fetch")

_CAREFUL_ROUNDS = 200
ALONE_MS = 200  # a fetch that finds nothing; what is asked meanwhile on its connection (bounds, on taking a lease) waits for it
_LENGTH_AT = 8  # of a batch in the log: offset (8 bytes), length (4), then so many bytes
_LENGTH = struct.Struct(">i")
_OF_THE_RECORDS = (CorruptRecordException, RecordTooLargeError, UnsupportedCodecError)

fetch_wire.install()


class _Fetcher(fetcher.Fetcher):  # type: ignore[misc]
    """aiokafka's fetcher, which asks the broker when somebody wants records, not as soon as it has handed some out.

    What comes while a batch is worked on so gathers at the broker, and the next fetch brings all of it: batches grow with the
    load by themselves, and a claim that comes alone waits for nothing. Asked ahead, the broker would answer with the first
    record there is, and what came after it would wait for the next batch but one (deploy/decisions/0017).
    """

    on_demand = False
    _waiting = False  # somebody waits for records now
    _due = False  # and has not been seen yet: who finds records left over does not wait, and asks for the next ones in passing

    @contextmanager
    def wanted(self) -> Iterator[None]:
        """While records are waited for."""
        self._waiting = self._due = True
        self._notify(self._wait_consume_future)
        try:
            yield
        finally:
            self._waiting = False

    def _get_actions_per_node(self, assignment: Any) -> Any:
        if self.on_demand and not (self._waiting or self._due):
            return [], {}, self._fetcher_timeout, False, []
        self._due = False
        return super()._get_actions_per_node(assignment)


class _Coordinator(GroupCoordinator):  # type: ignore[misc]
    """aiokafka's coordinator, whose commits leave no failure behind that nobody takes.

    It shields them: who stops waiting for one, as the process does at its end, never learns what became of it.
    """

    async def _do_commit_offsets(self, assignment: Any, offsets: Any) -> None:
        committing = asyncio.current_task()
        assert committing is not None
        committing.add_done_callback(lambda task: task.cancelled() or task.exception())
        await super()._do_commit_offsets(assignment, offsets)


class Consumer(AIOKafkaConsumer):  # type: ignore[misc]
    """aiokafka's consumer, which puts every position back when a fetch fails, and finds the partition that fails it.

    ``unreadable`` is told which that is; it parks it, and the others go on.
    """

    def __init__(self, *topics: str, **options: Any) -> None:
        fetcher.MemoryRecords, client.Fetcher = Records, _Fetcher  # the client has no other way to be given them
        client.GroupCoordinator = _Coordinator
        super().__init__(*topics, **options)
        self.unreadable: Callable[[Place, Exception], Awaitable[None]] | None = None
        self._careful = 0
        self._taken_from: dict[TopicPartition, int] = {}

    async def start(self) -> None:
        """Joins the cluster. Raises what aiokafka raises."""
        await super().start()
        self._fetcher.on_demand = True

    async def getmany(self, *partitions: TopicPartition, timeout_ms: int = 0, max_records: int | None = None) -> Found:
        """What was fetched, by partition, once there is something. Raises what aiokafka raises, and nothing is lost by it."""
        with self._fetcher.wanted():
            if self._careful:
                self._careful -= 1
                return await self._first_that_has_any(max_records)
            patience = max(timeout_ms, ALONE_MS)  # FastStream is told less: it sleeps as long again after an empty answer
            try:
                found = await super().getmany(*partitions, timeout_ms=patience, max_records=max_records)
            except NoOffsetForPartitionError:  # assigned this moment: whoever takes its lease will seek
                self._put_back()
                await asyncio.sleep(ALONE_MS / 1000)  # or the client would ask for the offset again at once, and again
                return {}
            except Exception:
                self._put_back()
                self._careful = _CAREFUL_ROUNDS
                raise
            return self._took(found)

    def seek(self, partition: TopicPartition, offset: int) -> None:
        """Where to go on; also for a fetch under way that fails."""
        self._taken_from[partition] = offset
        super().seek(partition, offset)

    def reached(self, partition: TopicPartition) -> int:
        """Where it reads on: behind the last record that was taken, and behind the marks of transactions after that."""
        assignment = self._subscription.subscription and self._subscription.subscription.assignment
        if not assignment or partition not in assignment.tps:
            return 0
        state = assignment.state_value(partition)
        return int(state.position) if state.has_valid_position else 0

    async def _first_that_has_any(self, max_records: int | None) -> Found:
        """One partition a call: what fails there loses nothing of another."""
        for partition in sorted(self.assignment()):
            try:
                if found := await super().getmany(partition, max_records=max_records):
                    return self._took(found)
            except NoOffsetForPartitionError:
                continue
            except Exception as failure:
                if self.unreadable is None or (isinstance(failure, KafkaError) and not isinstance(failure, _OF_THE_RECORDS)):
                    raise
                await self.unreadable((partition.topic, partition.partition), failure)
        return {}

    def _took(self, found: Found) -> Found:
        """What was handed out is not fetched again for the sake of a later failure."""
        self._taken_from.update((partition, records[-1].offset + 1) for partition, records in found.items())
        return found

    def _put_back(self) -> None:
        mine = self.assignment()
        for partition, position in list(self._taken_from.items()):
            if partition in mine:
                self.seek(partition, position)


class Records:
    """The batches in fetched bytes, as the fetcher asks for them."""

    def __init__(self, fetched: bytes) -> None:
        self._fetched = fetched
        self._batches = MemoryRecords(fetched)
        self._at = 0

    def size_in_bytes(self) -> int:
        return int(self._batches.size_in_bytes())

    def has_next(self) -> bool:
        return bool(self._batches.has_next())

    def next_batch(self) -> "_Batch":
        start = self._at
        self._at += _LENGTH_AT + _LENGTH.size + _LENGTH.unpack_from(self._fetched, start + _LENGTH_AT)[0]
        raw = memoryview(self._fetched)[start : self._at]
        inflation.check(raw)
        return _Batch(self._batches.next_batch(), raw)


class _Batch:
    """One batch; read again, slowly, where aiokafka's fast reader fails on the name of a header."""

    def __init__(self, batch: Any, raw: memoryview) -> None:
        self._batch = batch
        self._raw = raw

    def __getattr__(self, name: str) -> Any:
        return getattr(self._batch, name)

    def __next__(self) -> Any:
        return next(self._batch)

    def __iter__(self) -> Iterator[Any]:
        try:
            return iter(list(self._batch))
        except UnicodeDecodeError:
            slow = SlowBatch(self._raw)
            slow._maybe_uncompress()  # noqa: SLF001 - before its buffer is wrapped
            slow._buffer = _AnyName(slow._buffer)  # noqa: SLF001
            return iter(list(slow))


class _AnyName(bytearray):
    """Bytes of which every slice can be decoded: only the names of headers are."""

    def __getitem__(self, at: SupportsIndex | slice) -> Any:
        found = super().__getitem__(at)
        return _AnyName(found) if isinstance(found, bytearray) else found

    def decode(self, encoding: str = "utf-8", errors: str = "backslashreplace") -> str:
        return super().decode(encoding, errors)
