"""What a piece of a crediting run books: months once, differences, what can and cannot be taken back, interest."""

import pytest
from account_books import HOME, claim, credit, reversal
from crediting_books import MONTH, CreditBooks, piece

from services.account import commands
from services.account.commands import Entry, Piece, Rule
from services.account.ledger import Posting, balances
from services.account.memory import MemoryStore
from services.account.worklist import Todo
from shared.errors import Stop, Unreadable

FUND = f"fund:{HOME}:account_credits"


def todo(books: CreditBooks) -> list[Todo]:
    assert isinstance(books.store, MemoryStore)
    return books.store.worklist


async def test_a_piece_credits_its_members_with_one_journal() -> None:
    books = CreditBooks()
    [sheet] = await books.run(piece(1, ("M1", 12_400), ("M2", 6_025), source="pooled"))
    assert sheet is not None
    assert (sheet.journal.issuer, sheet.journal.number, sheet.journal.kind) == (HOME, f"1/{MONTH}/M1", "crediting")
    assert await books.postings() == [Posting(FUND, "personal:M1", 12_400), Posting(FUND, "personal:M2", 6_025)]
    assert await books.balance("M2") == 6_025


async def test_a_month_is_credited_once_whatever_comes_again() -> None:
    books = CreditBooks()
    await books.run(piece(1, ("M1", 100)), piece(1, ("M1", 100)))
    assert await books.run(piece(1, ("M1", 100)), piece(1, ("M1", 999))) == [None, None]
    [sheet] = await books.run(piece(1, ("M1", 100), ("M2", 50)))  # who came to the register later
    assert sheet is not None
    assert [one.member_id for one in sheet.credits] == ["M2"]
    await books.run(piece(2, ("M1", 100, "2023-06")))
    assert [await books.balance(member) for member in ("M1", "M2")] == [200, 50]


@pytest.mark.parametrize(
    ("due", "balance", "difference"),
    [(8_644, 8_644, 644), (8_000, 8_000, None), (7_500, 7_500, -500), (0, 0, -8_000)],
)
async def test_a_true_up_books_the_difference_and_nothing_twice(due: int, balance: int, difference: int | None) -> None:
    books = CreditBooks()
    await books.run(piece(1, ("M1", 8_000)))
    [sheet] = await books.run(piece(2, ("M1", due), kind="true_up"))
    assert (None if sheet is None else sheet.credits[0].amount) == difference
    assert await books.run(piece(2, ("M1", due), kind="true_up"), piece(3, ("M1", due), kind="true_up")) == [None, None]
    assert await books.balance("M1") == balance
    assert todo(books) == []


async def test_a_true_up_credits_who_had_nothing_and_the_month_is_then_credited() -> None:
    books = CreditBooks()
    await books.run(piece(2, ("M1", 700), kind="true_up"))
    assert await books.run(piece(1, ("M1", 700))) == [None]
    assert await books.balance("M1") == 700


async def test_an_older_true_up_that_comes_again_changes_nothing_back() -> None:
    books = CreditBooks()
    await books.run(piece(1, ("M1", 100)), piece(2, ("M1", 120), kind="true_up"), piece(3, ("M1", 150), kind="true_up"))
    assert await books.run(piece(2, ("M1", 120), kind="true_up")) == [None]
    assert await books.balance("M1") == 150


async def test_each_difference_belongs_to_its_month() -> None:
    books = CreditBooks()
    await books.run(piece(1, ("M1", 100)), piece(2, ("M1", 100, "2023-06")))
    [sheet] = await books.run(piece(3, ("M1", 130), ("M1", 90, "2023-06"), kind="true_up"))
    assert sheet is not None
    assert [(one.month, one.amount, one.line) for one in sheet.credits] == [("2023-05", 30, 1), ("2023-06", -10, 2)]


async def test_what_was_spent_cannot_be_taken_from_the_account_and_goes_on_the_work_list() -> None:
    books = CreditBooks()
    await books.run(piece(1, ("M1", 8_000)))
    await books.settle(claim("C1", total=7_500))
    [sheet] = await books.run(piece(2, ("M1", 7_000), kind="true_up"))
    assert sheet is not None
    assert (sheet.credits[0].amount, sheet.credits[0].recoverable) == (-1_000, 500)
    assert await books.balance("M1") == 0
    assert (await books.postings())[-2:] == [
        Posting("personal:M1", "contributions", 500),
        Posting("recoverable:M1", "contributions", 500),
    ]
    assert todo(books) == [Todo(2, "overcredited", HOME, "M1", 500)]
    assert await books.run(piece(3, ("M1", 7_000), kind="true_up")) == [None]


async def test_a_month_that_another_source_pays_gives_each_its_own_back() -> None:
    books = CreditBooks()
    await books.run(piece(1, ("M1", 12_400)))
    await books.run(piece(2, ("M1", 6_000), kind="true_up", source="pooled"))
    ends = balances(await books.postings())
    assert ends == {"contributions": 0, FUND: -6_000, "personal:M1": 6_000}
    await books.run(piece(3, ("M1", 0), kind="true_up", source="contributions"))
    assert set(balances(await books.postings()).values()) == {0}


async def test_interest_is_a_twelfth_of_the_years_on_the_balance_before_the_credit() -> None:
    books = CreditBooks()
    await books.add(credit("K1", 100_000))
    [sheet] = await books.run(piece(1, ("M1", 8_642), ("M2", 100), interest_ppm=15_000))
    assert sheet is not None
    assert [one.interest for one in sheet.credits] == [125, 0]  # 1000.00 x 1.5 % / 12
    assert Posting(f"interest:{HOME}", "personal:M1", 125) in await books.postings()
    assert await books.run(piece(1, ("M1", 8_642), interest_ppm=15_000)) == [None]
    assert await books.balance("M1") == 108_767


async def test_nothing_is_booked_to_a_closed_account() -> None:
    books = CreditBooks()
    await books.run(piece(1, ("M1", 5_000)))
    closing = await books.close("M1")
    assert (closing.amount, (await books.postings())[-1]) == (5_000, Posting("personal:M1", f"heirs:{HOME}", 5_000))
    later = piece(2, ("M1", 5_000, "2023-06")), piece(3, ("M1", 9_000, "2023-06"), kind="true_up")
    assert await books.run(*later) == [None, None]
    with pytest.raises(Unreadable, match="closed"):
        await books.add(credit("K1", 100))
    [outcome] = await books.settle(claim("C1", total=300))
    assert outcome is not None
    assert (outcome.account, outcome.cash, outcome.account_balance) == ("0.00", "3.00", "0.00")
    with pytest.raises(Stop, match="closed already"):
        await books.close("M1")


@pytest.mark.parametrize(
    ("due", "postings", "listed"),
    [
        (5_644, [Posting(FUND, f"closed_accounts:{HOME}", 644)], Todo(1, "late_credit", HOME, "M1", 644)),
        (4_000, [Posting("recoverable:M1", FUND, 1_000)], Todo(1, "overcredited", HOME, "M1", 1_000)),
        (0, [Posting("recoverable:M1", FUND, 5_000)], Todo(1, "overcredited", HOME, "M1", 5_000)),
    ],
)
async def test_what_a_closed_accounts_months_come_to_otherwise_is_owed_outside_it(
    due: int, postings: list[Posting], listed: Todo
) -> None:
    """As when the average is published after a pensioner's death: the difference of the months he lived is his heirs'."""
    books = CreditBooks()
    await books.run(piece(1, ("M1", 5_000), source="pooled"))
    await books.close("M1")
    said = piece(2, ("M1", due), kind="true_up", source="pooled")
    [sheet] = await books.run(said)
    assert sheet is not None
    assert list(sheet.journal.postings) == postings
    assert todo(books) == [listed]
    assert await books.balance("M1") == 0
    assert await books.run(said, piece(3, ("M1", due), kind="true_up", source="pooled")) == [None, None]


@pytest.mark.parametrize(
    ("due", "last"),
    [(6_000, Posting(FUND, f"closed_accounts:{HOME}", 1_000)), (2_000, Posting("recoverable:M1", "contributions", 3_000))],
)
async def test_of_a_closed_accounts_month_another_source_pays_its_part(due: int, last: Posting) -> None:
    books = CreditBooks()
    await books.run(piece(1, ("M1", 5_000), source="contributions"))
    await books.close("M1")
    [sheet] = await books.run(piece(2, ("M1", due), kind="true_up", source="pooled"))
    assert sheet is not None
    assert list(sheet.journal.postings) == [Posting(FUND, "contributions", min(due, 5_000)), last]
    ends = balances(await books.postings())
    assert (ends[FUND], ends["contributions"]) == (-due, 0)


async def test_a_credit_that_was_booked_before_the_closing_is_the_same_credit_afterwards() -> None:
    books = CreditBooks()
    await books.add(credit("K1", 100))
    await books.close("M1")
    await books.add(credit("K1", 100))
    assert await books.balance("M1") == 0


async def test_an_empty_account_is_closed_without_a_journal() -> None:
    books = CreditBooks()
    closing = await books.close("M1", "gave_up", "paid_out")
    assert (closing.amount, closing.journal) == (0, None)


async def test_a_late_reversal_goes_to_clearing_and_the_work_list_and_the_family_gets_its_own() -> None:
    books = CreditBooks()
    await books.add(credit("K1", 1_000), credit("K2", 5_000, member="F1"))
    await books.settle(claim("C1", total=3_000, pooled=500, family_payer="F1"))
    await books.close("M1")
    [outcome] = await books.settle(reversal("C1", total=3_000, pooled=500))
    assert outcome is not None
    assert (outcome.account, outcome.family_account, outcome.account_balance) == ("-10.00", "-15.00", "0.00")
    assert (await books.postings())[-3:] == [
        Posting("payable:I1", f"fund:{HOME}:pooled", 500),
        Posting("payable:I1", f"closed_accounts:{HOME}", 1_000),
        Posting("payable:I1", "personal:F1", 1_500),
    ]
    assert todo(books) == [Todo(2, "late_reversal", HOME, "M1", 1_000)]
    assert (await books.balance("M1"), await books.balance("F1")) == (0, 5_000)


async def test_a_late_reversal_of_a_closed_familys_money_goes_to_clearing_too() -> None:
    books = CreditBooks()
    await books.add(credit("K2", 5_000, member="F1"))
    await books.settle(claim("C1", total=3_000, family_payer="F1"))
    await books.close("F1")
    await books.settle(reversal("C1", total=3_000))
    assert todo(books) == [Todo(1, "late_reversal", HOME, "F1", 3_000)]
    assert await books.balance("F1") == 0


def of(*, due: int = 1, rule: int = 0, interest_ppm: int = 0, rules: tuple[Rule, ...] = (Rule("130900:4", "pooled"),)) -> bytes:
    entries = (Entry("M1", "2023-05", due, None, rule),)
    return commands.encode(Piece(run=1, kind="monthly", region=HOME, rules=rules, entries=entries, interest_ppm=interest_ppm))


@pytest.mark.parametrize(
    "value",
    [
        b"{",
        b"{}",
        b'{"run": 1, "kind": "yearly", "region": "130900", "rules": [], "entries": []}',
        b'{"run": 1, "kind": "monthly", "region": "130900", "rules": [], "entries": []}',
        of(rules=()),
        of(rule=1),
        of(rule=-1),
        of(due=-1),
        of(due=10**16),
        of(interest_ppm=1_000_001),
        of().replace(b"pooled", b"nobody"),
    ],
)
def test_what_is_no_piece_is_a_dead_letter(value: bytes) -> None:
    assert commands.decode(of()).entries[0].due == 1
    with pytest.raises(Unreadable):
        commands.decode(value)
