"""What adjudication shows in Redis: the accumulators, versioned, after they were committed."""

from collections.abc import Sequence
from typing import Any, ClassVar

import asyncpg

from services.adjudication.counters import Counter, CounterKey
from services.adjudication.store import PostgresStore, counters_of
from shared.runtime.cache import Cache, Hot
from shared.runtime.lease import Lease
from shared.runtime.step import Filed


class CounterProjection:
    """Satisfies ``shared.runtime.cache.Projection``."""

    TROUBLE: ClassVar[tuple[type[Exception], ...]] = Cache.TROUBLE

    def __init__(self, store: PostgresStore, cache: Cache) -> None:
        self._store = store
        self._cache = cache

    def changed(self, filed: Sequence[Filed[Any]]) -> list[Hot]:
        """The accumulators a batch changed, as it left them."""
        return [_hot(key, counter) for key, counter in counters_of(filed).items()]

    async def reload(self, connection: asyncpg.Connection, lease: Lease) -> list[Hot]:
        """The accumulators touched by decisions that Redis may not know, as Postgres has them now."""
        changed = await self._store.changed_above(connection, lease.topic, lease.partition, lease.projected_seq)
        return [_hot(key, counter) for key, counter in changed]

    async def write(self, rows: Sequence[Hot]) -> None:
        """Writes them, each only if it is newer. Raises one of TROUBLE."""
        await self._cache.write(rows)


def _hot(key: CounterKey, counter: Counter) -> Hot:
    return Hot(key.member_id, key.period, key.name, counter.used, counter.version)
