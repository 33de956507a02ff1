"""Whatever the producer says, whoever waits for the postbox hears of it, and the postbox goes on."""

import asyncio
from collections.abc import Sequence

import pytest

from services.intake.postbox import Postbox
from shared.errors import Retry
from shared.runtime.relay import Outgoing
from shared.runtime.step import Message

LETTER = Outgoing(Message("claims.submitted", 0, b"k", b"v"))


class Sender:
    """Raises what it is told to, then sends."""

    def __init__(self, *failures: Exception) -> None:
        self.failures = list(failures)
        self.sent = 0

    async def send(self, outgoing: Sequence[Outgoing]) -> None:
        if self.failures:
            raise self.failures.pop(0)
        self.sent += len(outgoing)


@pytest.mark.parametrize("failure", [Retry("no broker"), RuntimeError("110101199003070011"), AssertionError()])
async def test_what_the_producer_raises_is_told_to_those_who_wait_and_the_next_are_sent(
    failure: Exception, caplog: pytest.LogCaptureFixture
) -> None:
    sender = Sender(failure)
    postbox = Postbox(sender)
    postbox.open()
    async with asyncio.timeout(10):
        waiting = [asyncio.create_task(postbox.send([LETTER])) for _ in range(3)]
        told = await asyncio.gather(*waiting, return_exceptions=True)
        assert [type(one) for one in told] == [Retry] * 3
        await postbox.send([LETTER])
    assert sender.sent == 1
    await postbox.close()
    assert "110101199003070011" not in f"{told}"
    assert bool(caplog.records) == (not isinstance(failure, Retry))
