"""One question at a time, for all who ask meanwhile: what comes while it is under way goes with the next."""

import asyncio
from collections.abc import Awaitable, Callable, Collection
from typing import Generic, TypeVar

K = TypeVar("K")
V = TypeVar("V")


class Together(Generic[K, V]):
    """Asks for keys of many callers in one question. ``ask`` returns what it knows of the keys given."""

    def __init__(self, ask: Callable[[Collection[K]], Awaitable[dict[K, V]]]) -> None:
        self._ask = ask
        self._one = asyncio.Lock()
        self._gathered: set[K] = set()
        self._next: asyncio.Task[dict[K, V]] | None = None

    async def __call__(self, keys: Collection[K]) -> dict[K, V]:
        """What is known of these keys. Raises whatever the question that they went with raised."""
        self._gathered.update(keys)
        if self._next is None:
            self._next = asyncio.create_task(self._work())
            self._next.add_done_callback(_seen)
        found = await asyncio.shield(self._next)
        return {key: found[key] for key in keys if key in found}

    async def _work(self) -> dict[K, V]:
        async with self._one:
            keys, self._gathered, self._next = self._gathered, set(), None
            return await self._ask(keys)


def _seen(done: asyncio.Task[dict[K, V]]) -> None:
    """All who asked may have gone: then nobody is there to take a failure."""
    if not done.cancelled():
        done.exception()
