"""Both stores of account keep the same books: in memory, and in Postgres."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import nullcontext

import asyncpg
import pytest
from account_books import AWAY, HOME, SQL, Books, claim, credit, question, reversal
from simulation import still
from simulation.ledgers import AccountStore
from waiting import until_sessions_wait

from services.account.answer import Answer
from services.account.ledger import Posting, mirrored
from services.account.memory import MemoryStore
from services.account.store import PostgresStore
from shared.errors import Unreadable
from shared.reasons import reason
from shared.runtime.kept import Spill


@pytest.fixture(params=["memory", "spilled", "simulated", pytest.param("postgres", marks=pytest.mark.servers)])
async def books(request: pytest.FixtureRequest) -> AsyncIterator[Books]:
    if request.param in ("memory", "spilled"):
        spill = Spill(gather=1)
        yield Books(MemoryStore() if request.param == "memory" else MemoryStore(spill.of(Answer)))
        spill.close()
        return
    if request.param == "simulated":
        yield Books(AccountStore(), tx=still.connection())
        return
    connection = await asyncpg.connect(request.getfixturevalue("fresh_database"))
    await connection.execute(SQL)
    yield Books(PostgresStore(), tx=connection)
    await connection.close()


async def test_a_member_without_an_account_has_nothing_and_pays_cash(books: Books) -> None:
    [outcome] = await books.settle(claim("C1"))
    assert outcome is not None
    assert (outcome.account, outcome.cash, outcome.account_balance) == ("0.00", "100.00", "0.00")


async def test_a_credit_can_be_spent_once_it_is_booked(books: Books) -> None:
    await books.add(credit("K1", 7_000), credit("K2", 0), credit("K1", 1_000, member="M2"))
    assert await books.balance("M1") == 7_000
    [outcome] = await books.settle(claim("C1", pooled=2_000))
    assert outcome is not None
    assert (outcome.pooled, outcome.account, outcome.cash) == ("20.00", "70.00", "10.00")
    assert await books.balance("M1") == 0


async def test_the_same_credit_again_is_the_same_credit_and_other_content_is_refused(books: Books) -> None:
    await books.add(credit("K1", 7_000))
    await books.add(credit("K1", 7_000), credit("K2", 1))
    with pytest.raises(Unreadable):
        await books.add(credit("K1", 7_001))
    assert await books.balance("M1") == 7_001


async def test_an_answer_is_kept_and_given_again_byte_for_byte(books: Books) -> None:
    await books.add(credit("K1", 7_000))
    assert await books.settle(question("C1", 1)) == [None]  # still to come: the outcome will answer both
    first = await books.settle(claim("C1"))
    assert await books.settle(question("C1", 2), question("C1", 3), claim("C1")) == [*first, *first, None]
    assert len(set(books.announced)) == 1
    assert await books.settle(question("C1", 2)) == [None]
    assert await books.balance("M1") == 0


async def test_a_repeated_event_in_one_batch_is_dropped(books: Books) -> None:
    await books.add(credit("K1", 50_000))
    outcomes = await books.settle(claim("C1"), claim("C1"), question("C1", 1))
    assert outcomes[1] is None
    assert outcomes[0] == outcomes[2] is not None
    assert await books.balance("M1") == 40_000


async def test_a_reversal_in_a_later_batch_gives_own_and_family_account_back(books: Books) -> None:
    await books.add(credit("K1", 3_000), credit("K2", 4_000, member="F1"))
    away = {"care_region": AWAY}
    [before] = await books.settle(claim("C1", pooled=1_000, family_payer="F1", verdict=away))
    assert before is not None
    assert (before.account, before.family_account, before.cash) == ("30.00", "40.00", "20.00")
    [after] = await books.settle(reversal("C1", pooled=1_000))
    assert after is not None
    assert (after.account, after.family_account, after.cash) == ("-30.00", "-40.00", "-20.00")
    assert (after.insured_region, after.care_region) == (HOME, AWAY)
    assert (await books.balance("M1"), await books.balance("F1")) == (3_000, 4_000)
    due = f"due_to:{HOME}:{AWAY}"
    there = [
        Posting(f"fund:{HOME}:pooled", due, 1_000),
        Posting("personal:M1", due, 3_000),
        Posting("personal:F1", due, 4_000),
        Posting(f"due_from:{AWAY}:{HOME}", "payable:I1", 8_000),
    ]
    assert (await books.postings())[2:] == [*there, *mirrored(there)]


async def test_what_only_cash_pays_gives_no_journal(books: Books) -> None:
    await books.settle(claim("C1"), reversal("C1"))
    assert await books.postings() == []


async def test_claim_and_reversal_in_one_batch_leave_nothing(books: Books) -> None:
    await books.add(credit("K1", 3_000), credit("K2", 4_000, member="F1"))
    await books.settle(claim("C1", family_payer="F1"), reversal("C1"), claim("C2", "F1"))
    assert (await books.balance("M1"), await books.balance("F1")) == (3_000, 0)


async def test_the_reversal_of_a_rejection_moves_nothing_and_says_why(books: Books) -> None:
    why = (reason("unknown_member"),)
    await books.settle(claim("C1", decision={"outcome": "rejected", "reasons": why, "total": 0, "in_scope": 0}))
    [outcome] = await books.settle(reversal("C1", total=0))
    assert outcome is not None
    assert (outcome.outcome, outcome.reasons, outcome.total, outcome.cash) == ("reversed", why, "0.00", "0.00")


@pytest.fixture
async def tables(fresh_database: str) -> AsyncIterator[asyncpg.Connection]:
    connection = await asyncpg.connect(fresh_database)
    await connection.execute(SQL)
    books = Books(PostgresStore(), tx=connection)
    await books.add(credit("K1", 7_000))
    await books.settle(claim("C1", pooled=2_000))
    yield connection
    await connection.close()


@pytest.mark.servers
@pytest.mark.parametrize(
    ("statement", "constraint"),
    [
        ("update account.posting set amount = amount + 1", "append-only"),
        ("delete from account.posting", "append-only"),
        ("truncate account.posting", "append-only"),
        ("update account.journal set corrects = null", "append-only"),
        ("delete from account.journal where false", "append-only"),
        ("update account.balance set balance = -1", "balance_not_negative"),
        ("update account.outcome set cash = cash + 1", "outcome_payment_adds_up"),
        ("update account.outcome set in_scope = in_scope + 1", "outcome_cost_adds_up"),
        ("update account.outcome set pooled = -pooled, cash = cash + 2 * pooled", "outcome_sign"),
        ("update account.outcome set journal_id = null", "outcome_journal"),
        ("insert into account.posting values (9, 1, 'a', 'a', 1, 1)", "posting_two_accounts"),
        ("insert into account.posting values (9, 1, 'a', 'b', 0, 1)", "posting_amount_positive"),
        (
            "insert into account.journal select 99, issuer, number, kind, revision, part from account.journal",
            "journal_once",
        ),
    ],
)
async def test_the_tables_refuse_what_must_never_be(tables: asyncpg.Connection, statement: str, constraint: str) -> None:
    with pytest.raises(asyncpg.IntegrityConstraintViolationError, match=constraint):
        await tables.execute(statement)


@pytest.fixture
async def sessions(fresh_database: str) -> AsyncIterator[tuple[asyncpg.Connection, asyncpg.Connection]]:
    first, second = [await asyncpg.connect(fresh_database) for _ in range(2)]
    await first.execute(SQL)
    yield first, second
    await first.close()
    await second.close()


@pytest.mark.servers
async def test_two_batches_that_open_the_same_accounts_wait_for_each_other(
    fresh_database: str, sessions: tuple[asyncpg.Connection, asyncpg.Connection]
) -> None:
    first, second = sessions
    one, other = Books(PostgresStore(), tx=first), Books(PostgresStore(), tx=second, partition=1)
    await one.add(credit("K1", 10_000, member="F1"))
    held = first.transaction()
    await held.start()
    await one.settle(claim("C1", "M1", family_payer="F1"))
    async with second.transaction():
        waiting = asyncio.create_task(other.settle(claim("C2", "M2", total=5_000, family_payer="F1")))
        await until_sessions_wait(fresh_database)
        assert not waiting.done()
        await held.commit()
        [outcome] = await waiting
    assert outcome is not None
    assert (outcome.family_account, outcome.cash) == ("0.00", "50.00")


@pytest.mark.servers
@pytest.mark.parametrize("amount", [7_000, 7_001])
async def test_a_credit_that_another_batch_is_booking_is_the_same_credit_or_is_refused(
    fresh_database: str, sessions: tuple[asyncpg.Connection, asyncpg.Connection], amount: int
) -> None:
    first, second = sessions
    one, other = Books(PostgresStore(), tx=first), Books(PostgresStore(), tx=second, partition=1)
    held = first.transaction()
    await held.start()
    await one.add(credit("K1", 7_000))
    async with second.transaction():
        waiting = asyncio.create_task(other.add(credit("K1", amount)))
        await until_sessions_wait(fresh_database)
        await held.commit()
        with nullcontext() if amount == 7_000 else pytest.raises(Unreadable, match="was used with other content"):
            await waiting
    assert await one.balance("M1") == 7_000


@pytest.mark.servers
async def test_accounts_are_locked_in_the_order_of_their_members(fresh_database: str) -> None:
    """Whoever waits for an account holds only accounts before it, so no two wait for each other."""
    holding, asking, looking = [await asyncpg.connect(fresh_database) for _ in range(3)]
    await holding.execute(SQL)
    books = Books(PostgresStore(), tx=holding)
    await books.add(*(credit(f"K{name}", 100, member=name) for name in ("C", "A", "B")))
    row = "select from account.balance where member_id = $1 for update nowait"
    async with asking.transaction():
        async with holding.transaction():
            await holding.execute(row, "B")
            waiting = asyncio.create_task(PostgresStore().balances(asking, {"C", "A", "B"}, ()))
            await until_sessions_wait(fresh_database)
            await looking.execute(row, "C")
            with pytest.raises(asyncpg.LockNotAvailableError):
                await looking.execute(row, "A")
        assert await waiting == dict.fromkeys("ABC", 100)
    for session in (holding, asking, looking):
        await session.close()
