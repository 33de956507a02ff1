"""What adjudication shows in Redis: the accumulators, versioned, after they were committed."""

from collections.abc import Sequence
from typing import Any, ClassVar

import asyncpg

from services.adjudication.counters import Counter, CounterKey
from services.adjudication.store import PostgresStore, counters_of
from shared.runtime.cache import Cache, Counters, Hot
from shared.runtime.lease import Lease
from shared.runtime.step import Filed

_SAMPLE = 200
_PAGE = 1_000  # decisions: more than a batch adds under full load, so that catching up comes to an end


class CounterProjection:
    """Satisfies ``shared.runtime.cache.Projection``."""

    TROUBLE: ClassVar[tuple[type[Exception], ...]] = Cache.TROUBLE

    def __init__(self, store: PostgresStore, cache: Cache) -> None:
        self._store = store
        self._cache = cache

    def changed(self, filed: Sequence[Filed[Any]]) -> list[Hot]:
        """The accumulators a batch changed, as it left them."""
        return [_hot(key, counter) for key, counter in counters_of(filed).items()]

    async def away(self) -> str:
        """Why Redis does not answer; nothing when it does."""
        return await self._cache.away()

    async def reload(self, connection: asyncpg.Connection, lease: Lease) -> tuple[list[Hot], int]:
        """The accumulators touched by the next decisions that Redis may not know, as Postgres has them now; how far these go."""
        place = (lease.topic, lease.partition)
        changed, last = await self._store.changed_above(connection, *place, lease.projected_seq, limit=_PAGE)
        return [_hot(key, counter) for key, counter in changed], lease.out_seq if last is None else last

    async def write(self, rows: Sequence[Hot]) -> None:
        """Writes them, each only if it is newer. Raises one of TROUBLE."""
        await self._cache.write(rows)

    async def sweep(self, connection: asyncpg.Connection) -> int:
        """Compares a sample with Postgres and mends it. Returns how many members it showed wrong. Raises one of TROUBLE.

        What never was is deleted; what is behind, because an old dump came back or a replica took over, is written anew.
        Redis is read first: whatever it shows was committed before, so it can be behind Postgres, never ahead.
        """
        shown = await self._cache.read(await self._cache.members(_SAMPLE))
        if not shown:
            return 0
        rows = await connection.fetch(_AS_STORED, list(shown))
        stored = {(row[0], row[1], row[2]): (row[3], row[4]) for row in rows}
        wrong = [member for member, counters in shown.items() if _never_was(member, counters, stored)]
        for member in wrong:
            await self._cache.forget(member)
        await self._cache.write([row for row in map(Hot._make, rows) if _is_behind(shown[row.member_id], row)])
        return len(wrong)


_AS_STORED = """
select member_id, period, name, used, version from adjudication.counter where member_id = any($1::text[])
"""


def _never_was(member: str, shown: Counters, stored: dict[tuple[str, str, str], tuple[int, int]]) -> bool:
    for (period, name), (used, version) in shown.items():
        true_used, true_version = stored.get((member, period, name), (0, -1))
        if version > true_version or version < 0 or (version == true_version and used != true_used):
            return True
    return False


def _is_behind(shown: Counters, stored: Hot) -> bool:
    """Only where Redis shows something: what it lacks is asked of Postgres."""
    _, version = shown.get((stored.period, stored.name), (0, stored.version))
    return version < stored.version


def _hot(key: CounterKey, counter: Counter) -> Hot:
    return Hot(key.member_id, key.period, key.name, counter.used, counter.version)
