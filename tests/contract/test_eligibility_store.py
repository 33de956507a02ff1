"""What every store of the register promises, in memory and in Postgres."""

from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import date
from operator import attrgetter
from pathlib import Path

import asyncpg
import pytest
from eligibility_world import CANGZHOU, SHIYAN, filing, grant, member, place
from simulation import still
from simulation.stores import RegisterStore

from services.eligibility.memory import MemoryStore
from services.eligibility.store import PostgresStore, Store
from shared.register import CatalogueItem, FamilyLink, InpatientStay, RegisterRecord
from shared.runtime.step import Tx

SQL = Path(__file__).parents[2] / "deploy" / "migrations" / "sql" / "0001_eligibility.sql"
START = date(2023, 1, 1)


class Shelf:
    """A store, and how to keep something in a transaction of its own."""

    def __init__(self, store: Store, tx: Tx) -> None:
        self.store = store
        self.tx = tx

    async def keep(self, *records: RegisterRecord) -> None:
        if self.tx is None:
            await self.store.keep(None, records)
            return
        async with self.tx.transaction():
            await self.store.keep(self.tx, records)


@pytest.fixture(params=["memory", "simulated", pytest.param("postgres", marks=pytest.mark.servers)])
async def shelf(request: pytest.FixtureRequest) -> AsyncIterator[Shelf]:
    if request.param == "memory":
        yield Shelf(MemoryStore(), None)
        return
    if request.param == "simulated":
        yield Shelf(RegisterStore(), still.connection())
        return
    connection = await asyncpg.connect(request.getfixturevalue("fresh_database"))
    if await connection.fetchval("select to_regnamespace('eligibility')") is None:
        await connection.execute(SQL.read_text(encoding="utf-8"))
    yield Shelf(PostgresStore(), connection)
    await connection.close()


async def test_a_member_comes_back_as_he_was_kept(shelf: Shelf) -> None:
    whole = member(
        CANGZHOU,
        covered_to=date(2023, 12, 31),
        paid_through="2023-11",
        contribution_base=10**15,
        supplements=("civil_servant", "large_expense"),
        qualifications=(grant("special_drug:靶向药", valid_to=START, institution_id="H", doctor_id="D"),),
    )
    await shelf.keep(whole)
    assert await shelf.store.members(shelf.tx, ["M"]) == [whole]


async def test_a_history_comes_back_whole_and_nobody_elses(shelf: Shelf) -> None:
    early, late = member(CANGZHOU, since="2020-01-01"), member(SHIYAN, since="2023-01-01", status="retired")
    await shelf.keep(late, member(CANGZHOU, "N"), early)
    found = await shelf.store.members(shelf.tx, ["M", "Q"])
    assert sorted(found, key=attrgetter("valid_from")) == [early, late]


async def test_of_one_identity_the_last_record_stays_within_a_batch_and_after_it(shelf: Shelf) -> None:
    first, second, third = (member(region) for region in ("110000", "120000", "130000"))
    await shelf.keep(first, second)
    assert await shelf.store.members(shelf.tx, ["M"]) == [second]
    await shelf.keep(third)
    assert await shelf.store.members(shelf.tx, ["M"]) == [third]


async def test_a_replacement_also_takes_away(shelf: Shelf) -> None:
    await shelf.keep(member(CANGZHOU, covered_to=START, supplements=("large_expense",)))
    await shelf.keep(member(CANGZHOU))
    assert await shelf.store.members(shelf.tx, ["M"]) == [member(CANGZHOU)]


async def test_an_institution_brings_its_host_along_once(shelf: Shelf) -> None:
    host = place(CANGZHOU, "P", level="3")
    online = place(CANGZHOU, "I", kind="internet", level="none", host_institution_id="P")
    again = replace(online, designated_from=date(2022, 1, 1), networked=False)
    await shelf.keep(online, host, again, place(CANGZHOU, "X"))
    by_identity = attrgetter("institution_id", "designated_from")
    for asked in (["I"], ["I", "P"]):
        found = await shelf.store.institutions(shelf.tx, asked)
        assert sorted(found, key=by_identity) == [online, again, host]


async def test_links_are_found_by_holder_and_beneficiary_together(shelf: Shelf) -> None:
    link = FamilyLink("P", "M", "spouse", START)
    await shelf.keep(link, FamilyLink("P", "N", "child", START), FamilyLink("M", "P", "spouse", START))
    assert await shelf.store.links(shelf.tx, [("P", "M"), ("P", "Q"), ("N", "M")]) == [link]
    ended = replace(link, authorized_to=date(2023, 6, 30))
    await shelf.keep(ended)
    assert await shelf.store.links(shelf.tx, [("P", "M")]) == [ended]


async def test_filings_and_stays_are_found_by_member(shelf: Shelf) -> None:
    filed = filing("110000", "posted", "H", valid_to=START)
    stay = InpatientStay("M", "H", START)
    await shelf.keep(filed, replace(filed, member_id="N"), stay, replace(stay, member_id="N"))
    assert await shelf.store.filings(shelf.tx, ["M", "Q"]) == [filed]
    assert await shelf.store.stays(shelf.tx, ["M", "Q"]) == [stay]


async def test_a_discharge_replaces_the_admission(shelf: Shelf) -> None:
    await shelf.keep(InpatientStay("M", "H", START))
    home = InpatientStay("M", "H", START, date(2023, 1, 9))
    await shelf.keep(home)
    assert await shelf.store.stays(shelf.tx, ["M"]) == [home]


async def test_items_are_found_by_region_and_code_together(shelf: Shelf) -> None:
    item = CatalogueItem(CANGZHOU, "A", "阿莫西林", "乙", 100_000, START, None, 35_000)
    await shelf.keep(item, replace(item, region=SHIYAN), replace(item, code="B"))
    assert await shelf.store.items(shelf.tx, [(CANGZHOU, "A"), (SHIYAN, "C")]) == [item]


async def test_days_from_year_1_to_9999_are_kept(shelf: Shelf) -> None:
    odd = member(CANGZHOU, since="0001-01-01", covered_to=date.max)
    stay = InpatientStay("M", "H", date.min, date.max)
    await shelf.keep(odd, stay)
    assert await shelf.store.members(shelf.tx, ["M"]) == [odd]
    assert await shelf.store.stays(shelf.tx, ["M"]) == [stay]


async def test_nothing_asked_is_nothing_found_and_nothing_kept(shelf: Shelf) -> None:
    await shelf.keep()
    assert await shelf.store.members(shelf.tx, []) == []
    assert await shelf.store.institutions(shelf.tx, []) == []
    assert await shelf.store.items(shelf.tx, []) == []
    assert await shelf.store.links(shelf.tx, []) == []
