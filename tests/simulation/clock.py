"""Time that passes only when nobody has anything to do: an event loop without sockets, threads or a wall clock."""

import asyncio
import heapq
import itertools
from collections import deque
from collections.abc import Callable, Coroutine
from contextvars import Context
from typing import Any, TypeVar, TypeVarTuple

T = TypeVar("T")
Ts = TypeVarTuple("Ts")


class VirtualLoop(asyncio.BaseEventLoop):
    """asyncio's own loop, which never waits: when all that was ready has run, the clock moves on to the next timer.

    What is ready runs in the order in which it became ready, timers by their time, those of one time by their age: the same
    program gives the same run.
    """

    _ready: "deque[asyncio.Handle]"

    def __init__(self) -> None:
        super().__init__()
        self._now = 0.0
        self._timers: list[tuple[float, int, asyncio.TimerHandle]] = []
        self._ages = itertools.count()
        self.failures: list[str] = []
        self.set_exception_handler(_tell)

    def time(self) -> float:
        return self._now

    def call_at(
        self, when: float, callback: Callable[[*Ts], object], *args: *Ts, context: Context | None = None
    ) -> asyncio.TimerHandle:
        timer = asyncio.TimerHandle(when, callback, args, self, context)
        heapq.heappush(self._timers, (when, next(self._ages), timer))
        return timer

    def _run_once(self) -> None:
        """What asyncio does between two waits. Raises RuntimeError when nothing will ever happen again."""
        ready = self._ready
        while not ready:
            if not self._timers:
                raise RuntimeError("everybody waits for somebody, and no timer is set")
            when, _, timer = heapq.heappop(self._timers)
            if not timer.cancelled():
                self._now = max(self._now, when)
                ready.append(timer)
        for _ in range(len(ready)):
            handle = ready.popleft()
            if not handle.cancelled():
                handle._run()

    def _timer_handle_cancelled(self, handle: asyncio.TimerHandle) -> None:
        """It is passed over when its time comes."""

    def _write_to_self(self) -> None:
        """Nobody else could wake this loop."""


def _tell(loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
    """A failure that nobody awaited is a failure of the simulation."""
    assert isinstance(loop, VirtualLoop)
    loop.failures.append(f"{context.get('message')}: {context.get('exception')!r}")


def run(main: Coroutine[Any, Any, T]) -> T:
    """Runs to the end in virtual time. Raises RuntimeError for what failed without anybody noticing."""
    loop = VirtualLoop()
    asyncio.set_event_loop(loop)
    try:
        result = loop.run_until_complete(main)
    finally:
        loop.run_until_complete(_finish())
        asyncio.set_event_loop(None)
        loop.close()
    if loop.failures:
        raise RuntimeError("; ".join(loop.failures))
    return result


async def _finish() -> None:
    """Ends what still runs: workers that were killed never came back from their last call."""
    others = asyncio.all_tasks() - {asyncio.current_task()}
    for task in others:
        task.cancel()
    await asyncio.gather(*others, return_exceptions=True)


async def never() -> None:
    """Waits for ever."""
    await asyncio.get_running_loop().create_future()
