"""An account with very many postings is shown entry by entry: memory does not grow with them, and indexes find them."""

import asyncio
import json
import tracemalloc
from collections.abc import AsyncIterator
from datetime import date
from typing import Any

import asyncpg
import pytest

from deploy import migrations
from services.account import cli_shown
from services.account.account_statement import explained, read
from services.account.cli_shown import Shown
from services.account.statement import entries_sql, opened
from shared.runtime.settings import Settings

pytestmark = pytest.mark.servers
MANY = 30_000


@pytest.fixture
async def books(environment: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[asyncpg.Connection]:
    """One account of very many purchases, among a hundred thousand postings of others."""
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    migrations.run(environment["GONGJI_POSTGRES"])
    connection = await asyncpg.connect(environment["GONGJI_POSTGRES"])
    await connection.execute(
        f"""
        insert into account.balance (member_id, part, balance) values ('M1', 1, 0);
        insert into account.journal (journal_id, issuer, number, kind, revision, part)
            select n, 'H1', 'U' || n, 'account_use', 0, 1 from generate_series(1, {MANY}) n;
        insert into account.posting (journal_id, line, debit, credit, amount, part)
            select n, 1, 'personal:M1', 'payable:H1', 1, 1 from generate_series(1, {MANY}) n;
        insert into account.posting (journal_id, line, debit, credit, amount, part)
            select {MANY} + n, 1, 'personal:X' || n, 'payable:H1', 1, 1 from generate_series(1, 100000) n;
        analyze account.posting; analyze account.journal;
        """
    )
    yield connection
    await connection.close()


async def test_memory_does_not_grow_with_the_entries(books: asyncpg.Connection) -> None:
    async with books.transaction():
        account = await read(books, "M1", None, None)
        peaks, seen, last = [], 0, 0
        tracemalloc.start()
        async for entry, why in explained(books, "M1", account.begun):
            seen, last = seen + 1, entry.balance
            assert why["claim_no"] == f"U{seen}"
            if seen in (5_000, MANY):
                peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert (seen, last) == (MANY, -MANY)
    assert peaks[1] < peaks[0] * 1.2


async def test_what_is_printed_is_one_object_that_adds_up(books: asyncpg.Connection, capsys: pytest.CaptureFixture[str]) -> None:
    settings = Settings.load()
    await asyncio.to_thread(cli_shown.statement, settings, Shown("M1", None, None), as_json=True)
    document: dict[str, Any] = json.loads(capsys.readouterr().out)
    assert (len(document["entries"]), document["closing"], document["opening"]) == (MANY, "-300.00", "0.00")
    assert (document["entries"][-1]["balance"], document["closed"], document["worklist"]) == ("-300.00", None, [])
    tomorrow = await books.fetchval("select ((now() at time zone 'utc') + interval '32 hours')::date")
    await asyncio.to_thread(cli_shown.statement, settings, Shown("M1", tomorrow, None), as_json=True)
    document = json.loads(capsys.readouterr().out)
    assert (document["opening"], document["entries"], document["closing"]) == ("-300.00", [], "-300.00")


async def test_postings_of_an_account_are_found_by_index(books: asyncpg.Connection) -> None:
    begun = await opened(books, "personal:X7", None, None)
    plan = "\n".join(row[0] for row in await books.fetch(f"explain {entries_sql(begun)}", begun.account, date.min, date.max))
    assert ("Seq Scan" in plan, "posting_from_account" in plan, "posting_to_account" in plan) == (False, True, True), plan
