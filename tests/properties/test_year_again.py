"""Random years with late changes: worked out again, each claim stands as if the register had been known from the start.

The other book is a world to which the same lines came first; the order of the claims is the same. Accounts may differ: what one
paid at the counter is given back to it, and was not there for the claim after.
"""

import asyncio
from dataclasses import dataclass
from datetime import date, timedelta

from eligibility_world import BAZHONG, CANGZHOU, KASHGAR, SHIYAN, grant, member, place
from hypothesis import given, settings
from hypothesis import strategies as st
from year_world import MONEY, YearWorld, bill

from shared.register import Member

FUNDS = ("pooled", "large_expense", "civil_servant", "veterans")
FIRST = date(2023, 1, 1)
DAYS = st.integers(0, 300).map(lambda days: FIRST + timedelta(days=days))


@dataclass(frozen=True)
class Visit:
    """A claim, and whether it is cancelled so many steps later (None: never)."""

    day: date
    in_scope: int
    institution: str
    benefit: str
    cancelled_after: int | None


@dataclass(frozen=True)
class History:
    """Visits in their order; register lines that come late, before the visit of that index."""

    region: str
    visits: tuple[Visit, ...]
    late: tuple[tuple[int, Member], ...]
    worked_out_at: tuple[int, ...]

    def cancelled(self, index: int) -> bool:
        """Whether the visit's cancelling came before the end."""
        after = self.visits[index].cancelled_after
        return after is not None and index + after < len(self.visits)


def visits(region: str) -> st.SearchStrategy[Visit]:
    benefits = ["ordinary", "hypertension"] if region == BAZHONG else ["ordinary"]
    return st.builds(
        Visit, DAYS, st.integers(1, 200_000), st.sampled_from(["H", "H3"]), st.sampled_from(benefits),
        st.none() | st.integers(0, 3),
    )  # fmt: skip


def lines(region: str) -> st.SearchStrategy[Member]:
    """The member as he was from some day on: retired, no longer covered, granted a benefit, with a supplement."""
    return st.builds(
        lambda since, status, covered, granted, extra: member(
            region, since=since.isoformat(), status=status, covered_to=covered, supplements=extra,
            qualifications=(grant("hypertension"),) if granted else (),
        ),
        st.just(date(2020, 1, 1)) | DAYS, st.sampled_from(["active", "retired"]), st.none() | DAYS, st.booleans(),
        st.sampled_from([(), ("civil_servant",), ("large_expense", "civil_servant")]),
    )  # fmt: skip


@st.composite
def histories(draw: st.DrawFn) -> History:
    region = draw(st.sampled_from([CANGZHOU, BAZHONG, KASHGAR, SHIYAN]))
    seen = tuple(draw(st.lists(visits(region), min_size=1, max_size=6)))
    when = st.integers(0, len(seen))
    late = draw(st.lists(st.tuples(when, lines(region)), min_size=1, max_size=3))
    return History(region, seen, tuple(sorted(late, key=lambda one: one[0])), tuple(draw(st.lists(when, max_size=2))))


async def lived(history: History, *, known_first: bool) -> YearWorld:
    """A world that lived it; where the lines are not known first, they come when they come, and the end sets it right."""
    region = history.region
    books = await YearWorld([member(region), place(region), place(region, "H3", level="3")], credit=50_000).begin()
    if known_first:
        for _, line in history.late:
            await books.late(line)
    to_cancel: dict[int, list[tuple[str, str]]] = {}
    for index, visit in enumerate(history.visits):
        for at, line in () if known_first else history.late:
            if at == index:
                await books.late(line)
        if not known_first and index in history.worked_out_at:
            await books.readjudicate()
        name = f"C{index}"
        await books.settle(bill(name, visit.in_scope, visit.day, benefit=visit.benefit, institution=visit.institution))
        if visit.cancelled_after is not None:
            to_cancel.setdefault(index + visit.cancelled_after, []).append((name, visit.institution))
        for number, institution in to_cancel.pop(index, []):
            await books.cancel(number, institution)
    if not known_first:
        await books.late(*[line for at, line in history.late if at == len(history.visits)])
        await books.readjudicate()
    return books


@settings(deadline=None)  # a whole path a history: how long is the machine's affair
@given(history=histories())
def test_a_year_worked_out_again_is_the_year_known_from_the_start(history: History) -> None:
    async def both() -> tuple[YearWorld, YearWorld]:
        return await lived(history, known_first=False), await lived(history, known_first=True)

    late, early = asyncio.run(both())
    for index, visit in enumerate(history.visits):
        mine, its = late.stands(f"C{index}"), early.stands(f"C{index}")
        if history.cancelled(index):
            assert set(mine.values()) == {0}
            continue
        assert [mine[fund] for fund in FUNDS] == [its[fund] for fund in FUNDS], f"C{index}"
        assert sum(mine[name] for name in MONEY) == visit.in_scope
        assert min(mine.values()) >= 0
    assert late.used() == early.used()
    ends = late.ledger()
    assert sum(ends.values()) == 0
    assert ends.get("personal:M", 0) == late.accounts.accounts["M"]
    assert ends.get(f"member:{history.region}:M", 0) == -sum(
        amount for index in range(len(history.visits)) for amount in late.refunded(f"C{index}")
    )


@settings(deadline=None)  # a whole path a history: how long is the machine's affair
@given(history=histories())
def test_once_worked_out_nothing_is_left_to_do(history: History) -> None:
    async def twice() -> tuple[list[object], bool]:
        books = await lived(history, known_first=False)
        before = (books.used(), books.ledger())
        again: list[object] = list(await books.readjudicate())
        return again, (books.used(), books.ledger()) == before

    again, same = asyncio.run(twice())
    assert again == []
    assert same
