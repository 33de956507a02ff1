"""Kafka as the loop consumes it: the one file that knows FastStream.

FastStream is the shell (lifecycle, AsyncAPI, application); the loop decides where to go on. What was measured to lose or
double claims, and is therefore not used: its acknowledgement policies other than MANUAL, its decoders, ``publish_batch``,
Kafka's committed offsets as a truth. A handler that raises would be passed over, so the loop's never raises.
"""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from functools import partial

from aiokafka import AIOKafkaConsumer, ConsumerRecord, TopicPartition
from aiokafka.abc import ConsumerRebalanceListener
from aiokafka.errors import KafkaError
from faststream import AckPolicy
from faststream.kafka import KafkaBroker
from faststream.kafka.message import KafkaMessage

from shared.errors import Retry
from shared.runtime import access
from shared.runtime.fetch import ALONE_MS, Consumer
from shared.runtime.holdings import Holdings
from shared.runtime.lease import Place
from shared.runtime.producer import MAX_REQUEST
from shared.runtime.step import Record

log = logging.getLogger("gongji.kafka")

_POLL_MS = 5  # FastStream waits as long after an empty answer; its default would add up to 200 ms to a claim
_ANSWER_SECONDS = 30.0
_METADATA_MS = 10_000  # a topic that vanished and came back is seen within this; the client's default is five minutes
SETTLED_SECONDS = 10.0  # since the group last met; see ConsumerLog.advise
_SESSION_MS = 6_000  # the least the broker takes: how long a killed worker's partitions wait


class ConsumerLog:
    """A consumer as the holdings see it, from one meeting of its group to the next."""

    def __init__(self, consumer: Consumer) -> None:
        self._consumer = consumer
        self._met = time.monotonic()

    def assigned(self) -> set[Place]:
        return {(tp.topic, tp.partition) for tp in self._consumer.assignment()}

    def hold(self, place: Place) -> None:
        partition = TopicPartition(*place)
        self._consumer.pause(partition)
        self._consumer.seek(partition, 0)  # a position of our own, or the client would ask Kafka for one

    def go(self, place: Place, offset: int) -> None:
        partition = TopicPartition(*place)
        if partition not in self._consumer.assignment():
            return  # it moved while its lease was taken: whoever has it now fetches
        self._consumer.seek(partition, offset)
        self._consumer.resume(partition)

    async def bounds(self, places: Iterable[Place]) -> Mapping[Place, tuple[int, int]]:
        partitions = [TopicPartition(*place) for place in places]
        if not partitions:
            return {}
        try:
            async with asyncio.timeout(_ANSWER_SECONDS):
                starts, ends = await asyncio.gather(
                    self._consumer.beginning_offsets(partitions), self._consumer.end_offsets(partitions)
                )
        except (KafkaError, OSError, TimeoutError) as trouble:
            raise Retry(f"Kafka: {type(trouble).__name__}: {trouble}") from trouble
        return {(tp.topic, tp.partition): (starts[tp], ends[tp]) for tp in partitions}

    async def advise(self, offsets: Mapping[Place, int]) -> None:
        """Commits to Kafka, but not soon after a rebalance.

        A commit that crosses a rebalance has the old generation; the client takes the refusal for its own exclusion and joins
        as somebody new, which is the next rebalance. Three workers kept each other from their partitions so for minutes.
        """
        if time.monotonic() - self._met < SETTLED_SECONDS:
            return
        mine = self.assigned()
        try:
            commit = {TopicPartition(*place): offset for place, offset in offsets.items() if place in mine}
            if commit:
                await asyncio.wait_for(self._consumer.commit(commit), 2)
        except (KafkaError, OSError, TimeoutError, ValueError) as trouble:
            log.debug("advisory commit failed: %s", trouble)

    async def waiting(self, offsets: Mapping[Place, int], *, resting: bool) -> int:
        """Records in the log past what was applied; of a place taken away meanwhile, none. Never raises.

        ``resting``: no batch is worked on. Then what was read is applied, what may follow it are marks of transactions, and the
        last fetch knew the ends. A consumer that works fetches seldom, the more seldom the more it has to do: it asks for them.
        """
        mine = self.assigned()
        offsets = {place: offset for place, offset in offsets.items() if place in mine}
        ends = {place: self._consumer.highwater(TopicPartition(*place)) or 0 for place in offsets}
        if not resting:
            with suppress(Retry):
                ends |= {place: end for place, (_, end) in (await self.bounds(offsets)).items()}
        records = 0
        for place, offset in offsets.items():
            applied = max(offset, self._consumer.reached(TopicPartition(*place))) if resting else offset
            records += max(0, ends[place] - applied)
        return records


class _Listener(ConsumerRebalanceListener):  # type: ignore[misc]
    """Hands assignments to the holdings. Whatever fails there is taken up by the sweep."""

    def __init__(self, holdings: Holdings, consumer: Callable[[], Consumer | None]) -> None:
        self._holdings = holdings
        self._consumer = consumer

    async def on_partitions_revoked(self, revoked: Iterable[TopicPartition]) -> None:
        try:
            await self._holdings.revoked([(tp.topic, tp.partition) for tp in revoked])
        except Exception:
            log.exception("marks could not be stored on revocation; the next owner announces again")

    async def on_partitions_assigned(self, assigned: Iterable[TopicPartition]) -> None:
        try:
            consumer = self._consumer()
            assert consumer is not None
            self._holdings.log = ConsumerLog(consumer)
            consumer.unreadable = self._holdings.unreadable
            await self._holdings.assigned([(tp.topic, tp.partition) for tp in assigned])
        except Exception:
            log.exception("leases could not be taken at assignment; the sweep will")


class _Broker(KafkaBroker):
    """FastStream's broker over our own consumer, which loses nothing when a fetch fails."""

    async def _connect(self) -> Callable[..., AIOKafkaConsumer]:
        theirs = await super()._connect()
        assert isinstance(theirs, partial)
        self.config.broker_config.builder = partial(Consumer, *theirs.args, **theirs.keywords)
        return self.config.broker_config.builder


def make_broker(bootstrap: str) -> KafkaBroker:
    """FastStream's broker: no types applied, no decoding, nothing between the fetched records and the loop."""
    said = logging.getLogger("faststream")
    said.handlers.clear()  # its own writes traces with their words, beside our log
    said.propagate = True
    return _Broker(
        bootstrap,
        security=access.faststream_security(access.kafka(bootstrap)),
        apply_types=False,
        logger=said,
        client_id="gongji",
        metadata_max_age_ms=_METADATA_MS,
    )


def consume(
    broker: KafkaBroker,
    topics: Sequence[str],
    group: str,
    handle: Callable[[Sequence[Record]], Awaitable[None]],
    holdings: Holdings,
    *,
    batch_max: int,
    outsiders_write: bool,
    rest_seconds: float = 0.0,
) -> Callable[[], AIOKafkaConsumer | None]:
    """Feeds fetched batches of these topics to a loop. Returns how to get at the consumer once it runs."""

    def consumer() -> AIOKafkaConsumer | None:
        return subscriber.consumer

    subscriber = broker.subscriber(
        *topics,
        batch=True,
        group_id=group,
        ack_policy=AckPolicy.MANUAL,
        auto_offset_reset="none",
        isolation_level="read_committed" if outsiders_write else "read_uncommitted",
        batch_timeout_ms=_POLL_MS,
        max_records=batch_max,
        session_timeout_ms=_SESSION_MS,
        heartbeat_interval_ms=1_500,
        max_poll_interval_ms=600_000,
        fetch_max_wait_ms=ALONE_MS,
        max_partition_fetch_bytes=MAX_REQUEST,
        listener=_Listener(holdings, consumer),
        parser=_parse,
        decoder=_decode,
        title=f"{group}:{','.join(topics)}",
    )

    subscriber(_resting(handle, batch_max, rest_seconds))
    return consumer


def _resting(
    handle: Callable[[Sequence[Record]], Awaitable[None]], batch_max: int, rest_seconds: float
) -> Callable[[list[Record]], Awaitable[None]]:
    """Rests after a batch that was not full, so that more records share the next transaction."""

    async def handler(records: list[Record]) -> None:
        await handle(records)
        if len(records) < batch_max:
            await asyncio.sleep(rest_seconds)

    return handler


async def _parse(fetched: tuple[ConsumerRecord, ...]) -> KafkaMessage:
    """Keeps the records as they are: FastStream's own parser fails on headers that are not text, and takes the batch along."""
    return KafkaMessage(
        body=b"", headers={}, content_type=None, raw_message=fetched, consumer=_NoConsumer(), message_id="", correlation_id=""
    )


async def _decode(message: KafkaMessage) -> list[Record]:
    return [
        Record(
            one.topic, one.partition, one.offset, one.timestamp, one.key, one.value or b"",
            tuple((name, value or b"") for name, value in one.headers),
        )
        for one in message.raw_message
    ]  # fmt: skip


class _NoConsumer:
    """Nothing is acknowledged through FastStream."""

    async def commit(self) -> None:
        """Offsets live in Postgres."""

    def seek(self, partition: TopicPartition, offset: int) -> None:
        """The holdings seek."""
