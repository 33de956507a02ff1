"""Whatever goes wrong while it listens, a tail listens again."""

import asyncio
import logging
from collections.abc import Sequence
from typing import Any

import pytest
from aiokafka import TopicPartition
from aiokafka.errors import KafkaConnectionError, OffsetOutOfRangeError

from shared.runtime import tail as tails
from shared.runtime.step import Record
from shared.runtime.tail import Tail

TOPIC = "claims.settled"
PLACE = TopicPartition(TOPIC, 0)


class Kafka:
    """A log of one partition; ``failures`` come out of the next fetches, and of the ends of their consumers."""

    def __init__(self) -> None:
        self.values: list[bytes] = []
        self.failures: list[Exception] = []

    def consumer(self, **_: Any) -> "Consumer":
        return Consumer(self)


class Consumer:
    def __init__(self, kafka: Kafka) -> None:
        self._kafka = kafka
        self._at = 0
        self._failed: Exception | None = None

    async def start(self) -> None: ...

    def assign(self, places: Sequence[TopicPartition]) -> None: ...

    async def end_offsets(self, places: Sequence[TopicPartition]) -> dict[TopicPartition, int]:
        return dict.fromkeys(places, len(self._kafka.values))

    def seek(self, _: TopicPartition, offset: int) -> None:
        self._at = offset

    async def getmany(self, **_: int) -> dict[TopicPartition, list[Record]]:
        await asyncio.sleep(0)
        if self._kafka.failures:
            self._failed = self._kafka.failures.pop(0)
            raise self._failed
        new = [Record(TOPIC, 0, at, 0, b"", self._kafka.values[at]) for at in range(self._at, len(self._kafka.values))]
        self._at = len(self._kafka.values)
        return {PLACE: new} if new else {}

    async def stop(self) -> None:
        if self._failed is not None:
            raise self._failed


@pytest.fixture
def kafka(monkeypatch: pytest.MonkeyPatch) -> Kafka:
    made = Kafka()
    monkeypatch.setattr(tails, "Consumer", made.consumer)
    monkeypatch.setattr(tails, "_AGAIN_SECONDS", 0.0)
    monkeypatch.setattr(tails, "_UNWANTED_SECONDS", 0.0)
    return made


class Ear:
    """Remembers what it heard; what is ``deaf`` to it raises."""

    def __init__(self) -> None:
        self.heard: list[bytes] = []
        self.new = asyncio.Event()

    def __call__(self, values: Sequence[bytes]) -> None:
        if b"deafening" in values:
            raise ValueError("110101199003070011")
        self.heard += values
        self.new.set()


@pytest.mark.parametrize(
    "failure", [KafkaConnectionError("away"), OffsetOutOfRangeError("pruned"), RuntimeError("a bug"), AssertionError()]
)
async def test_whatever_the_client_raises_the_tail_goes_on_where_it_stopped(kafka: Kafka, failure: Exception) -> None:
    ear = Ear()
    tail = Tail("", {TOPIC: 1}, ear, asyncio.Event())
    await tail.start()
    kafka.failures.append(failure)
    async with asyncio.timeout(10):
        while kafka.failures:  # noqa: ASYNC110 - nobody is told of a fetch
            await asyncio.sleep(0)
        await asyncio.sleep(0.05)  # what came while it began again and knew no place is asked of Postgres
        kafka.values.append(b"after it")
        await ear.new.wait()
    assert ear.heard == [b"after it"]
    await tail.stop()


async def test_what_cannot_be_heard_is_told_and_does_not_come_again(kafka: Kafka, caplog: pytest.LogCaptureFixture) -> None:
    ear = Ear()
    tail = Tail("", {TOPIC: 1}, ear, asyncio.Event())
    await tail.start()
    kafka.values.append(b"deafening")
    async with asyncio.timeout(10):
        while not caplog.records:  # noqa: ASYNC110 - a log tells nobody that it was written
            await asyncio.sleep(0)
        kafka.values.append(b"after it")
        await ear.new.wait()
    assert ear.heard == [b"after it"]
    assert [record.levelno for record in caplog.records] == [logging.ERROR]
    await tail.stop()
