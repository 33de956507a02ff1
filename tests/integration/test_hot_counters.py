"""What Redis shows is compared with the books and mended: what never was is deleted, what was once true is brought up to date."""

import asyncio
import secrets
from collections.abc import AsyncIterator
from dataclasses import dataclass

import asyncpg
import pytest
from adjudication_cases import CANGZHOU, Bench, claim, claimed, verdict

from deploy import migrations
from deploy.local.servers import Addresses
from services.adjudication.projection import CounterProjection
from services.adjudication.store import PostgresStore
from shared.runtime.cache import Cache, Counters, Hot

FUND = (f"{CANGZHOU}:2023", "ordinary.fund")


@dataclass
class Shown:
    """The books of one member, M1, with two claims decided, and what Redis shows of them."""

    connection: asyncpg.Connection
    cache: Cache
    projection: CounterProjection

    async def counters(self) -> Counters:
        return (await self.cache.read(["M1"]))["M1"]

    async def stored(self) -> list[Hot]:
        query = "select member_id, period, name, used, version from adjudication.counter where member_id = 'M1' and version > 0"
        return [Hot(*row) for row in await self.connection.fetch(query)]

    async def compared(self) -> int:
        """Every member in turn, other tests' as well."""
        return sum([await self.projection.sweep(self.connection) for _ in range(30)])


@pytest.fixture
async def shown(servers: Addresses, fresh_database: str) -> AsyncIterator[Shown]:
    await asyncio.to_thread(migrations.run, fresh_database)
    connection = await asyncpg.connect(fresh_database)
    store, cache = PostgresStore(), Cache(servers.redis, secrets.token_hex(4))
    bench = Bench(store, tx=connection)
    made = Shown(connection, cache, CounterProjection(store, cache))
    await bench.settle(claimed(claim("C1", 50_000), verdict(CANGZHOU)))
    await cache.write(await made.stored())
    await bench.settle(claimed(claim("C2", 10_000), verdict(CANGZHOU)))
    yield made
    await cache.forget("M1")
    await cache.close()
    await connection.close()


async def test_a_redis_that_fell_behind_is_brought_up_to_date(shown: Shown) -> None:
    """An old dump was restored: without this its figures stood until the member's next claim."""
    stored = {(row.period, row.name): (row.used, row.version) for row in await shown.stored()}
    before = await shown.counters()
    assert before.keys() == stored.keys()
    assert before[FUND][1] < stored[FUND][1]
    assert await shown.compared() == 0  # nothing was wrong, only old
    assert await shown.counters() == stored


async def test_what_redis_does_not_show_is_not_put_there(shown: Shown) -> None:
    await shown.cache.forget("M1")
    [row] = [row for row in await shown.stored() if (row.period, row.name) == FUND]
    await shown.cache.write([row._replace(version=row.version - 1)])
    await shown.compared()
    assert await shown.counters() == {FUND: (row.used, row.version)}


@pytest.mark.parametrize(("used", "version"), [(1, 0), (0, 1_000)], ids=["another value at the version", "a version to come"])
async def test_what_never_was_is_deleted(shown: Shown, used: int, version: int) -> None:
    [row] = [row for row in await shown.stored() if (row.period, row.name) == FUND]
    await shown.cache.write([row._replace(used=row.used + used, version=row.version + version)])
    assert await shown.compared() == 1
    assert FUND not in await shown.counters()
