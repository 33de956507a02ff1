"""Books of an older version are brought up to what they would be, had this version kept them from the start."""

from collections.abc import Callable

import asyncpg
import pytest
from adjudication_cases import CANGZHOU, KASHGAR, POLICIES, Bench, claim, claimed, reversed_, verdict

from deploy.local.servers import Addresses
from deploy.migrations import run
from deploy.migrations.upgrade import upgrade
from services.adjudication.store import PostgresStore

pytestmark = pytest.mark.servers

_COUNTERS = "select member_id, period, name, part, used, version from adjudication.counter where version > 0"
_REVISED = """
    create temporary table revised as select * from adjudication.decision where claim_no = 'C3';
    update revised set revision = 1, seq = 1000, value = convert_to(regexp_replace(convert_from(value, 'utf8'),
        '("after":.*"ordinary.fund":)10000', '\\19000'), 'utf8');
    alter table revised drop column ordinal;
    do $$ declare columns text; begin
        select string_agg(attname, ', ') into columns from pg_attribute
            where attrelid = 'revised'::regclass and attnum > 0 and not attisdropped;
        execute format('insert into adjudication.decision (%s) select %s from revised', columns, columns);
    end $$;
    update adjudication.counter set used = used - 1000
        where member_id = 'M2' and name = 'ordinary.fund' and period like '130900:%'
"""
_MIXED = """
    create temporary table mixed as
    select member_id, substr(period, strpos(period, ':') + 1) as period, name, part,
        sum(used) as used, sum(ceiling)::bigint as ceiling, sum(version) as version
    from adjudication.counter group by 1, 2, 3, 4;
    delete from adjudication.counter;
    insert into adjudication.counter select * from mixed
"""


async def test_accumulators_that_cities_shared_become_each_citys_own(
    servers: Addresses, new_database: Callable[..., str]
) -> None:
    """M1 was insured in one city; M2 moved, had a claim cancelled and one revised; M3 has visits; M4 nothing but zeroes."""
    dsn = new_database(servers.postgres)
    upgrade(dsn, "0012")
    books = await asyncpg.connect(dsn)
    bench = Bench(PostgresStore(), tx=books)
    await bench.store.keep_packs(books, POLICIES.versions)
    await bench.decisions(claimed(claim("C1", 30_000), verdict(CANGZHOU)), claimed(claim("C2", 5_000), verdict(CANGZHOU)))
    await bench.decisions(claimed(claim("C3", 30_000, member="M2"), verdict(CANGZHOU)))
    await bench.decisions(claimed(claim("C4", 40_000, member="M2"), verdict(CANGZHOU)))
    await bench.decisions(claimed(claim("C5", 50_000, member="M2"), verdict(KASHGAR, level="3")))
    await bench.settle(reversed_("C4", member="M2"))
    await bench.decisions(claimed(claim("C6", 9_000, member="M3"), verdict(KASHGAR, level="3")))
    await books.execute(_REVISED)
    before = set(await books.fetch(_COUNTERS))
    assert {row["member_id"] for row in before} == {"M1", "M2", "M3"}
    await books.execute(_MIXED)  # as the older version kept them
    await books.execute("insert into adjudication.counter values ('M4', '2023', 'ordinary.fund', 0, 0, null, 0)")
    assert set(await books.fetch(_COUNTERS)) != before
    run(dsn)
    assert set(await books.fetch(_COUNTERS)) == before
    assert await books.fetchval("select count(*) from adjudication.counter where member_id = 'M4'") == 0
    with pytest.raises(asyncpg.CheckViolationError, match="counter_period"):
        await books.execute("insert into adjudication.counter values ('M5', '2023', 'ordinary.fund', 0, 0, null, 0)")
    await books.close()
