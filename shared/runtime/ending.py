"""Ending tasks for certain: a single cancellation can get lost, and whoever awaits the task then waits for ever.

``wait_for`` of Python 3.11 drops one that comes just as its future is done; a roll-back that fails behind one raises
something else in its place.
"""

import asyncio
from typing import Any, Final

_AGAIN_SECONDS: Final = 1.0  # enough for what a task does on its way out


async def ended(*tasks: asyncio.Task[Any]) -> None:
    """Cancels tasks until they have ended. What they raised by then is nobody's any more."""
    left = set(tasks)
    while left:
        for task in left:
            task.cancel()
        _, left = await asyncio.wait(left, timeout=_AGAIN_SECONDS)
    for task in tasks:
        if not task.cancelled():
            task.exception()  # looked at, or the interpreter complains of it later
