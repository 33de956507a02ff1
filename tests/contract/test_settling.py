"""What is open with a member is settled as it is listed: both read the postings."""

from collections.abc import AsyncIterator

import asyncpg
import pytest
from account_books import AWAY, HOME, MIGRATIONS, SQL, Books, claim

from services.account.ledger import Posting
from services.account.settling import TO_MEMBER, look_up, running
from services.account.store import PostgresStore
from shared.errors import Stop
from shared.money import yuan

_MEMBER = """
    insert into eligibility.member (member_id, region, status, employment, sector, valid_from, supplements, qualifications)
    values ($1, $2, 'active', 'employee', 'enterprise', '2020-01-01', '{}', '{}')
    on conflict on constraint member_pk do update set region = excluded.region
"""

pytestmark = pytest.mark.servers


@pytest.fixture
async def books(fresh_database: str) -> AsyncIterator[Books]:
    connection = await asyncpg.connect(fresh_database)
    await connection.execute((MIGRATIONS / "0001_eligibility.sql").read_text() + SQL)
    yield Books(PostgresStore(), tx=connection)
    await connection.close()


@pytest.mark.parametrize("member", ["M1", "M:1"])
async def test_what_is_owed_is_found_when_the_register_knows_the_member_in_another_region_only(books: Books, member: str) -> None:
    await books.tx.execute(_MEMBER, member, HOME)
    await books.settle(claim("C1", member, pooled=2_345, channel="manual"), claim("C2", "M2", pooled=100, channel="manual"))
    await books.tx.execute(_MEMBER, member, AWAY)  # the line was wrong, and is replaced
    listed = await running(books.tx, member, None)
    assert listed == [{"region": HOME, "member_id": member, "kind": TO_MEMBER, "amount": "23.45"}]
    found = await look_up(books.tx, member)
    assert [(one.kind, one.region, yuan(one.amount), one.posting) for one in found] == [
        (TO_MEMBER, HOME, "23.45", Posting(f"member:{HOME}:{member}", f"bank:{HOME}", 2_345))
    ]


async def test_nothing_is_open_with_whom_nothing_was_booked(books: Books) -> None:
    await books.tx.execute(_MEMBER, "M1", HOME)
    with pytest.raises(Stop, match="nothing is open with M1"):
        await look_up(books.tx, "M1")
