"""Account against a naive second book, over random histories cut into random batches.

The second book is dictionaries and one rule a line; it shares no code with the service.
"""

import asyncio
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from account_books import AWAY, HOME, Books, claim, credit, purchase, question, reversal
from hypothesis import given, settings
from hypothesis import strategies as st

from services.account.ledger import balances
from services.account.memory import MemoryStore
from shared.outcome import Outcome
from shared.policy import Policies

PACKS = Policies.load(Path(__file__).parents[2] / "policies")
MEMBERS = ("M1", "M2", "M3")
Step = dict[str, Any]

amounts = st.integers(0, 20_000)
members = st.sampled_from(MEMBERS)
steps = st.one_of(
    st.fixed_dictionaries({"do": st.just("credit"), "number": st.integers(1, 6), "member": members}),
    st.fixed_dictionaries(
        {
            "do": st.just("claim"),
            "number": st.integers(1, 8),
            "total": amounts,
            "percent": st.integers(0, 100),
            "use_account": st.booleans(),
            "open": st.sampled_from([True, True, True, False]),
            "payer": st.none() | members,
            "allowed": st.sampled_from([True, True, False]),
            "care": st.sampled_from([HOME, AWAY]),
        }
    ),
    st.fixed_dictionaries({"do": st.just("use"), "number": st.integers(11, 14), "amount": amounts}),
    st.fixed_dictionaries({"do": st.just("reverse"), "number": st.integers(1, 14)}),
    st.fixed_dictionaries({"do": st.just("ask"), "number": st.integers(1, 14), "count": st.integers(1, 3)}),
)


def owner(number: int) -> str:
    return MEMBERS[number % len(MEMBERS)]


class SecondBook:
    """What should have happened, in fen."""

    def __init__(self) -> None:
        self.balance: dict[str, int] = defaultdict(int)
        self.credited: dict[tuple[str, int], int] = {}
        self.paid: dict[int, dict[str, Any]] = {}
        self.reversed: set[int] = set()
        self.asked: set[tuple[int, int]] = set()

    def credit(self, number: int, member: str) -> None:
        if (member, number) not in self.credited:
            self.credited[member, number] = 1_000 * number
            self.balance[member] += 1_000 * number

    def pay(self, number: int, due: int, may: bool, payer: str | None) -> dict[str, Any] | None:
        if number in self.paid:
            return None
        member = owner(number)
        own = min(due, self.balance[member]) if may else 0
        self.balance[member] -= own
        family = 0
        if payer is not None and payer != member:
            family = min(due - own, self.balance[payer])
            self.balance[payer] -= family
        self.paid[number] = {"account": own, "family_account": family, "cash": due - own - family, "payer": payer}
        return self.paid[number] | {"account_balance": self.balance[member]}

    def reverse(self, number: int) -> dict[str, Any] | None:
        if number in self.reversed:
            return None
        self.reversed.add(number)
        taken = self.paid[number]
        self.balance[owner(number)] += taken["account"]
        if taken["family_account"]:
            self.balance[taken["payer"]] += taken["family_account"]
        back = {name: -taken[name] for name in ("account", "family_account", "cash")}
        return back | {"account_balance": self.balance[owner(number)]}


def expected(book: SecondBook, step: Step) -> dict[str, Any] | None:
    number = step["number"]
    if step["do"] == "claim":
        due = step["total"] - step["total"] * step["percent"] // 100
        payer = step["payer"] if step["open"] and step["allowed"] else None
        return book.pay(number, due, step["use_account"] and step["open"], payer)
    if step["do"] == "use":
        return book.pay(number, step["amount"], may=True, payer=None)
    return book.reverse(number)


def event(step: Step, sent: dict[int, Step]) -> Any:
    number, member = step["number"], owner(step["number"])
    if step["do"] == "claim":
        pooled = step["total"] * step["percent"] // 100
        sent.setdefault(number, {"total": step["total"], "pooled": pooled})
        said = {"account_open": step["open"], "family_allowed": step["allowed"], "care_region": step["care"]}
        return claim(
            f"C{number}",
            member,
            total=step["total"],
            pooled=pooled,
            verdict=said,
            use_account=step["use_account"],
            family_payer=step["payer"],
        )
    if step["do"] == "use":
        sent.setdefault(number, {"total": step["amount"], "pooled": 0})
        return purchase(f"C{number}", "own_share", step["amount"], member)
    if step["do"] == "ask":
        return question(f"C{number}", step["count"], "claim" if number < 11 else "account_use", member)
    return reversal(f"C{number}", member, **sent[number])


def fen(text: str | None) -> int:
    assert text is not None
    return int(text.replace(".", ""))


def check(outcome: Outcome | None, should: dict[str, Any] | None) -> None:
    if should is None:
        assert outcome is None
        return
    assert outcome is not None
    for name in ("account", "family_account", "cash", "account_balance"):
        assert fen(getattr(outcome, name)) == should[name]
    assert fen(outcome.total) == sum(fen(getattr(outcome, n)) for n in ("fund_total", "account", "family_account", "cash"))


async def run(batches: Sequence[Sequence[Step]]) -> Books:
    books, book = Books(policies=PACKS), SecondBook()
    sent: dict[int, Step] = {}
    first: dict[int, Outcome] = {}
    for batch in batches:
        for step in batch:
            if step["do"] == "credit":
                book.credit(step["number"], step["member"])
                await books.add(credit(f"K{step['number']}", 1_000 * step["number"], step["member"]))
        acts = [step for step in batch if step["do"] != "credit"]
        acts = [step for step in acts if step["do"] != "reverse" or sent_before(step, acts, sent)]
        outcomes = await books.settle(*[event(step, sent) for step in acts])
        for step, outcome in zip(acts, outcomes, strict=True):
            if step["do"] == "ask":
                again = (step["number"], step["count"])
                answer = None if again in book.asked else first.get(step["number"])
                assert outcome == answer
                if answer is not None:
                    book.asked.add(again)
                continue
            check(outcome, expected(book, step))
            if outcome is not None and step["do"] != "reverse":
                first[step["number"]] = outcome
    await reconcile(books, book)
    return books


def sent_before(step: Step, acts: Sequence[Step], sent: dict[int, Step]) -> bool:
    """A reversal comes after its claim: intake sees to it."""
    earlier = acts[: next(i for i, one in enumerate(acts) if one is step)]
    return step["number"] in sent or any(one["number"] == step["number"] and one["do"] in ("claim", "use") for one in earlier)


async def reconcile(books: Books, book: SecondBook) -> None:
    """Balances, journals and outcomes tell the same story; what was reversed left nothing."""
    totals = balances(await books.postings())
    assert sum(totals.values()) == 0
    for member in MEMBERS:
        assert await books.balance(member) == book.balance[member] == totals.get(f"personal:{member}", 0) >= 0
    assert totals.get("contributions", 0) == -sum(book.credited.values())
    assert isinstance(books.store, MemoryStore)
    for number in book.reversed:
        kinds = ("claim", "account_use", "reversal")
        booked = [books.store.journals.get(("I1", f"C{number}", kind, 0)) for kind in kinds]
        moved = balances(posting for journal in booked if journal for posting in journal.postings)
        assert set(moved.values()) <= {0}


@settings(max_examples=150, deadline=None)
@given(st.lists(st.lists(steps, min_size=1, max_size=12), min_size=1, max_size=5))
def test_the_books_agree_with_a_naive_second_book(batches: list[list[Step]]) -> None:
    asyncio.run(run(batches))


@settings(max_examples=60, deadline=None)
@given(st.lists(steps.filter(lambda step: step["do"] != "credit"), min_size=1, max_size=15))
def test_how_a_history_is_cut_into_batches_changes_no_byte(history: list[Step]) -> None:
    funds = [{"do": "credit", "number": 6, "member": member} for member in MEMBERS]
    whole = asyncio.run(run([funds, history]))
    single = asyncio.run(run([funds, *[[step] for step in history]]))
    assert whole.announced == single.announced
