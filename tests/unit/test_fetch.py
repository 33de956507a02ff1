"""Fetching goes on where a partition has no position yet, and what was fetched beside it is not lost."""

import logging
from contextlib import nullcontext
from types import SimpleNamespace
from typing import Any

import pytest
from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.errors import CorruptRecordException, NoOffsetForPartitionError

from shared.runtime.fetch import Consumer
from shared.runtime.kafka import make_broker

NEW, OLD = TopicPartition("t", 0), TopicPartition("t", 1)


@pytest.mark.parametrize("careful", [0, 1])
async def test_a_partition_that_has_no_position_yet_is_no_failure(monkeypatch: pytest.MonkeyPatch, careful: int) -> None:
    """On a slow machine the client looks for an offset before the lease is taken: FastStream would wait for five seconds."""
    consumer = Consumer(auto_offset_reset="none")
    consumer._fetcher = SimpleNamespace(seek_to=consumer._subscription.seek, wanted=nullcontext)
    consumer.assign([NEW, OLD])
    consumer.seek(OLD, 7)
    consumer._careful = careful

    record = SimpleNamespace(offset=7)

    async def getmany(_: Any, *partitions: TopicPartition, **__: Any) -> dict[TopicPartition, list[Any]]:
        if OLD in partitions:
            return {OLD: [record]}
        if not partitions:
            AIOKafkaConsumer.seek(consumer, OLD, 9)  # drained, and lost with the call
        raise NoOffsetForPartitionError(NEW)

    monkeypatch.setattr(AIOKafkaConsumer, "getmany", getmany)
    assert await consumer.getmany() == ({OLD: [record]} if careful else {})
    assert await consumer.position(OLD) == 7
    assert consumer._taken_from[OLD] == (8 if careful else 7)
    assert consumer._careful == 0
    consumer._closed = True  # it was never started


async def test_what_was_handed_out_is_not_fetched_again_when_a_later_fetch_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    consumer = Consumer(auto_offset_reset="none")
    consumer._fetcher = SimpleNamespace(seek_to=consumer._subscription.seek, wanted=nullcontext)
    consumer.assign([OLD])
    consumer.seek(OLD, 7)
    fetches = iter([{OLD: [SimpleNamespace(offset=7), SimpleNamespace(offset=9)]}])

    async def getmany(_: Any, *__: Any, **___: Any) -> dict[TopicPartition, list[Any]]:
        for found in fetches:
            return found
        AIOKafkaConsumer.seek(consumer, OLD, 30)  # drained, and lost with the call
        raise CorruptRecordException

    monkeypatch.setattr(AIOKafkaConsumer, "getmany", getmany)
    await consumer.getmany()
    with pytest.raises(CorruptRecordException):
        await consumer.getmany()
    assert await consumer.position(OLD) == 10
    consumer._closed = True  # it was never started


async def test_what_faststream_says_goes_into_our_log_and_nowhere_else() -> None:
    make_broker("127.0.0.1:1")
    said = logging.getLogger("faststream")
    assert (said.handlers, said.propagate) == ([], True)
