"""What a producer that was thrown away leaves behind: nothing."""

import asyncio
import signal
from typing import Any

import pytest
from servers import LocalServers

from shared.errors import Retry
from shared.events import SUBMITTED
from shared.runtime import topics
from shared.runtime.producer import Producer
from shared.runtime.relay import Outgoing
from shared.runtime.step import Message

LETTER = Outgoing(Message(SUBMITTED, 0, b"k", b"v" * 100_000))


def tasks(but: set[asyncio.Task[Any]]) -> set[asyncio.Task[Any]]:
    return {task for task in asyncio.all_tasks() - but if not task.done()}


@pytest.mark.parametrize("letters", [1, 20], ids=["a batch on its way", "more than is taken at once"])
async def test_a_broker_that_freezes_leaves_no_task_of_the_client_thrown_away(
    private_servers: LocalServers, letters: int
) -> None:
    await topics.prepare(private_servers.addresses.kafka, 1)
    producer = Producer(private_servers.addresses.kafka, {SUBMITTED: 1}, ack_seconds=2.0)
    await producer.send([LETTER])
    await producer.drop()
    before = asyncio.all_tasks()
    await producer.send([LETTER])
    private_servers.kill("kafka", signal.SIGSTOP)
    try:
        with pytest.raises(Retry):
            await producer.send([LETTER] * letters)
        if left := tasks(before):
            _, left = await asyncio.wait(left, timeout=3)
        assert left == set(), [str(task.get_coro()) for task in left]
    finally:
        private_servers.wake()
    await producer.send([LETTER])
    await producer.close()
