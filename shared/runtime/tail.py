"""Hears what is announced from now on: a reader without a group, so that every instance hears everything.

Places in the log are remembered here: a reader that had to be made anew goes on where it stopped.
"""

import asyncio
import logging
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from typing import Final

from aiokafka import TopicPartition
from aiokafka.errors import KafkaError, OffsetOutOfRangeError

from shared.errors import Retry
from shared.runtime import access
from shared.runtime.ending import ended
from shared.runtime.ends import end_of_records
from shared.runtime.fetch import Consumer

log = logging.getLogger("gongji.tail")

_POLL_MS: Final = 1_000
_AT_ONCE: Final = 1_000
_AGAIN_SECONDS: Final = 0.5
_UNWANTED_SECONDS: Final = 0.2
_END_SECONDS: Final = 5.0


class Tail:
    """Follows topics from their ends on. ``topics``: name -> partitions. ``hear`` gets the values and must not raise.

    ``wanted``: set while somebody waits for what is heard; else it is fetched in handfuls.
    """

    def __init__(
        self, bootstrap: str, topics: Mapping[str, int], hear: Callable[[Sequence[bytes]], None], wanted: asyncio.Event
    ) -> None:
        self._bootstrap = bootstrap
        self._wanted = wanted
        self._places = [TopicPartition(name, number) for name, count in topics.items() for number in range(count)]
        self._hear = hear
        self._next: dict[TopicPartition, int] = {}
        self._consumer: Consumer | None = None
        self._task: asyncio.Task[None] | None = None
        self._looking = asyncio.Lock()
        self._ends: dict[TopicPartition, tuple[int, int]] = {}  # where a log ended, and its records

    async def start(self) -> None:
        """Returns once nothing that is announced from now on can be missed. Raises KafkaError or OSError."""
        await self._open()
        self._task = asyncio.create_task(self._follow())

    async def stop(self) -> None:
        """Stops hearing."""
        if self._task is not None:
            await ended(self._task)
        await self._close()

    async def end(self, topic: str, partition: int) -> int:
        """Where any topic's partition ends now; where its records do, if that was looked for since it changed. Raises Retry."""
        if self._consumer is None:
            raise Retry("Kafka is away")
        place = TopicPartition(topic, partition)
        try:
            async with asyncio.timeout(_END_SECONDS):
                end = int((await self._consumer.end_offsets([place]))[place])
        except (KafkaError, OSError, TimeoutError) as trouble:
            raise Retry(f"Kafka: {type(trouble).__name__}: {trouble}") from trouble
        known, of_records = self._ends.get(place, (-1, -1))
        return of_records if known == end else end

    async def end_of_records(self, topic: str, partition: int, end: int) -> int:
        """The offset behind the last record before ``end`` (see ``ends``), read from the log. Raises Retry."""
        place = TopicPartition(topic, partition)
        async with self._looking:
            known, of_records = self._ends.get(place, (-1, -1))
            if known == end:
                return of_records
            try:
                async with asyncio.timeout(_END_SECONDS):
                    found = await self._look(place, end)
            except (KafkaError, OSError, TimeoutError) as trouble:
                raise Retry(f"Kafka: {type(trouble).__name__}: {trouble}") from trouble
            if found < end:  # and so it stays: what was not committed is not committed later
                self._ends[place] = (end, found)
            return found

    async def _look(self, place: TopicPartition, end: int) -> int:
        consumer = Consumer(
            **access.kafka(self._bootstrap), enable_auto_commit=False, auto_offset_reset="none", isolation_level="read_committed"
        )
        try:
            await consumer.start()
            start = (await consumer.beginning_offsets([place]))[place]
            return await end_of_records(consumer, (place.topic, place.partition), start, end)
        finally:
            await consumer.stop()

    async def _open(self) -> None:
        consumer = Consumer(
            **access.kafka(self._bootstrap), enable_auto_commit=False, auto_offset_reset="none", fetch_max_wait_ms=500
        )
        try:
            await consumer.start()
            consumer.assign(self._places)
            ends = await consumer.end_offsets(self._places)
            for place in self._places:
                self._next[place] = min(self._next.get(place, ends[place]), ends[place])
                consumer.seek(place, self._next[place])
        except BaseException:
            await consumer.stop()
            raise
        self._consumer = consumer

    async def _close(self) -> None:
        consumer, self._consumer = self._consumer, None
        if consumer is not None:
            with suppress(Exception):  # it is thrown away, whatever it says to that
                await asyncio.wait_for(consumer.stop(), 5)

    async def _follow(self) -> None:
        while True:
            try:
                if self._consumer is None:
                    await self._open()
                await self._fetch()
            except OffsetOutOfRangeError:  # retention was faster: what was missed is asked for in Postgres
                self._next.clear()
                await self._close()
            except (KafkaError, OSError, TimeoutError) as trouble:
                log.warning("the tail starts again: %s: %s", type(trouble).__name__, trouble)
                await self._close()
                await asyncio.sleep(_AGAIN_SECONDS)
            except Exception:  # ended by it, nobody would ever hear anything again, nor be told that he does not
                log.exception("the tail failed in a way it should not; it starts again")
                await self._close()
                await asyncio.sleep(_AGAIN_SECONDS)

    async def _fetch(self) -> None:
        assert self._consumer is not None
        with suppress(TimeoutError):
            async with asyncio.timeout(_UNWANTED_SECONDS):
                await self._wanted.wait()
        for place, records in (await self._consumer.getmany(timeout_ms=_POLL_MS, max_records=_AT_ONCE)).items():
            self._next[place] = records[-1].offset + 1  # first: what cannot be heard must not come again for ever
            self._hear([record.value or b"" for record in records])
