"""Whether the steps of a pack's benefits fit together: tables without holes, ratios up to 100 %, steps in their order."""

from collections.abc import Iterable, Iterator, Sequence
from datetime import date, timedelta
from decimal import Decimal
from itertools import chain
from typing import NamedTuple, get_args

from shared.policy.benefits import (
    AbovePooledCap,
    AnnualCap,
    AnnualDeductible,
    Benefit,
    PooledCap,
    Ratio,
    SpillOver,
    VisitCap,
    VisitDeductible,
)
from shared.policy.figure import Place, Row
from shared.policy.pack import Pack, PackVersion
from shared.policy.parameters import ParameterRow

Found = tuple[str, str, str]  # path, fault, remedy

STATUSES = ("active", "retired")
_NAMES = ("ordinary", "hypertension", "diabetes", "chronic", "special_drug", "day_surgery", "maternity")
_ORDER = {AnnualDeductible: 0, VisitDeductible: 0, Ratio: 1, VisitCap: 2, AnnualCap: 2, PooledCap: 2}


class Spot(NamedTuple):
    """A kind of member at a kind of place on a day."""

    day: date
    status: str
    place: str

    def __str__(self) -> str:
        where = self.place if self.place == "pharmacy" else f"level {self.place}"
        return f"{self.status} members at {where} on {self.day}"


def table_faults(pack: Pack) -> Iterator[Found]:
    """What does not fit, in every version and benefit."""
    for index, version in enumerate(pack.versions):
        for name, benefit in benefits_of(version):
            path = f"versions[{index}].benefits.{name}"
            spots = spots_of(version, own_days(benefit))
            yield from _order_faults(version, benefit, path)
            yield from _row_faults(benefit, path, spots)
            yield from _sum_faults(benefit, path, spots)


def benefits_of(version: PackVersion) -> Iterator[tuple[str, Benefit]]:
    """The benefits that a version has, by name."""
    named = ((name, getattr(version.benefits, name)) for name in _NAMES)
    return ((name, benefit) for name, benefit in named if benefit is not None)


def spots_of(version: PackVersion, changes: Iterable[date]) -> list[Spot]:
    """Everybody, everywhere, on the version's first day and on each of ``changes`` inside it."""
    places: tuple[str, ...] = ("1", "2", "3")
    pharmacy = version.benefits.levels.pharmacy
    if pharmacy is not None and pharmacy.as_ == "pharmacy":
        places += ("pharmacy",)
    days = {version.from_, *changes}
    inside = sorted(day for day in days if day >= version.from_ and (version.to is None or day <= version.to))
    return [Spot(day, status, place) for day in inside for status in STATUSES for place in places]


def tables(benefit: Benefit, path: str) -> Iterator[tuple[str, Sequence[Row]]]:
    """Every table of figures of a benefit, with its path."""
    for group in ("pool", "after"):
        for index, step in enumerate(getattr(benefit, group)):
            for name in ("amount", "first", "later", "table", "ratio", "cap"):
                rows = getattr(step, name, None)
                if rows is not None:
                    yield f"{path}.{group}[{index}].{name}", rows


def own_days(benefit: Benefit) -> set[date]:
    """The days on which one of the benefit's figures begins or has just ended."""
    days = set()
    points = [step.add for step in benefit.pool if isinstance(step, Ratio)]
    for rows in chain((rows for _, rows in tables(benefit, "")), points):
        for row in rows:
            if row.from_ is not None:
                days.add(row.from_)
            if row.to is not None and row.to < date.max:
                days.add(row.to + timedelta(days=1))
    return days


def _row_faults(benefit: Benefit, path: str, spots: Sequence[Spot]) -> Iterator[Found]:
    """For everybody, everywhere, on every day there is one row, and only one."""
    for place, rows in tables(benefit, path):
        for spot in spots:
            found = [row for row in rows if holds(row, spot)]
            if not found:
                yield place, f"no row for {spot}", "add the row"
                break
            if len(found) > 1:
                yield place, f"{len(found)} rows for {spot}", "narrow their level, status or dates"
                break


def overlap_faults(rows: Sequence[ParameterRow], day: date, path: str) -> Iterator[Found]:
    """Of a table that the operator supplies: nobody has two rows. Who has none is told so by each claim that needs one."""
    for spot in (Spot(day, status, place) for status in STATUSES for place in get_args(Place)):
        found = sum(row.holds_for(spot.status, spot.place) for row in rows)
        if found > 1:
            yield path, f"{found} rows for {spot}", "narrow their level or status"
            return


def _sum_faults(benefit: Benefit, path: str, spots: Sequence[Spot]) -> Iterator[Found]:
    """A ratio with its points is at most 100 %; a cap is not below a deductible. The first spot where it is not says enough."""
    for spot in spots:
        found = [*_ratio_faults(benefit, path, spot), *_cap_faults(benefit, path, spot)]
        if found:
            yield from found
            return


def _ratio_faults(benefit: Benefit, path: str, spot: Spot) -> Iterator[Found]:
    for index, step in enumerate(benefit.pool):
        if isinstance(step, Ratio):
            value = _value(step.table, spot)
            points = sum((row.value or 0 for row in step.add if holds(row, spot)), Decimal(0))
            if value is not None and value + points > 100:
                said = f"{value} % and {points} points are more than 100 % for {spot}"
                yield f"{path}.pool[{index}]", said, "correct one of them"


def _cap_faults(benefit: Benefit, path: str, spot: Spot) -> Iterator[Found]:
    """A visit's cap may be below the period's deductible, which many visits fill; not below what is deducted from one."""
    of_a_visit = [rows for step in benefit.pool if isinstance(step, VisitDeductible) for rows in (step.first, step.later)]
    of_a_period = [step.amount for step in benefit.pool if isinstance(step, AnnualDeductible)]
    for index, step in enumerate(benefit.pool):
        if isinstance(step, VisitCap | AnnualCap):
            deductibles = of_a_visit if isinstance(step, VisitCap) else [*of_a_visit, *of_a_period]
            deductible = max((_value(rows, spot) or Decimal(0) for rows in deductibles), default=Decimal(0))
            cap = _value(step.amount, spot)
            if cap is not None and cap < deductible:
                said = f"the cap {cap} is below the deductible {deductible} for {spot}"
                yield f"{path}.pool[{index}]", said, "correct one of them"


def _order_faults(version: PackVersion, benefit: Benefit, path: str) -> Iterator[Found]:
    """Deductibles, then one ratio, then caps; what goes above a cap needs the cap."""
    order = [_ORDER[type(step)] for step in benefit.pool]
    if order != sorted(order) or order.count(1) != 1:
        yield f"{path}.pool", "not deductibles, one ratio, caps, in this order", "put the steps in order"
    kinds = {type(step) for step in benefit.pool}
    for index, step in enumerate(benefit.after):
        place = f"{path}.after[{index}]"
        if isinstance(step, AbovePooledCap) and PooledCap not in kinds:
            yield place, "there is no pooled_cap to be above", "add a pooled_cap step to the pool"
        if isinstance(step, SpillOver):
            target: Benefit | None = getattr(version.benefits, step.to)
            if AnnualCap not in kinds:
                yield place, "there is no annual_cap to spill over", "add an annual_cap step to the pool"
            if target is None:
                yield f"{place}.to", f"the version has no benefit {step.to}", "name a benefit of this version"
            elif any(isinstance(other, SpillOver) for other in target.after):
                yield f"{place}.to", f"{step.to} spills over itself", "spill over to a benefit that does not"


def holds(row: Row, spot: Spot) -> bool:
    """Whether the row is meant for whom and where the spot is, on its day."""
    return row.holds_for(spot.status, spot.place) and row.holds_on(spot.day)


def _value(rows: Sequence[Row], spot: Spot) -> Decimal | None:
    return next((row.value for row in rows if holds(row, spot)), None)
