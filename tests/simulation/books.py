"""What stands in for Postgres as a server: committed rows, locks with their queues, sequences. Its sessions: ``session``."""

import asyncio
from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from simulation.chance import Chance

if TYPE_CHECKING:
    from simulation.session import Connection

Spot = tuple[str, Any]  # table, key
Check = Callable[[Any, Any], bool]  # of a row's key and its content: whether the table takes it


class Books:
    """The server: committed rows, locks, sequences."""

    def __init__(self, chance: Chance) -> None:
        self.chance = chance
        self.tables: dict[str, dict[Any, Any]] = {}
        self.checks: dict[str, Check] = {}
        self.deadlocks: list[str] = []  # that nobody injected: an order of locks is broken
        self.locks: dict[Spot, Connection] = {}
        self._waiting: dict[Spot, deque[asyncio.Future[None]]] = {}
        self._sequences: dict[str, int] = {}

    def rows(self, table: str) -> dict[Any, Any]:
        """What is committed."""
        return self.tables.setdefault(table, {})

    def next(self, sequence: str) -> int:
        """A new number; those of a transaction rolled back are gaps."""
        self._sequences[sequence] = number = self._sequences.get(sequence, 0) + 1
        return number

    def release(self, connection: "Connection") -> None:
        """Gives up a transaction's locks; who waits first comes next."""
        for spot in sorted(connection.held, key=repr):
            self.let_go(connection, spot)
        connection.held.clear()

    def let_go(self, connection: "Connection", spot: Spot) -> None:
        """Gives up one lock."""
        if self.locks.get(spot) is connection:
            del self.locks[spot]
            self.wake(spot)

    def wake(self, spot: Spot) -> None:
        """Lets the next of a queue try."""
        queue = self._waiting.get(spot)
        while queue:
            waiter = queue.popleft()
            if not waiter.done():
                waiter.set_result(None)
                return

    async def wait(self, spot: Spot, seconds: float) -> None:
        """Waits for a lock to be given up. Raises TimeoutError."""
        waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.setdefault(spot, deque()).append(waiter)
        try:
            await asyncio.wait_for(waiter, seconds)
        except asyncio.CancelledError:
            if waiter.done() and not waiter.cancelled():
                self.wake(spot)
            raise
