"""A second, naive engine: the five texts written down once more, over the whole history of claims and in fractions.

It shares no code with the product: no counters, no plans, no packs. What was used is what standing claims add up to.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import date
from fractions import Fraction
from math import floor

HALF = Fraction(1, 2)


@dataclass(frozen=True)
class Told:
    """What a claim says (yuan as fractions), and whose it is."""

    day: date
    at: str
    level: str  # "1", "2", "3", "none"
    pharmacy: bool
    status: str
    supplements: frozenset[str]
    benefit: str
    in_scope: Fraction
    pre_self_pay: Fraction


@dataclass(frozen=True)
class Paid:
    """What came of it. ``ordinary`` and ``special``: the pooled fund's parts by benefit. ``first``: Kashgar's visit."""

    told: Told
    deductible: Fraction = Fraction(0)
    ordinary: Fraction = Fraction(0)
    special: Fraction = Fraction(0)
    civil_servant: Fraction = Fraction(0)
    large_expense: Fraction = Fraction(0)
    veterans: Fraction = Fraction(0)
    visit: bool = False
    first: bool = False

    @property
    def pooled(self) -> Fraction:
        return self.ordinary + self.special


History = Sequence[Paid]


def to_fen(amount: Fraction) -> Fraction:
    """Half up to the fen."""
    return Fraction(floor(amount * 100 + HALF), 100)


def left(limit: int, used: Sequence[Fraction]) -> Fraction:
    """What is left of a limit, never below zero."""
    return max(Fraction(0), limit - sum(used, Fraction(0)))


def cangzhou(told: Told, past: History) -> Paid:
    year = [paid for paid in past if paid.told.day.year == told.day.year]
    deductible = min(told.in_scope, left(100, [p.deductible for p in year]))
    retired = told.status == "retired"
    part = to_fen((told.in_scope - deductible) * (Fraction(60, 100) if retired else Fraction(50, 100)))
    return Paid(told, deductible, min(part, left(1500 if retired else 1200, [p.ordinary for p in year])))


def zhanjiang(told: Told, past: History) -> Paid:
    year = [paid for paid in past if paid.told.day.year == told.day.year]
    points = {"1": 60, "none": 60, "2": 55, "3": 50}[told.level] + (3 if told.status == "retired" else 0)
    cap = 326 if told.day.year == 2022 else 1996
    part = to_fen(told.in_scope * Fraction(points, 100))
    return Paid(told, ordinary=min(part, left(cap, [p.ordinary for p in year])))


def bazhong(told: Told, past: History) -> Paid:
    year = [paid for paid in past if paid.told.day.year == told.day.year]
    if told.benefit != "ordinary":
        used = [p.special for p in year if p.told.benefit == told.benefit]
        limit = 200 if told.benefit == "hypertension" else 300
        return Paid(told, special=min(to_fen(told.in_scope / 2), left(limit, used)))
    retired = told.status == "retired"
    deductible = min(told.in_scope, left(150 if retired else 200, [p.deductible for p in year]))
    points = (50 if told.pharmacy or told.level == "3" else 60) + (10 if retired else 0)
    part = to_fen((told.in_scope - deductible) * Fraction(points, 100))
    pool = min(part, left(1000 if retired else 800, [p.ordinary for p in year]))
    rest = told.in_scope - pool
    servant = large = Fraction(0)
    if "civil_servant" in told.supplements:
        servant = min(to_fen(rest * Fraction(6, 10)), left(700, [p.civil_servant for p in year]))
        rest -= servant
    if "large_expense" in told.supplements:
        large = min(to_fen(rest * Fraction(7, 10)), left(600, [p.large_expense for p in year]))
    return Paid(told, deductible, pool, civil_servant=servant, large_expense=large)


CHRONIC_RATIO, CHRONIC_LIMIT = Fraction(7, 10), 400  # what the tests give as the operator's figures


def kashgar(told: Told, past: History) -> Paid:
    year = [paid for paid in past if paid.told.day.year == told.day.year]
    special, cost = Fraction(0), told.in_scope
    if told.benefit != "ordinary":
        full = to_fen(cost * CHRONIC_RATIO)
        special = min(full, left(CHRONIC_LIMIT, [p.special for p in year]))
        cost -= cost if special == full else min(cost, to_fen(special / CHRONIC_RATIO))
    deductible = pool = Fraction(0)
    visit = cost > 0
    first = False
    if visit:
        level = 2 if told.pharmacy else int(told.level.replace("none", "1"))
        same = [p for p in year if p.visit and (p.told.day, p.told.at) == (told.day, told.at)]
        first = same[0].first if same else not any(p.visit for p in year)
        threshold = ({1: 10, 2: 20, 3: 60} if first else {1: 5, 2: 10, 3: 30})[level]
        deductible = min(cost, left(threshold, [p.deductible for p in same]))
        points = {1: 75, 2: 65, 3: 55}[level] + (5 if told.status == "retired" else 0)
        part = to_fen((cost - deductible) * Fraction(points, 100))
        visit_left = left({1: 100, 2: 200, 3: 600}[level], [p.ordinary for p in same])
        pool = min(part, visit_left, left(3000, [p.ordinary for p in year]))
    veterans = Fraction(0)
    if "veteran_1_6" in told.supplements and not told.pharmacy:
        veterans = told.in_scope + told.pre_self_pay - pool - special
    return Paid(told, deductible, pool, special, veterans=veterans, visit=visit, first=first)


def shiyan(told: Told, past: History) -> Paid:
    year = [paid for paid in past if paid.told.day.year == told.day.year]
    deductible = min(told.in_scope, left(500, [p.deductible for p in year]))
    points = {"1": 80, "none": 80, "2": 65, "3": 50}[told.level] + (10 if told.status == "retired" else 0)
    part = to_fen((told.in_scope - deductible) * Fraction(points, 100))
    return Paid(told, deductible, min(part, left(3000, [p.ordinary for p in year])))


BOOKS: dict[str, Callable[[Told, History], Paid]] = {
    "130900": cangzhou,
    "440800": zhanjiang,
    "511900": bazhong,
    "653100": kashgar,
    "420300": shiyan,
}
