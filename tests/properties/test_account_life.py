"""A naive book of dictionaries beside account's three steps and closings, over random histories of everything that moves money.

The book knows one rule a method and shares no code with the service. After every act balances are equal, all accounts sum to
zero, nothing is negative that must not be, and what is closed stays closed.
"""

import asyncio
from collections import defaultdict
from collections.abc import Coroutine
from pathlib import Path
from typing import Any, TypeVar

import pytest
from account_books import claim, credit, purchase, reversal
from crediting_books import CreditBooks, piece
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from services.account.ledger import balances
from services.account.memory import MemoryStore
from shared.errors import Stop, Unreadable
from shared.outcome import Outcome
from shared.policy import Policies
from shared.policy.crediting import Source

PACKS = Policies.load(Path(__file__).parents[2] / "policies")
MEMBERS = ("M1", "M2", "M3")
MONTHS = ("2023-05", "2023-06")
T = TypeVar("T")

members = st.sampled_from(MEMBERS)
months = st.sampled_from(MONTHS)
amounts = st.integers(0, 20_000)
dues = st.integers(0, 9_000)


class NaiveBook:
    """What should have happened, in fen."""

    def __init__(self) -> None:
        self.balance: dict[str, int] = dict.fromkeys(MEMBERS, 0)
        self.closed: set[str] = set()
        self.left: set[str] = set()  # closed once, whether or not opened anew since
        self.of_the_closed: set[tuple[str, str]] = set()  # months and claims by member that a closed account had
        self.month: dict[tuple[str, str], int] = {}  # what a month was credited with, in all
        self.paid: dict[str, dict[str, int]] = {}  # by claim: from whose account how much
        self.taken_back: set[str] = set()
        self.went: dict[str, int] = defaultdict(int)  # where closed balances went
        self.clearing = 0
        self.recoverable: dict[str, int] = defaultdict(int)

    def outside(self, member: str, month: str, back: bool) -> bool:
        return member in self.left and (not back or (member, month) in self.of_the_closed)

    def credit_month(self, member: str, month: str, due: int, back: bool) -> None:
        if not self.outside(member, month, back) and (member, month) not in self.month and due:
            self.closed.discard(member)
            self.month[member, month] = due
            self.balance[member] += due

    def true_up(self, member: str, month: str, due: int, back: bool) -> None:
        if self.outside(member, month, back):
            if (member, month) in self.month:
                more = due - self.month[member, month]
                self.month[member, month] = due
                self.clearing += max(more, 0)
                self.recoverable[member] += max(-more, 0)
            return
        if due == self.month.get((member, month), 0):
            return
        self.closed.discard(member)
        wanted = self.balance[member] + due - self.month.get((member, month), 0)
        self.month[member, month] = due
        self.balance[member] = max(wanted, 0)
        self.recoverable[member] += max(-wanted, 0)

    def pay(self, number: str, due: int, *payers: str) -> dict[str, int]:
        took: dict[str, int] = {}
        for payer in dict.fromkeys(payers):
            took[payer] = min(self.balance[payer], due)
            self.balance[payer] -= took[payer]
            due -= took[payer]
        self.paid[number] = took
        return took

    def reverse(self, number: str) -> None:
        self.taken_back.add(number)
        for payer, amount in self.paid[number].items():
            if (payer, number) in self.of_the_closed:
                self.clearing += amount
            else:
                self.balance[payer] += amount

    def close(self, member: str, where: str) -> None:
        self.closed.add(member)
        self.left.add(member)
        self.of_the_closed |= {key for key in self.month if key[0] == member}
        self.of_the_closed |= {(member, number) for number, took in self.paid.items() if member in took}
        self.went[where] += self.balance[member]
        self.balance[member] = 0


class LifeOfAccounts(RuleBasedStateMachine):
    """Each rule does one thing to both books."""

    @initialize()
    def open(self) -> None:
        self.books = CreditBooks(policies=PACKS)
        self.naive = NaiveBook()
        self.runs = 0
        self.monthly: dict[str, int] = {}
        self.credits = 0
        self.numbers = 0
        self.claims: dict[str, tuple[str, int, int]] = {}  # number -> member, total, pooled

    def do(self, work: Coroutine[Any, Any, T]) -> T:
        return asyncio.run(work)

    def run_number(self, month: str | None = None) -> int:
        if month in self.monthly:
            return self.monthly[month]
        self.runs += 1
        if month is not None:
            self.monthly[month] = self.runs
        return self.runs

    @rule(due=st.dictionaries(members, dues, min_size=1), month=months, twice=st.booleans(), back=st.booleans())
    def a_month_is_credited(self, due: dict[str, int], month: str, twice: bool, back: bool) -> None:
        """One monthly run a month: commanded again it goes on; what comes twice is booked once. Who is back has an account."""
        said = piece(self.run_number(month), *[(member, fen, month) for member, fen in due.items()], back=back)
        self.do(self.books.run(*([said] * (1 + twice))))
        for member, fen in due.items():
            self.naive.credit_month(member, month, fen, back)

    @rule(due=st.dictionaries(members, dues, min_size=1), month=months, pooled=st.booleans(), back=st.booleans())
    def a_month_is_trued_up(self, due: dict[str, int], month: str, pooled: bool, back: bool) -> None:
        entries = [(member, fen, month) for member, fen in due.items()]
        paid_by: Source = "pooled" if pooled else "contributions"
        said = piece(self.run_number(), *entries, kind="true_up", source=paid_by, back=back)
        self.do(self.books.run(said))
        for member, fen in due.items():
            self.naive.true_up(member, month, fen, back)
        assert self.do(self.books.run(said)) == [None]

    @rule(member=members, amount=amounts)
    def the_register_credits(self, member: str, amount: int) -> None:
        self.credits += 1
        made = credit(f"K{self.credits}", amount, member)
        if member in self.naive.closed:
            with pytest.raises(Unreadable):
                self.do(self.books.add(made))
            return
        self.do(self.books.add(made))
        self.naive.balance[member] += amount

    @rule(member=members, total=amounts, percent=st.integers(0, 100), payer=st.none() | members)
    def a_claim_is_settled(self, member: str, total: int, percent: int, payer: str | None) -> None:
        self.numbers += 1
        number, pooled = f"C{self.numbers}", total * percent // 100
        [outcome] = self.do(self.books.settle(claim(number, member, total=total, pooled=pooled, family_payer=payer)))
        took = self.naive.pay(number, total - pooled, member, *([payer] if payer and payer != member else []))
        self.claims[number] = (member, total, pooled)
        self.told(outcome, member, sum(took.values()))

    @rule(member=members, amount=amounts)
    def something_is_bought(self, member: str, amount: int) -> None:
        self.numbers += 1
        number = f"C{self.numbers}"
        [outcome] = self.do(self.books.settle(purchase(number, "own_share", amount, member)))
        if member in self.naive.closed:
            assert outcome is not None
            assert (outcome.outcome, outcome.reasons[0].article) == ("rejected", "130900:8")
            return
        took = self.naive.pay(number, amount, member)
        self.claims[number] = (member, amount, 0)
        self.told(outcome, member, sum(took.values()))

    @precondition(lambda self: self.claims.keys() - self.naive.taken_back)
    @rule(data=st.data())
    def a_settlement_is_taken_back(self, data: st.DataObject) -> None:
        number = data.draw(st.sampled_from(sorted(self.claims.keys() - self.naive.taken_back)))
        member, total, pooled = self.claims[number]
        [outcome] = self.do(self.books.settle(reversal(number, member, total=total, pooled=pooled)))
        self.naive.reverse(number)
        self.told(outcome, member, -sum(self.naive.paid[number].values()))

    @rule(member=members, where=st.sampled_from(["paid_out", "transferred", "heirs"]))
    def an_account_is_closed(self, member: str, where: str) -> None:
        if member in self.naive.closed:
            with pytest.raises(Stop):
                self.do(self.books.close(member, disposal=where))
            return
        closing = self.do(self.books.close(member, disposal=where))
        assert closing.amount == self.naive.balance[member]
        self.naive.close(member, where)

    def told(self, outcome: Outcome | None, member: str, accounts: int) -> None:
        assert outcome is not None
        assert fen(outcome.account) + fen(outcome.family_account) == accounts
        assert fen(outcome.account_balance) == self.naive.balance[member]

    @invariant()
    def both_books_agree(self) -> None:
        ends = balances(self.do(self.books.postings()))
        assert sum(ends.values()) == 0
        for member in MEMBERS:
            kept = self.do(self.books.balance(member))
            assert kept == self.naive.balance[member] == ends.get(f"personal:{member}", 0) >= 0
            assert ends.get(f"recoverable:{member}", 0) == -self.naive.recoverable[member]
        assert ends.get("closed_accounts:130900", 0) == self.naive.clearing
        for where in ("paid_out", "transferred", "heirs"):
            assert ends.get(f"{where}:130900", 0) == self.naive.went[where]

    @invariant()
    def the_work_list_is_complete_and_closed_accounts_stay_empty(self) -> None:
        assert isinstance(self.books.store, MemoryStore)
        listed: dict[str, int] = defaultdict(int)
        for one in self.books.store.worklist:
            listed[one.kind] += one.amount
        assert listed["late_reversal"] + listed["late_credit"] == self.naive.clearing
        assert listed["overcredited"] == sum(self.naive.recoverable.values())
        assert all(self.naive.balance[member] == 0 for member in self.naive.closed)


def fen(text: str | None) -> int:
    assert text is not None
    return int(text.replace(".", ""))


TestLifeOfAccounts = LifeOfAccounts.TestCase
TestLifeOfAccounts.settings = settings(max_examples=40, stateful_step_count=30, deadline=None)
