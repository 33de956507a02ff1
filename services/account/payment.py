"""Paying institutions: a year's budget by the month, each institution's share of it, what is kept, what is released.

All amounts are fen, ratios parts per million. Sources: Zhanjiang 4, 5, 20, 24 (policy.md, section 5). Pure.
"""

from collections.abc import Iterable, Sequence
from datetime import date
from decimal import Decimal
from typing import NamedTuple

from services.account import journals
from services.account.ledger import Posting
from shared.errors import Stop
from shared.money import share, split
from shared.policy import Version
from shared.policy.figure import Figure, exact
from shared.policy.payment import MonthlyBudget

MONTHS = 12


class Terms(NamedTuple):
    """The figures of a budget as they hold for a month."""

    contributions: int  # of the year before last
    budget: int
    reserve: int
    bonus: int
    at_once: int


def terms(rule: MonthlyBudget, version: Version, day: date) -> Terms:
    """The rule's figures on a day. Raises Stop, naming what the operator did not supply."""
    return Terms(
        contributions=figure(rule.contributions, version, day),
        budget=figure(rule.budget, version, day),
        reserve=figure(rule.reserve, version, day),
        bonus=figure(rule.bonus, version, day),
        at_once=figure(rule.at_once, version, day),
    )


def figure(wanted: Figure, version: Version, day: date) -> int:
    """A figure in fen or parts per million: its value, or the operator's. Raises Stop, naming the parameter."""
    if wanted.value is not None:
        return exact(wanted.value, wanted.unit)
    assert wanted.needs is not None
    value = version.figures.at(wanted.needs, day)
    if not isinstance(value, Decimal):
        raise Stop(f"{version.region} needs the parameter {wanted.needs} for {day} ({wanted.article}), one figure: supply it")
    return exact(value, wanted.unit)


class Budget(NamedTuple):
    """A year's budget, and what of it institutions can get."""

    total: int
    reserve: int
    elsewhere: int  # remote, emergency and rescue care
    allocatable: int

    def of(self, month: int) -> int:
        """A month's (1 to 12) twelfth; the twelve add up to the year's to the fen. Raises IndexError."""
        return split(self.allocatable, [1] * MONTHS)[range(1, MONTHS + 1).index(month)]


class Owed(NamedTuple):
    """What an institution is owed for a month: by the region's funds, and else. ``carried``: reversals that must wait."""

    institution_id: str
    fund: int
    other: int
    carried: int


class Paid(NamedTuple):
    """An institution's month. ``due`` is paid but for what is retained; ``other`` is passed on as it is."""

    institution_id: str
    incurred: int
    due: int
    paid: int
    retained: int
    other: int
    carried: int


class Released(NamedTuple):
    """What was kept of an institution's year, by the assessment's result (percent)."""

    institution_id: str
    retained: int
    result: Decimal
    released: int
    forfeited: int


def budget(terms: Terms, elsewhere: int) -> Budget:
    """The year's budget (article 4) and what is left of it for the region's institutions (article 24)."""
    total = share(terms.contributions, terms.budget)
    reserve = share(total, terms.reserve)
    return Budget(total, reserve, elsewhere, max(0, total - reserve - elsewhere))


def due_in_all(incurred: int, month: int, bonus: int) -> int:
    """What all institutions get together for what they incurred, out of a month's money (article 24.1 and 24.2)."""
    return min(incurred + share(incurred, bonus), month)


def by_budget(owed: Iterable[Owed], month: int, terms: Terms) -> list[Paid]:
    """Each institution's share of the month, in proportion to its cost; 5 % of it is kept (article 24.3)."""
    ordered = sorted(owed)
    costs = [one.fund for one in ordered]
    dues = split(due_in_all(sum(costs), month, terms.bonus), costs)
    made = []
    for one, due in zip(ordered, dues, strict=True):
        paid = share(due, terms.at_once)
        made.append(Paid(one.institution_id, one.fund, due, paid, due - paid, one.other, one.carried))
    return made


def by_item(owed: Iterable[Owed]) -> list[Paid]:
    """What was incurred."""
    return [Paid(one.institution_id, one.fund, one.fund, one.fund, 0, one.other, one.carried) for one in sorted(owed)]


def release(retained: Iterable[tuple[str, int]], results: dict[str, Decimal]) -> list[Released]:
    """What each institution gets of what was kept. Raises KeyError for one without a result, ValueError for no percentage."""
    made = []
    for institution_id, amount in sorted(retained):
        result = results[institution_id]
        released = share(amount, exact(result, "percent"))
        made.append(Released(institution_id, amount, result, released, amount - released))
    return made


def payment(region: str, paid: Paid) -> tuple[Posting, ...]:
    """The postings of an institution's month; none where nothing is owed."""
    payable, adjustment = journals.payable(paid.institution_id), journals.adjustment(region)
    more = paid.due - paid.incurred
    return _transfers(
        (adjustment, payable, more),
        (payable, adjustment, -more),
        (payable, journals.bank(region), paid.paid + paid.other),
        (payable, journals.retention(region, paid.institution_id), paid.retained),
    )


def releasing(region: str, one: Released) -> tuple[Posting, ...]:
    """The postings of a release."""
    kept = journals.retention(region, one.institution_id)
    return _transfers((kept, journals.bank(region), one.released), (kept, journals.adjustment(region), one.forfeited))


def repaying(region: str, institution_id: str, amount: int) -> tuple[Posting, ...]:
    """The posting of what an institution pays back."""
    return _transfers((journals.bank(region), journals.payable(institution_id), amount))


def _transfers(*wanted: tuple[str, str, int]) -> tuple[Posting, ...]:
    return tuple(Posting(debit, credit, amount) for debit, credit, amount in wanted if amount > 0)


class Forecast(NamedTuple):
    """Where a year is going: its cost if the coming months are like those so far; the month in which the money is gone."""

    cost: int
    left: int  # of the allocatable; below zero: so much is missing
    exhausted_in: int | None


def forecast(costs: Sequence[int], allocatable: int) -> Forecast | None:
    """From the cost of the months so far, the first of them January; None before there is one."""
    if not costs:
        return None
    cost = sum(costs) + split(sum(costs) * (MONTHS - len(costs)), [1] * len(costs))[0] if len(costs) < MONTHS else sum(costs)
    return Forecast(cost, allocatable - cost, _gone(costs, cost, allocatable))


def _gone(costs: Sequence[int], cost: int, allocatable: int) -> int | None:
    coming = MONTHS - len(costs)
    ahead = split(cost - sum(costs), [1] * coming) if coming else []
    spent = 0
    for month, amount in enumerate((*costs, *ahead), 1):
        spent += amount
        if spent > allocatable:
            return month
    return None
