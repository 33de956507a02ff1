"""Kafka: the one file that knows FastStream and aiokafka.

FastStream is the shell (lifecycle, AsyncAPI, application); the loop decides where to go on. What was measured to lose or
double claims, and is therefore not used: its acknowledgement policies other than MANUAL, its decoders, ``publish_batch``,
Kafka's committed offsets as a truth. A handler that raises would be passed over, so the loop's never raises.
"""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from functools import partial
from typing import Any

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, ConsumerRecord, TopicPartition
from aiokafka.abc import ConsumerRebalanceListener
from aiokafka.errors import KafkaError
from aiokafka.producer.message_accumulator import BatchBuilder
from faststream import AckPolicy
from faststream.kafka import KafkaBroker
from faststream.kafka.message import KafkaMessage

from shared.errors import Retry
from shared.identity import partition_of
from shared.runtime import access
from shared.runtime.fetch import ALONE_MS, Consumer
from shared.runtime.holdings import Holdings
from shared.runtime.lease import Place
from shared.runtime.relay import Outgoing
from shared.runtime.step import Record

log = logging.getLogger("gongji.kafka")

ACK_SECONDS = 30.0
_POLL_MS = 5  # FastStream waits as long after an empty answer; its default would add up to 200 ms to a claim
_METADATA_MS = 10_000  # a topic that vanished and came back is seen within this; the client's default is five minutes
_BATCH_BYTES = 262_144
SETTLED_SECONDS = 10.0  # since the group last met; see ConsumerLog.advise
_SESSION_MS = 6_000  # the least the broker takes: how long a killed worker's partitions wait
_MAX_REQUEST = 9 * 1024 * 1024  # a dead letter: the largest record of any topic, and why it is dead


class Producer:
    """Sends in order, each message to the partition of its part, and waits for every acknowledgement.

    Any failure throws the client away: after an out-of-order sequence error an idempotent producer never recovers.
    """

    def __init__(self, bootstrap: str, partitions: Mapping[str, int], *, ack_seconds: float = ACK_SECONDS) -> None:
        self._bootstrap = bootstrap
        self._partitions = partitions
        self._ack_seconds = ack_seconds
        self._client: AIOKafkaProducer | None = None

    async def _started(self) -> AIOKafkaProducer:
        if self._client is None:
            client = AIOKafkaProducer(
                **access.kafka(self._bootstrap),
                acks="all",
                enable_idempotence=True,
                max_batch_size=_BATCH_BYTES,
                max_request_size=_MAX_REQUEST,
                linger_ms=0,
            )
            try:
                await asyncio.wait_for(client.start(), self._ack_seconds)
            except BaseException:
                await _abandon(client)
                raise
            self._client = client
        return self._client

    async def send(self, outgoing: Sequence[Outgoing]) -> None:
        """Sends messages, per partition in the order given. Returns when all are acknowledged. Raises Retry."""
        if not outgoing:
            return
        try:
            client = await self._started()
            async with asyncio.timeout(self._ack_seconds):
                acknowledgements = await self._hand_over(client, outgoing)
                await asyncio.gather(*acknowledgements)
        except (KafkaError, OSError, TimeoutError) as trouble:
            await self.drop()
            raise Retry(f"Kafka: {type(trouble).__name__}: {trouble}") from trouble

    async def _hand_over(self, client: AIOKafkaProducer, outgoing: Sequence[Outgoing]) -> list[Awaitable[Any]]:
        groups: dict[Place, list[Outgoing]] = {}
        for one in outgoing:
            message = one.message
            partition = partition_of(message.part, self._partitions[message.topic])
            groups.setdefault((message.topic, partition), []).append(one)
        acknowledgements: list[Awaitable[Any]] = []
        for (topic, partition), messages in groups.items():
            builder = client.create_batch()
            for one in messages:
                if not _append(builder, one):  # full: send it, and go on with a new one
                    acknowledgements.append(await client.send_batch(builder, topic, partition=partition))
                    builder = client.create_batch()
                    _append(builder, one)  # the first of a batch always fits
            acknowledgements.append(await client.send_batch(builder, topic, partition=partition))
        return acknowledgements

    async def drop(self) -> None:
        """Throws the client away with whatever it still holds; a new one starts with the next message."""
        client, self._client = self._client, None
        if client is not None:
            await _abandon(client)

    async def close(self) -> None:
        """Closes in good order."""
        client, self._client = self._client, None
        if client is not None:
            try:
                await asyncio.wait_for(client.stop(), 5)
            except (KafkaError, OSError, TimeoutError):
                await _abandon(client)


def _append(builder: BatchBuilder, one: Outgoing) -> bool:
    message, headers = one
    return builder.append(timestamp=None, key=message.key or None, value=message.value, headers=list(headers)) is not None


async def _abandon(client: AIOKafkaProducer) -> None:
    try:
        await asyncio.wait_for(client.stop(), 0.5)
    except (KafkaError, OSError, TimeoutError, asyncio.CancelledError):
        await client.client.close()


class ConsumerLog:
    """A consumer as the holdings see it, from one meeting of its group to the next."""

    def __init__(self, consumer: AIOKafkaConsumer) -> None:
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
            async with asyncio.timeout(ACK_SECONDS):
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

    def waiting(self, offsets: Mapping[Place, int]) -> int:
        """Records in the log past what was applied, as the last fetch knew it."""
        records = 0
        for place, offset in offsets.items():
            end = self._consumer.highwater(TopicPartition(*place))
            records += max(0, (end or offset) - offset)
        return records


class _Listener(ConsumerRebalanceListener):  # type: ignore[misc]
    """Hands assignments to the holdings. Whatever fails there is taken up by the sweep."""

    def __init__(self, holdings: Holdings, consumer: Callable[[], AIOKafkaConsumer | None]) -> None:
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
            if isinstance(consumer, Consumer):
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
    return _Broker(
        bootstrap,
        security=access.faststream_security(access.kafka(bootstrap)),
        apply_types=False,
        logger=logging.getLogger("faststream"),
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
        max_partition_fetch_bytes=_MAX_REQUEST,
        listener=_Listener(holdings, consumer),
        parser=_parse,
        decoder=_decode,
        title=f"{group}:{','.join(topics)}",
    )

    @subscriber
    async def handler(records: list[Record]) -> None:
        await handle(records)

    return consumer


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
