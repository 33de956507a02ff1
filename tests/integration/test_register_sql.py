"""The register's tables refuse what the readers would never send, by constraints that have names."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import date
from pathlib import Path

import asyncpg
import pytest
from eligibility_world import CANGZHOU, filing, member, place

from services.eligibility.store import PostgresStore
from shared.register import CatalogueItem, FamilyLink, RegisterRecord

pytestmark = pytest.mark.servers

SQL = Path(__file__).parents[2] / "deploy" / "migrations" / "sql" / "0001_eligibility.sql"
START = date(2023, 1, 1)
ITEM = CatalogueItem(CANGZHOU, "A", "a", "甲", 0, START)


@pytest.fixture
async def connection(fresh_database: str) -> AsyncIterator[asyncpg.Connection]:
    opened = await asyncpg.connect(fresh_database)
    if await opened.fetchval("select to_regnamespace('eligibility')") is None:
        await opened.execute(SQL.read_text(encoding="utf-8"))
    yield opened
    await opened.close()


@pytest.mark.parametrize(
    ("record", "constraint"),
    [
        (member(CANGZHOU, status="dead"), "member_status_known"),
        (member(CANGZHOU, employment="none"), "member_employment_known"),
        (member(CANGZHOU, sector="none"), "member_sector_known"),
        (member(CANGZHOU, contribution_base=-1), "member_contribution_base_not_negative"),
        (place(CANGZHOU, kind="none"), "institution_kind_known"),
        (place(CANGZHOU, level="4"), "institution_level_known"),
        (FamilyLink("P", "M", "friend", START), "family_link_relation_known"),  # type: ignore[arg-type]
        (filing(CANGZHOU, "none"), "remote_filing_kind_known"),
        (replace(ITEM, category="丁"), "catalogue_item_category_known"),  # type: ignore[arg-type]
        (replace(ITEM, pre_self_pay_ratio=1_000_001), "catalogue_item_ratio_is_a_share"),
        (replace(ITEM, price_limit=-1), "catalogue_item_price_limit_not_negative"),
    ],
)
async def test_a_table_refuses_an_impossible_row(connection: asyncpg.Connection, record: RegisterRecord, constraint: str) -> None:
    with pytest.raises(asyncpg.CheckViolationError) as refused:
        await PostgresStore().keep(connection, [record])
    assert refused.value.constraint_name == constraint


async def test_every_constraint_has_a_name_of_its_own(connection: asyncpg.Connection) -> None:
    rows = await connection.fetch(
        "select conname from pg_constraint where connamespace = 'eligibility'::regnamespace and contype <> 'n'"
    )
    names = [row["conname"] for row in rows]
    text = SQL.read_text(encoding="utf-8")
    assert names
    assert [name for name in names if f"constraint {name} " not in text] == []


async def test_a_batch_is_one_statement_a_table(connection: asyncpg.Connection) -> None:
    store = PostgresStore()
    statements: list[str] = []

    def note(record: asyncpg.connection.LoggedQuery) -> None:
        statements.append(record.query)

    many = [member(CANGZHOU, f"M{n}") for n in range(300)] + [place(CANGZHOU, f"H{n}") for n in range(300)]
    with connection.query_logger(note):
        await store.keep(connection, many)
        await store.members(connection, [f"M{n}" for n in range(300)])
        await asyncio.sleep(0)  # the driver tells its loggers in the next turn of the event loop
    assert len(statements) == 3
