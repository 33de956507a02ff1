"""Both stores of crediting and closing keep the same books; the tables refuse what must never be."""

from collections.abc import AsyncIterator
from typing import Final

import asyncpg
import pytest
from account_books import HOME, SQL, claim, credit, reversal
from crediting_books import MONTH, CreditBooks, piece

from services.account.crediting import Booked
from services.account.crediting_memory import MemoryCreditingStore
from services.account.crediting_store import PostgresCreditingStore
from services.account.ledger import Posting
from shared.errors import Stop

SERVANT: Final = "civil_servant"


@pytest.fixture(params=["memory", pytest.param("postgres", marks=pytest.mark.servers)])
async def books(request: pytest.FixtureRequest) -> AsyncIterator[CreditBooks]:
    if request.param == "memory":
        yield CreditBooks(MemoryCreditingStore())
        return
    connection = await _tables(request.getfixturevalue("fresh_database"))
    yield CreditBooks(PostgresCreditingStore(), tx=connection)
    await connection.close()


async def _tables(dsn: str) -> asyncpg.Connection:
    connection = await asyncpg.connect(dsn)
    await connection.execute(SQL)
    return connection


async def test_what_months_have_is_remembered_by_member_region_and_month(books: CreditBooks) -> None:
    await books.run(piece(1, ("M1", 8_000), ("M2", 100)), piece(2, ("M1", 7_000, "2023-06")))
    await books.run(piece(5, ("M1", 8_644), kind="true_up", source="pooled"))
    months = (("M1", MONTH), ("M1", "2023-06"), ("M2", MONTH), ("M2", "2023-06"))
    keys = {(member, HOME, month, "") for member, month in months} | {("M1", "440800", MONTH, ""), ("M1", HOME, MONTH, SERVANT)}
    assert await books.credit_store.booked(books.tx, keys) == {
        ("M1", HOME, MONTH, ""): Booked(8_644, 5, "pooled", 1),
        ("M1", HOME, "2023-06", ""): Booked(7_000, 2, "contributions", 2),
        ("M2", HOME, MONTH, ""): Booked(100, 1, "contributions", 1),
    }
    assert await books.credit_store.booked(books.tx, ()) == {}
    assert [await books.balance(member) for member in ("M1", "M2")] == [15_644, 100]


async def test_a_supplement_is_credited_beside_the_month_and_trued_up_by_itself(books: CreditBooks) -> None:
    month = piece(1, ("M1", 8_000), interest_ppm=12_000)
    beside = piece(1, ("M1", 5_000), source=SERVANT, title=SERVANT, interest_ppm=12_000)
    await books.run(month, beside, beside)
    await books.run(piece(2, ("M1", 5_500), source=SERVANT, title=SERVANT, kind="true_up"))
    assert await books.run(month, beside) == [None, None]
    assert await books.postings() == [
        Posting("contributions", "personal:M1", 8_000),
        Posting(f"fund:{HOME}:civil_servant_credits", "personal:M1", 5_000),  # interest comes with the month's credit alone
        Posting(f"fund:{HOME}:civil_servant_credits", "personal:M1", 500),
    ]
    keys = {("M1", HOME, MONTH, ""), ("M1", HOME, MONTH, SERVANT)}
    assert {key[3]: one.amount for key, one in (await books.credit_store.booked(books.tx, keys)).items()} == {
        "": 8_000,
        SERVANT: 5_500,
    }


async def test_the_same_history_gives_the_same_postings(books: CreditBooks) -> None:
    await books.add(credit("K1", 100_000))
    await books.run(piece(1, ("M1", 8_000), ("M2", 50), interest_ppm=12_000), piece(1, ("M1", 8_000)))
    await books.settle(claim("C1", total=107_500))
    await books.run(piece(2, ("M1", 7_000), ("M2", 60), kind="true_up"))
    assert await books.postings() == [
        Posting("contributions", "personal:M1", 100_000),
        Posting("contributions", "personal:M1", 8_000),
        Posting(f"interest:{HOME}", "personal:M1", 100),
        Posting("contributions", "personal:M2", 50),
        Posting("personal:M1", "payable:I1", 107_500),
        Posting("personal:M1", "contributions", 600),
        Posting("recoverable:M1", "contributions", 400),
        Posting("contributions", "personal:M2", 10),
    ]
    assert [await books.balance(member) for member in ("M1", "M2")] == [0, 60]


async def test_an_account_is_closed_once_and_takes_nothing_back(books: CreditBooks) -> None:
    await books.add(credit("K1", 4_000))
    await books.settle(claim("C1", total=1_000))
    await books.close("M1", "moved_out_of_province", "transferred")
    left = await books.credit_store.left(books.tx, {"M1", "M2"})
    assert {member: (one.closed, one.article) for member, one in left.items()} == {"M1": (True, "130900:8")}
    with pytest.raises(Stop):
        await books.close("M1")
    assert await books.run(piece(1, ("M1", 8_000))) == [None]
    assert await books.run(piece(2, ("M1", 8_000), kind="true_up")) == [None]  # nothing was credited for that month
    await books.settle(reversal("C1", total=1_000))
    assert await books.balance("M1") == 0
    assert (await books.postings())[-2:] == [
        Posting("personal:M1", f"transferred:{HOME}", 3_000),
        Posting("payable:I1", f"closed_accounts:{HOME}", 1_000),
    ]


async def test_what_a_true_up_still_owes_a_closed_account_goes_to_clearing(books: CreditBooks) -> None:
    await books.run(piece(1, ("M1", 8_000), ("M2", 8_000)))
    await books.close("M1")
    await books.run(piece(2, ("M1", 8_644), ("M2", 8_644), kind="true_up"), piece(3, ("M1", 8_000), kind="true_up"))
    assert (await books.postings())[-3:] == [
        Posting("contributions", f"closed_accounts:{HOME}", 644),
        Posting("contributions", "personal:M2", 644),
        Posting("recoverable:M1", "contributions", 644),
    ]
    assert [await books.balance(member) for member in ("M1", "M2")] == [0, 8_644]


async def test_who_is_insured_anew_has_an_account_again_and_the_closed_one_stays_closed(books: CreditBooks) -> None:
    await books.run(piece(1, ("M1", 8_000)))
    await books.settle(claim("C1", total=1_000))
    await books.close("M1", "moved_out_of_province", "transferred")
    june = piece(2, ("M1", 5_000, "2023-06"), back=True)
    assert await books.run(june, june) != [None, None]
    assert await books.run(june, piece(3, ("M1", 8_100), kind="true_up")) != [None, None]  # 1.00 more of the old account's
    await books.settle(reversal("C1", total=1_000), claim("C2", total=2_000))
    await books.settle(reversal("C2", total=2_000))
    assert await books.balance("M1") == 5_000
    assert (await books.postings())[2:] == [
        Posting("personal:M1", f"transferred:{HOME}", 7_000),
        Posting("contributions", "personal:M1", 5_000),
        Posting("contributions", f"closed_accounts:{HOME}", 100),
        Posting("payable:I1", f"closed_accounts:{HOME}", 1_000),
        Posting("personal:M1", "payable:I1", 2_000),
        Posting("payable:I1", "personal:M1", 2_000),
    ]
    again = await books.close("M1", "moved_out_of_province", "paid_out")
    assert again.amount == 5_000
    assert (await books.credit_store.left(books.tx, {"M1"}))["M1"].closed


async def test_a_difference_bears_the_interest_of_the_months_since_and_gives_it_back(books: CreditBooks) -> None:
    await books.run(piece(1, ("M1", 100_000), ("M2", 100_000), ("M3", 100_000)))
    await books.settle(claim("C2", "M2", total=100_000))
    await books.close("M3")
    up = piece(2, ("M1", 110_000), ("M2", 90_000), ("M3", 110_000), kind="true_up", since_ppm=24_000)
    assert await books.run(up, up) != [None, None]
    assert (await books.postings())[5:] == [
        Posting("contributions", "personal:M1", 10_000),
        Posting(f"interest:{HOME}", "personal:M1", 20),  # 100.00 for two months at 1.2 %
        Posting("recoverable:M2", "contributions", 10_000),
        Posting("recoverable:M2", f"interest:{HOME}", 20),
        Posting("contributions", f"closed_accounts:{HOME}", 10_000),
        Posting(f"interest:{HOME}", f"closed_accounts:{HOME}", 20),
    ]
    down = piece(3, ("M1", 100_000), ("M3", 100_000), kind="true_up", since_ppm=24_000)
    await books.run(down)
    assert (await books.postings())[11:] == [
        Posting("personal:M1", "contributions", 10_000),
        Posting("personal:M1", f"interest:{HOME}", 20),
        Posting("recoverable:M3", "contributions", 10_000),
        Posting("recoverable:M3", f"interest:{HOME}", 20),
    ]
    assert [await books.balance(member) for member in ("M1", "M2", "M3")] == [100_000, 0, 0]


_RUN = "insert into account.credit_run (kind, region, first_month, last_month, figures, who, reason) values "
_MAY = "('monthly', '130900', '2023-05', '2023-05', '{}', 'w', 'r')"
_ROW = "insert into account.crediting values ('M9', '130900', '2023-05', 1, 1, "


@pytest.mark.servers
@pytest.mark.parametrize(
    ("statement", "constraint"),
    [
        ("update account.crediting set amount = amount + 1", "append-only"),
        ("delete from account.closing", "append-only"),
        ("update account.opening set amount = 1", "append-only"),
        ("insert into account.crediting select * from account.crediting", "crediting_key"),
        ("update account.balance set balance = 1 where closed", "balance_closed_is_empty"),
        (f"{_RUN} {_MAY}, {_MAY}", "credit_run_once"),
        (f"{_RUN} {_MAY}".replace("2023-05', '{", "2023-06', '{"), "credit_run_monthly"),
        (f"{_ROW} 0, 0, 0, null, 'pooled', 'a', 1, 1)", "crediting_says_something"),
        (f"{_ROW} -5, 6, 0, null, 'pooled', 'a', 1, 1)", "crediting_recoverable"),
        (f"{_ROW} 5, 0, 0, null, 'pooled', 'a', 1, 1, 6)", "crediting_late"),
        (f"{_ROW} 5, 0, -1, null, 'pooled', 'a', 1, 1)", "crediting_interest"),
        (f"{_ROW} 5, 0, 0, null, 'nobody', 'a', 1, 1, 0, '')", "crediting_source"),
        (f"{_ROW} 5, 0, 0, null, 'pooled', 'a', 1, 1, 0, 'civil_servant')", "crediting_title"),
        ("insert into account.journal select 99, issuer, number, 'gift', revision, part from account.journal", "journal_kind"),
    ],
)
async def test_the_tables_refuse_what_must_never_be(fresh_database: str, statement: str, constraint: str) -> None:
    connection = await _tables(fresh_database)
    books = CreditBooks(PostgresCreditingStore(), tx=connection)
    await books.run(piece(1, ("M1", 8_000)))
    await books.close("M1")
    with pytest.raises(asyncpg.IntegrityConstraintViolationError, match=constraint):
        await connection.execute(statement)
    await connection.close()


@pytest.mark.servers
async def test_a_piece_takes_the_same_number_of_statements_however_many_members_it_has(fresh_database: str) -> None:
    connection = await _tables(fresh_database)
    books = CreditBooks(PostgresCreditingStore(), tx=connection)
    counts = []
    for run, size in ((1, 1), (2, 1), (3, 400)):  # the first also asks for the types of columns
        asked: list[str] = []
        with connection.query_logger(lambda record, asked=asked: asked.append(record.query)):
            await books.run(piece(run, *[(f"M{n}", 100 + n, f"2023-0{run}") for n in range(size)]))
        counts.append(len(asked))
    assert counts[1] == counts[2] <= 9
    await connection.close()
