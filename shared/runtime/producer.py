"""What is announced, on its way to Kafka: in order, acknowledged, and never by a client that may have lost its place."""

import asyncio
from collections.abc import Awaitable, Mapping, Sequence
from typing import Any

from aiokafka import AIOKafkaProducer
from aiokafka.errors import KafkaError
from aiokafka.producer.message_accumulator import BatchBuilder

from shared.errors import Retry
from shared.identity import partition_of
from shared.runtime import access
from shared.runtime.ending import ended
from shared.runtime.lease import Place
from shared.runtime.relay import Outgoing

MAX_REQUEST = 9 * 1024 * 1024  # a dead letter: the largest record of any topic, and why it is dead
_ACK_SECONDS = 30.0
_BATCH_BYTES = 262_144


class Producer:
    """Sends in order, each message to the partition of its part, and waits for every acknowledgement.

    Any failure throws the client away: after an out-of-order sequence error an idempotent producer never recovers.
    """

    def __init__(self, bootstrap: str, partitions: Mapping[str, int], *, ack_seconds: float = _ACK_SECONDS) -> None:
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
                max_request_size=MAX_REQUEST,
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
    """Without its ``stop``: that waits for what is not acknowledged, and, given up, leaves its tasks at it for ever."""
    client._closed = True  # noqa: SLF001 - or it complains of not having been stopped
    await client.client.close()
    sender = client._sender  # noqa: SLF001 - what it has on its way fails by now, so that it can end
    if sender is not None and sender.sender_task is not None:
        await ended(sender.sender_task)
