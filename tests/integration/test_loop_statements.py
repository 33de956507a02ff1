"""Statements a batch, not a claim: each step of the path asks Postgres as often for five hundred claims as for one; and what it
asks for goes by keys, by the very plans that a service makes when its books are still empty."""

import asyncio
import re
from collections.abc import AsyncIterator, Mapping

import asyncpg
import pytest
from counted_steps import REGIONS, Counted, counted_steps, register, through

from deploy.migrations import run as migrate
from services.account import store as account
from services.adjudication import store as adjudication
from services.intake import answers
from services.intake import store as intake
from services.ops.generate import generate
from shared.events import REGISTER_TYPES
from shared.runtime import quarantine
from shared.runtime.database import Database

pytestmark = pytest.mark.servers

# Statements of one batch of new claims, begin and commit among them (repeats and rejections add their tables to the first).
A_BATCH: Mapping[str, int] = {"submissions": 6, "coverage": 11, "decisions": 9, "settlement": 10, "obligations": 7}


@pytest.fixture
async def steps(fresh_database: str) -> AsyncIterator[dict[str, Counted]]:
    """Every step of the path on books of its own."""
    async with counted_steps(fresh_database) as made:
        yield made


async def test_five_hundred_claims_take_as_many_statements_as_one(steps: dict[str, Counted]) -> None:
    lines = [line for line in generate(900, 900, REGIONS, 7) if isinstance(line, dict)]
    await register(steps, lines)
    claims = list({(line["institution_id"], line["claim_no"]): line for line in lines if line["type"] == "claim"}.values())
    await through(steps, claims[:50])  # whatever is asked only once
    alone = [await through(steps, [claim]) for claim in claims[50:250]]
    of_many = await through(steps, claims[250:750])
    assert len(claims[250:750]) == 500
    for name, (asked, _) in of_many.items():
        assert len(asked) == len(set(asked)), f"{name} asks twice in a batch"
        assert set(asked) <= {query for one in alone if name in one for query in one[name].asked}, f"{name} asks {len(asked)}"
    assert {name: len(asked) for name, (asked, _) in of_many.items()} == A_BATCH


# Not those of asyncpg, which looks at a row for the types of a table it is to COPY into.
_PREPARED = """
    select name, statement, cardinality(parameter_types) from pg_prepared_statements
    where statement ~* '^\\s*(select|with|update|insert)' and statement !~ '^SELECT .* LIMIT 1$|pg_prepared_statements'
"""
_FEW_ROWS = {"lease", "clearing_window"}  # a row a partition; one open window
_SCAN = re.compile(r"(?:Seq Scan|Index Scan|Index Only Scan|Bitmap Heap Scan).* on (\w+)")
_BY_KEY = re.compile(r"Index Cond: .*(?:\$\d|= \(?\w+\.\w+)")  # a parameter, or a column of what is looked up for


async def _reads_at_large(connection: asyncpg.Connection) -> list[str]:
    """The plans of the statements of a session that read more of a table than they are asked for."""
    found = []
    prepared = await connection.fetch(_PREPARED)
    assert prepared, "a session that asked nothing shows nothing"
    for name, statement, count in prepared:
        nulls = f"({', '.join(['null'] * count)})" if count else ""
        plan = [row[0] for row in await connection.fetch(f'explain execute "{name}"{nulls}')]
        for line, below in zip(plan, [*plan[1:], ""], strict=True):
            scan = _SCAN.search(line)
            if scan and scan[1] not in _FEW_ROWS and not scan[1].startswith("pg_") and not _BY_KEY.search(below):
                found.append("\n".join([statement, *plan]))
                break
    return found


async def test_what_a_batch_asks_goes_by_keys_though_the_books_were_empty_when_it_was_planned(steps: dict[str, Counted]) -> None:
    lines = [line for line in generate(300, 60, REGIONS, 7) if isinstance(line, dict)]
    await register(steps, lines)
    day = [line for line in lines if line["type"] not in REGISTER_TYPES]
    for start in range(0, len(day), 40):  # reversals, repeats and account uses among them
        await through(steps, day[start : start + 40])
    for name, step in steps.items():
        at_large = await _reads_at_large(await step.database.connection())
        assert not at_large, f"{name}:\n" + "\n\n".join(at_large)


_TEMPTING = {
    "originals": adjudication._ORIGINALS, "history": adjudication._HISTORY, "standing": adjudication._STANDING,
    "accounts opened": account._OPEN_ACCOUNTS, "redrives": quarantine._GENUINE, "outcomes": answers._OUTCOMES,
    "rejections": answers._REJECTIONS,
}  # fmt: skip


@pytest.mark.parametrize("statement", _TEMPTING.values(), ids=_TEMPTING)
async def test_a_look_up_goes_by_its_key_also_where_the_tables_are_known_to_be_empty(statement: str, fresh_database: str) -> None:
    """As after a vacuum of new books, when reading a whole table looks cheapest."""
    await asyncio.to_thread(migrate, fresh_database)
    owner = await asyncpg.connect(fresh_database)
    await owner.execute("vacuum analyze")
    await owner.close()
    database = Database(fresh_database, role="gongji_service", name="gongji-test")
    connection = await database.connection()
    kept = await connection.prepare(statement)  # let go of, it would not be prepared any more
    assert await _reads_at_large(connection) == []
    assert kept.get_query() == statement
    await database.close()


async def test_what_is_not_announced_yet_is_found_by_key_also_where_statistics_say_it_is_most_of_a_large_table(
    fresh_database: str,
) -> None:
    """An ``analyze`` of the outbox under load made the whole of it be read for each batch with a reversal, half a second each."""
    await asyncio.to_thread(migrate, fresh_database)
    owner = await asyncpg.connect(fresh_database)
    await owner.execute(_LARGE_OUTBOX)
    await owner.close()
    database = Database(fresh_database, role="gongji_service", name="gongji-test")
    connection = await database.connection()
    kept = await connection.prepare(intake._UNANNOUNCED)
    assert await _reads_at_large(connection) == []
    assert kept.get_query() == intake._UNANNOUNCED
    await database.close()


async def test_analyze_sorts_a_tenth_of_what_it_would_of_every_column_there_is(fresh_database: str) -> None:
    """It took the processor from claims for seconds. A column that a migration adds needs its ``set statistics`` too."""
    await asyncio.to_thread(migrate, fresh_database)
    owner = await asyncpg.connect(fresh_database)
    assert await owner.fetch(_SORTED_BY_DEFAULT) == []
    await owner.close()


_SORTED_BY_DEFAULT = """
    select attrelid::regclass, attname from pg_attribute a join pg_class c on c.oid = attrelid and relkind = 'r'
    where relnamespace::regnamespace::text in ('intake', 'eligibility', 'adjudication', 'account', 'crossregion', 'runtime')
        and attnum > 0 and not attisdropped and attstattarget is distinct from 10
"""
_LARGE_OUTBOX = """
    insert into runtime.lease (service, topic, partition, cluster_id, out_seq, relayed_seq)
    select 'intake', 'claims.submitted', p, 'k', 6000, 5990 from generate_series(0, 95) as p;
    insert into intake.outgoing (source_topic, source_partition, seq, target, part, key, value, event_id)
    select 'claims.submitted', n % 8, n / 8, 'claims.accepted', 0, '', convert_to(repeat(md5(n::text), 25), 'utf8'), 'e' || n
    from generate_series(8, 48000) as n;
    analyze;
"""
