"""What stands in for Redis: versioned counters by member, written by a script that may fail, forgotten at any time."""

from collections.abc import Sequence
from typing import ClassVar

from redis.exceptions import ConnectionError as Away

from services.adjudication.counters import CounterKey
from shared.runtime.cache import Cache, Counters, Hot
from simulation.books import Books
from simulation.session import Client
from simulation.statements import COUNTER


class Shelf:
    """The server's memory, which workers share."""

    def __init__(self, books: Books) -> None:
        self.books = books
        self.members: dict[str, dict[tuple[str, str], tuple[int, int]]] = {}  # (period, name) -> (used, version)
        self.forgotten: set[str] = set()  # members of whom something was lost since: it need not be there again
        self.ahead: list[str] = []  # what was shown before it was committed

    def write(self, row: Hot) -> None:
        """Keeps a counter if it is newer, and notes it if nobody has committed it."""
        stored = self.books.rows(COUNTER).get(CounterKey(row.member_id, row.period, row.name))
        if stored is None or row.version > stored.version:
            self.ahead.append(f"{row} before {stored}")
        fields = self.members.setdefault(row.member_id, {})
        if fields.get((row.period, row.name), (0, -1))[1] < row.version:
            fields[row.period, row.name] = (row.used, row.version)

    def flush(self) -> None:
        """As FLUSHALL."""
        self.forgotten |= self.members.keys()
        self.members.clear()

    def mislead(self) -> None:
        """Somebody writes a version that never was."""
        for member, fields in sorted(self.members.items())[:1]:
            self.forgotten.add(member)
            for name, (used, version) in fields.items():
                fields[name] = (used + 1, version + 1_000)


class HotCounters:
    """``shared.runtime.cache.Cache`` as a worker uses it."""

    TROUBLE: ClassVar[tuple[type[Exception], ...]] = Cache.TROUBLE

    def __init__(self, shelf: Shelf, client: Client) -> None:
        self._shelf = shelf
        self._client = client

    async def write(self, rows: Sequence[Hot]) -> None:
        await self._reach()
        chance = self._shelf.books.chance
        for row in rows:
            self._shelf.write(row)
        if chance.hits("cache flushed", self._client.name):
            self._shelf.flush()
        if chance.hits("cache misled", self._client.name):
            self._shelf.mislead()
        if chance.hits("cache cut", self._client.name):
            raise Away("no answer")

    async def read(self, members: Sequence[str]) -> dict[str, Counters]:
        await self._reach()
        return {member_id: dict(self._shelf.members.get(member_id, {})) for member_id in members}

    async def members(self, count: int = 500) -> list[str]:
        await self._reach()
        return list(self._shelf.members)[:count]

    async def away(self) -> str:
        try:
            await self._reach()
        except Away as away:
            return str(away)
        return ""

    async def forget(self, member_id: str) -> None:
        await self._reach()
        self._shelf.forgotten.add(member_id)
        self._shelf.members.pop(member_id, None)

    async def _reach(self) -> None:
        await self._client.call()
        if self._shelf.books.chance.hits("cache failed", self._client.name):
            raise Away("away")
