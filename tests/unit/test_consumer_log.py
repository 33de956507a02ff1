"""What the loop asks of the consumer while partitions come and go."""

import asyncio
import gc
from contextlib import suppress
from typing import Any

import pytest
from aiokafka.consumer import consumer as client
from aiokafka.consumer.group_coordinator import GroupCoordinator
from aiokafka.errors import UnknownMemberIdError

from shared.runtime.fetch import Consumer
from shared.runtime.kafka import ConsumerLog


async def test_what_a_rebalance_took_away_is_not_waited_for_here() -> None:
    """The client asserts that a partition is assigned; a sweep on its way across a rebalance must not end by that."""
    consumer = Consumer(bootstrap_servers="127.0.0.1:9")
    try:
        assert await ConsumerLog(consumer).waiting({("claims.submitted", 0): 5}, resting=True) == 0
    finally:
        await consumer.stop()


async def test_a_commit_that_fails_behind_who_stopped_waiting_is_no_complaint(monkeypatch: pytest.MonkeyPatch) -> None:
    """The client shields its request; at a good end of the process nobody waits for it any more."""
    asked, answered = asyncio.Event(), asyncio.Event()

    async def refused(*_: object) -> None:
        asked.set()
        await answered.wait()
        raise UnknownMemberIdError

    monkeypatch.setattr(GroupCoordinator, "_do_commit_offsets", refused)
    consumer = Consumer(bootstrap_servers="127.0.0.1:9")
    coordinator: Any = client.GroupCoordinator.__new__(client.GroupCoordinator)
    coordinator.coordinator_id, coordinator._commit_lock = 1, asyncio.Lock()
    complaints: list[dict[str, Any]] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, complaint: complaints.append(complaint))
    committing = asyncio.create_task(coordinator.commit_offsets(None, {}))
    await asked.wait()
    committing.cancel()
    with suppress(asyncio.CancelledError):
        await committing
    answered.set()
    for _ in range(3):
        await asyncio.sleep(0)
    del committing
    gc.collect()
    assert complaints == []
    await consumer.stop()
