"""Streams feed lines to their topics: register lines to ``register.*``, whatever else to ``claims.submitted``.

A line that is no record is sent as it is, and told: the deployment keeps it as a dead letter. A line sent twice (after
trouble with the broker) is a repeat, and has no second effect.
"""

import asyncio
import time
import zlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple, Self

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.errors import KafkaError

from services.ops.barrier import Barrier, Ends
from shared import register
from shared.errors import Unreadable
from shared.events import REGISTER_TYPES, SUBMITTED, SUBMITTED_TYPES
from shared.identity import PARTS, number_of, part_of, partition_of
from shared.runtime import access
from shared.runtime.lease import Place
from shared.strict_json import read_object

MAX_LINE_BYTES: Final = 1_000_000  # what the topics take, with room for the key and the frame
_CHUNK: Final = 1000
_CHUNKS_A_SECOND: Final = 20  # when a rate is asked for
_BATCH_BYTES: Final = 262_144
_TROUBLE_SECONDS: Final = 60.0
_LONGEST_KEY: Final = 256

# The field whose value keeps the lines of one identity in one partition, and so in order.
_KEYS: Final = {
    "member": "member_id", "institution": "institution_id", "family_link": "holder_id", "remote_filing": "member_id",
    "inpatient_stay": "member_id", "catalogue_item": "code", "account_credit": "member_id",
}  # fmt: skip


Numbered = tuple[str, int, bytes]  # file, line number, line


class Outward(NamedTuple):
    """A line with the place it goes to. ``fault`` says why nobody will be able to take it, if so."""

    topic: str
    part: int
    key: bytes | None
    value: bytes
    fault: str = ""


@dataclass
class Sent:
    """What came of a feed."""

    register: int = 0
    submitted: int = 0
    faults: list[tuple[str, str]] = field(default_factory=list)  # (file:line, what is wrong)
    too_large: int = 0


def route(line: bytes) -> Outward:
    """Where a line goes. Never raises: what cannot be read goes where dead letters are made."""
    try:
        document = read_object(line)
    except Unreadable as unreadable:
        return Outward(SUBMITTED, zlib.crc32(line) % PARTS, None, line, str(unreadable))
    kind = document.get("type")
    if not (isinstance(kind, str) and kind in REGISTER_TYPES):
        return _keyed(SUBMITTED, document.get("institution_id"), line, _unanswerable(document, kind))
    fault = ""
    try:
        register.understand(document, kind)
    except Unreadable as unreadable:
        fault = str(unreadable)
    return _keyed(f"register.{kind}", document.get(_KEYS[kind]), line, fault)


def _unanswerable(document: Mapping[str, Any], kind: Any) -> str:
    """Why a submission is no record, as far as its sender can see."""
    try:
        number_of(document, kind)
    except Unreadable as unreadable:
        return str(unreadable)
    return "" if kind in SUBMITTED_TYPES else f"type must be one of {', '.join((*SUBMITTED_TYPES, *REGISTER_TYPES))}"


def _keyed(topic: str, identity: Any, line: bytes, fault: str = "") -> Outward:
    text = identity.encode("utf-8", "replace").decode() if isinstance(identity, str) else ""
    return Outward(topic, part_of(text), text[:_LONGEST_KEY].encode() or None, line, fault)


class Feeder:
    """A producer that remembers how far it got in each partition, and a look at where the partitions end."""

    def __init__(self, bootstrap: str, partitions: Mapping[str, int]) -> None:
        self._bootstrap = bootstrap
        self._partitions = partitions
        self._producer: AIOKafkaProducer | None = None
        self._ends: dict[Place, int] = {}

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._drop()

    async def send(self, outward: Sequence[Outward]) -> None:
        """Sends in order, and returns when all are acknowledged. Raises ServerMissing when Kafka stays away."""
        since = time.monotonic()
        while True:
            try:
                await self._send(outward)
            except (KafkaError, OSError, TimeoutError) as trouble:
                await self._drop()
                if time.monotonic() - since > _TROUBLE_SECONDS:
                    raise await access.kafka_missing(self._bootstrap, trouble) from trouble
                await asyncio.sleep(0.5)
            else:
                return

    async def _send(self, outward: Sequence[Outward]) -> None:
        producer = await self._started()
        groups: dict[Place, list[Outward]] = {}
        for one in outward:
            place = (one.topic, partition_of(one.part, self._partitions[one.topic]))
            groups.setdefault(place, []).append(one)
        acknowledgements = []
        for place, lines in groups.items():
            builder, count = producer.create_batch(), 0
            for one in lines:
                if builder.append(timestamp=None, key=one.key, value=one.value) is None:
                    acknowledgements.append((place, count, await producer.send_batch(builder, place[0], partition=place[1])))
                    builder, count = producer.create_batch(), 0
                    builder.append(timestamp=None, key=one.key, value=one.value)
                count += 1
            acknowledgements.append((place, count, await producer.send_batch(builder, place[0], partition=place[1])))
        for place, count, acknowledgement in acknowledgements:
            self._ends[place] = max(self._ends.get(place, 0), (await acknowledgement).offset + count)

    async def _started(self) -> AIOKafkaProducer:
        if self._producer is None:
            producer = AIOKafkaProducer(
                **access.kafka(self._bootstrap), acks="all", enable_idempotence=True,
                max_batch_size=_BATCH_BYTES, max_request_size=8 * _BATCH_BYTES,
            )  # fmt: skip
            try:
                await producer.start()
            except BaseException:
                await producer.stop()
                raise
            self._producer = producer
        return self._producer

    async def _drop(self) -> None:
        producer, self._producer = self._producer, None
        if producer is not None:
            with suppress(KafkaError, OSError, TimeoutError):
                await asyncio.wait_for(producer.stop(), 5)

    def take_ends(self, topics: str) -> Ends:
        """The ends reached since the last time, for topics with this prefix."""
        return {place: self._ends.pop(place) for place in list(self._ends) if place[0].startswith(topics)}

    async def ends_of(self, topics: Sequence[str]) -> Ends:
        """Where topics end now. Raises ServerMissing."""
        consumer = AIOKafkaConsumer(**access.kafka(self._bootstrap))
        places = [TopicPartition(topic, number) for topic in topics for number in range(self._partitions[topic])]
        try:
            await consumer.start()
            return {(place.topic, place.partition): end for place, end in (await consumer.end_offsets(places)).items()}
        except (KafkaError, OSError, TimeoutError) as trouble:
            raise await access.kafka_missing(self._bootstrap, trouble) from trouble
        finally:
            await consumer.stop()


class Sending:
    """One feed on its way, in chunks, with a barrier wherever it changes between register and claims."""

    def __init__(self, feeder: Feeder, barrier: Barrier, *, rate: float | None, advance: Callable[[int], None]) -> None:
        self._feeder = feeder
        self._barrier = barrier
        self._rate = rate
        self._advance = advance
        self._size = _CHUNK if rate is None else max(1, min(_CHUNK, int(rate / _CHUNKS_A_SECOND)))
        self._chunk: list[Outward] = []
        self._next_at = 0.0
        self.sent = Sent()

    async def run(self, lines: Iterable[Numbered], *, wait: bool) -> Sent:
        """Sends every line; with ``wait`` until each has its outcome. Raises ServerMissing."""
        for name, number, raw in lines:
            outward = self._look(f"{name}:{number}", raw.rstrip(b"\r\n"))
            if outward is None:
                continue
            if self._chunk and _is_register(outward) != _is_register(self._chunk[0]):
                await self._flush()
                await self._turn(to_register=_is_register(outward))
            self._chunk.append(outward)
            if len(self._chunk) >= self._size:
                await self._flush()
        await self._flush()
        await self._barrier.applied(self._feeder.take_ends("register."))
        if wait:
            await self._barrier.answered(self._feeder.take_ends(SUBMITTED))
        return self.sent

    def _look(self, where: str, line: bytes) -> Outward | None:
        """Where a line goes; None for an empty one and for one that no topic takes."""
        if not line.strip():
            return None
        if len(line) > MAX_LINE_BYTES:
            self.sent.too_large += 1
            self.sent.faults.append((where, f"{len(line)} bytes; a record has at most {MAX_LINE_BYTES}: not sent"))
            return None
        outward = route(line)
        if outward.fault:
            self.sent.faults.append((where, outward.fault))
        return outward

    async def _turn(self, *, to_register: bool) -> None:
        """The barrier: what was sent so far must have had its effect before the other kind follows."""
        if to_register:
            await self._barrier.answered(self._feeder.take_ends(SUBMITTED))
        else:
            await self._barrier.applied(self._feeder.take_ends("register."))

    async def _flush(self) -> None:
        if not self._chunk:
            return
        if _is_register(self._chunk[0]):
            self.sent.register += len(self._chunk)
        else:
            self.sent.submitted += len(self._chunk)
            await self._keep_to_the_rate(len(self._chunk))
        await self._feeder.send(self._chunk)
        self._advance(sum(len(one.value) + 1 for one in self._chunk))
        self._chunk = []

    async def _keep_to_the_rate(self, count: int) -> None:
        """An open loop: a late chunk does not put off those after it."""
        if self._rate is None:
            return
        now = time.monotonic()
        self._next_at = self._next_at or now
        await asyncio.sleep(max(0.0, self._next_at - now))
        self._next_at += count / self._rate


def _is_register(outward: Outward) -> bool:
    return outward.topic != SUBMITTED
