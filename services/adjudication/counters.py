"""Accumulators: what a member has used in a period, under which name (fen; names ending in ``_count`` are counts).

A city's deductibles and limits count what its own funds saw (Q39): who moves inside a year begins anew in the other city.
Names beginning with ``visit.`` run over one visit: the member's claims of one day at one institution.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping
from datetime import date
from typing import NamedTuple

VISITS = "visits_count"  # visits of the period that count
VISIT_CLAIMS = "visit.claims_count"  # standing claims of the visit that count
VISIT_FIRST = "visit.first_count"  # 1: the visit was the first of its period
VISIT_DEDUCTIBLE = "visit.deductible"
VISIT_FUND = "visit.fund"


class CounterKey(NamedTuple):
    """Whose accumulator, over what (``420300:2023``, see ``over``), of what."""

    member_id: str
    period: str
    name: str


class Counter(NamedTuple):
    """An accumulator's state. ``ceiling``: the highest ever applied, None if none was; ``version`` grows by writes."""

    used: int = 0
    ceiling: int | None = None
    version: int = 0


class Counters:
    """The accumulators a batch works on: reads what was loaded, remembers what it changed.

    ``rows``: all that is there to be read; None: whatever is asked for was never used. Raises KeyError for an accumulator that
    was not loaded: it would be taken for zero.
    """

    def __init__(self, rows: Mapping[CounterKey, Counter] | None = None) -> None:
        self._rows: dict[CounterKey, Counter] = defaultdict(Counter) if rows is None else dict(rows)
        self._changed: dict[CounterKey, Counter] = {}

    def __getitem__(self, key: CounterKey) -> Counter:
        """The accumulator."""
        return self._rows[key]

    def used(self, key: CounterKey) -> int:
        """What was used (fen, or a count)."""
        return self._rows[key].used

    def book(self, key: CounterKey, used: int, ceiling: int | None) -> None:
        """Sets what is used now, and the ceiling that was applied; the row keeps the highest.

        What was used before any ceiling was known is no breach: the ceiling starts from there.
        """
        old = self._rows[key]
        highest = old.ceiling
        if ceiling is not None:
            highest = max(ceiling, old.used if highest is None else highest)
        self._rows[key] = self._changed[key] = Counter(used, highest, old.version + 1)

    def apart(self) -> "Counters":
        """The same accumulators to try something on, which leaves these as they are."""
        other = Counters()
        other._rows = self._rows.copy()
        return other

    def take_changes(self) -> tuple[tuple[CounterKey, Counter], ...]:
        """What was booked since the last time this was asked."""
        changes = tuple(self._changed.items())
        self._changed.clear()
        return changes


def visit_period(day: date, institution_id: str) -> str:
    """The period of one visit: a day at an institution."""
    return f"{day.isoformat()}@{institution_id}"


def over(region: str, period: str) -> str:
    """What accumulators run over: a city's period or visit."""
    return f"{region}:{period}"


def keys(names: Iterable[str], member_id: str, region: str, period: str, visit: str) -> tuple[CounterKey, ...]:
    """The keys of a city's named accumulators, each in the period it runs over."""
    period, visit = over(region, period), over(region, visit)
    return tuple(CounterKey(member_id, visit if name.startswith("visit.") else period, name) for name in names)
