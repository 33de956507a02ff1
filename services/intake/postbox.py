"""Many requests, one producer: what comes while a batch is under way goes with the next one."""

import asyncio
import logging
from collections.abc import Sequence

from shared.errors import Retry, named
from shared.runtime.ending import ended
from shared.runtime.relay import Outgoing, Sender

log = logging.getLogger("gongji.intake.postbox")


class Postbox:
    """A ``Sender`` for concurrent use, in the order of the calls."""

    def __init__(self, sender: Sender) -> None:
        self._sender = sender
        self._letters: list[Outgoing] = []
        self._next: asyncio.Future[None] | None = None
        self._something = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    def open(self) -> None:
        """Starts to send."""
        self._task = asyncio.create_task(self._work())

    async def close(self) -> None:
        """Stops; who still waits gets Retry."""
        if self._task is not None:
            await ended(self._task)
        if self._next is not None and not self._next.done():
            self._next.set_exception(Retry("the process ends"))

    async def send(self, outgoing: Sequence[Outgoing]) -> None:
        """Sends in order. Returns when all are acknowledged. Raises Retry."""
        if not outgoing:
            return
        if self._next is None:
            self._next = asyncio.get_running_loop().create_future()
        self._letters += outgoing
        self._something.set()
        await asyncio.shield(self._next)

    async def _work(self) -> None:
        while True:
            await self._something.wait()
            self._something.clear()
            letters, sent = self._letters, self._next
            self._letters, self._next = [], None
            assert sent is not None
            try:
                await self._sender.send(letters)
            except asyncio.CancelledError:
                sent.set_exception(Retry("the process ends"))
                sent.exception()
                raise
            except Exception as failure:
                if not isinstance(failure, Retry):  # ended by it, the postbox would take letters for ever and send none
                    log.exception("the producer failed in a way it should not; the postbox goes on")
                sent.set_exception(failure if isinstance(failure, Retry) else Retry(named(failure)))
                sent.exception()  # a client may have gone away meanwhile: then nobody is there to take it
            else:
                sent.set_result(None)
