"""Redis: a projection of Postgres, versioned, written only after the commit. Losing it costs time, never a fen.

The key carries the database's incarnation, so that a restored or new database never meets another's numbers.
One script a batch writes each counter only if its version is higher.
"""

from collections.abc import Sequence
from typing import Any, ClassVar, NamedTuple, Protocol

import asyncpg
import redis.asyncio as redis
from redis.backoff import NoBackoff
from redis.exceptions import RedisError, ResponseError
from redis.retry import Retry as NoRetry

from shared.runtime.lease import Lease
from shared.runtime.step import Filed


class Hot(NamedTuple):
    """One counter as Redis keeps it: used (fen, or a count), and the version of its row."""

    member_id: str
    period: str
    name: str
    used: int
    version: int


class Projection(Protocol):
    """What a step shows in Redis: what a batch changed, what may be missing above a mark, and the check of a sample.

    ``away``: why Redis does not answer; nothing when it does. ``write`` and ``sweep`` raise one of TROUBLE when it does not.
    ``reload`` gives a page of what may be missing above ``projected_seq``, and the number up to which nothing else is.
    """

    TROUBLE: ClassVar[tuple[type[Exception], ...]]

    def changed(self, filed: Sequence[Filed[Any]]) -> Sequence[Hot]: ...
    async def away(self) -> str: ...
    async def reload(self, connection: asyncpg.Connection, lease: Lease) -> tuple[Sequence[Hot], int]: ...
    async def write(self, rows: Sequence[Hot]) -> None: ...
    async def sweep(self, connection: asyncpg.Connection) -> int: ...


Counters = dict[tuple[str, str], tuple[int, int]]  # (period, name) -> (used, version)

_ROWS_A_SCRIPT = 2_000  # one script holds up all of Redis; after a long outage there are very many rows

# A field "<period>|<name>" of the member's hash holds "<version>:<used>".
_WRITE = """
local written = 0
for i = 1, #ARGV, 4 do
    local key = KEYS[1] .. ARGV[i]
    local there = redis.pcall('HGET', key, ARGV[i + 1])
    if type(there) == 'table' then  -- somebody wrote another kind of value there by hand
        redis.call('DEL', key)
        there = nil
    end
    local version = there and tonumber(string.match(there, '^(%d+):')) or -1
    if version < tonumber(ARGV[i + 2]) then
        redis.call('HSET', key, ARGV[i + 1], ARGV[i + 2] .. ':' .. ARGV[i + 3])
        written = written + 1
    end
end
return written
"""


class Cache:
    """The hot counters of one deployment."""

    TROUBLE: ClassVar[tuple[type[Exception], ...]] = (RedisError, OSError, TimeoutError)

    def __init__(self, url: str, incarnation: str) -> None:
        self._redis = redis.Redis.from_url(
            url, socket_timeout=1.0, socket_connect_timeout=1.0, retry=NoRetry(NoBackoff(), 0), protocol=2
        )
        self._prefix = f"gongji:{incarnation}:accumulators:"
        self._script = self._redis.register_script(_WRITE)
        self._cursor = 0

    async def write(self, rows: Sequence[Hot]) -> None:
        """Writes counters, each only if its version is higher. Raises one of TROUBLE."""
        if not rows:
            return
        for start in range(0, len(rows), _ROWS_A_SCRIPT):
            arguments: list[str | int] = []
            for row in rows[start : start + _ROWS_A_SCRIPT]:
                arguments += (row.member_id, f"{row.period}|{row.name}", row.version, row.used)
            await self._script(keys=[self._prefix], args=arguments)

    async def read(self, members: Sequence[str]) -> dict[str, Counters]:
        """Members' counters as Redis has them, in one round trip. Raises one of TROUBLE.

        What is no hash of counters, because somebody wrote it by hand, shows a number that cannot be: -1.
        """
        async with self._redis.pipeline(transaction=False) as pipeline:
            for member_id in members:
                pipeline.hgetall(self._prefix + member_id)
            found = await pipeline.execute(raise_on_error=False)
        return {member_id: _counters(one) for member_id, one in zip(members, found, strict=True)}

    async def members(self, count: int = 500) -> list[str]:
        """Some members that are in Redis, others each time, all of them in turn. Raises one of TROUBLE."""
        self._cursor, keys = await self._redis.scan(self._cursor, match=self._prefix + "*", count=count)
        return [_text(key).removeprefix(self._prefix) for key in keys]

    async def forget(self, member_id: str) -> None:
        """Deletes a member's counters; the next read comes from Postgres. Raises one of TROUBLE."""
        await self._redis.delete(self._prefix + member_id)

    async def away(self) -> str:
        """Why Redis does not answer; nothing when it does."""
        try:
            await self._redis.ping()
        except self.TROUBLE as trouble:
            return str(trouble) or type(trouble).__name__
        return ""

    async def close(self) -> None:
        """Closes the connections."""
        await self._redis.aclose()


def _counters(found: Any) -> Counters:
    if isinstance(found, ResponseError):
        return {("", ""): (-1, -1)}
    if isinstance(found, Exception):
        raise found
    counters = {}
    for name, value in found.items():
        period, _, counter = _text(name).rpartition("|")
        version, _, used = _text(value).partition(":")
        counters[(period, counter)] = (_number(used), _number(version))
    return counters


def _text(value: bytes | str) -> str:
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else value


def _number(text: str) -> int:
    """A number as Redis has it; -1 for what somebody wrote there that is none."""
    try:
        return int(text)
    except ValueError:
        return -1
