"""Work that would hold the event loop: reading a record of a megabyte takes a fifth of a second, and all others would wait."""

import asyncio
from collections.abc import Callable
from typing import Final, ParamSpec, TypeVar

P = ParamSpec("P")
T = TypeVar("T")

_LARGE_BYTES: Final = 65_536  # far above any usual bill; read in a hundredth of a second


class Aside:
    """Does work on large records in a thread, one at a time so that the event loop has only one to share with; else at once."""

    def __init__(self) -> None:
        self._one = asyncio.Lock()

    async def __call__(self, size: int, work: Callable[P, T], *arguments: P.args, **named: P.kwargs) -> T:
        """The result of the work. ``size`` (bytes): of what it reads. Raises whatever it raises."""
        if size <= _LARGE_BYTES:
            return work(*arguments, **named)
        async with self._one:
            return await asyncio.to_thread(work, *arguments, **named)
