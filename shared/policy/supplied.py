"""Whether the ratios of a pack stay within 100 % with what the operator supplies."""

from collections.abc import Iterator
from decimal import Decimal
from itertools import product
from typing import Final

from shared.policy.benefits import Benefit, Ratio
from shared.policy.figure import Row
from shared.policy.pack import Pack, PackVersion
from shared.policy.parameters import Figures
from shared.policy.tables import Found, Spot, benefits_of, holds, own_days, spots_of

_WHOLE: Final = 100


def supplied_faults(pack: Pack, figures: Figures) -> Iterator[Found]:
    """Ratios that points bring above 100 %, where one of the two is supplied: by its name, each told once."""
    found: dict[str, Found] = {}
    for version in pack.versions:
        for name, benefit in benefits_of(version):
            for fault in _faults(version, name, benefit, figures):
                found.setdefault(fault[0], fault)
    yield from found.values()


def _faults(version: PackVersion, name: str, benefit: Benefit, figures: Figures) -> Iterator[Found]:
    with_points = [step for step in benefit.pool if isinstance(step, Ratio) and step.add]
    if not with_points:  # a figure alone is checked by its unit
        return
    remedy = f"lower it, or the other of the two in benefits.{name} of version {version.version}"
    spots = spots_of(version, own_days(benefit) | figures.boundaries())
    for called, spot, step in product(_called(name, figures), spots, with_points):
        rows = [row for row in (*step.table, *step.add) if holds(row, spot)]  # of the table there is one
        needed = [_parameter(row, called) for row in rows if row.needs is not None]
        values = [value for row in rows if (value := _value(row, called, figures, spot)) is not None]
        if needed and len(values) == len(rows) and sum(values) > _WHOLE:
            yield needed[0], f"{values[0]} % and {sum(values[1:])} points are more than 100 % for {spot}", remedy


def _called(benefit: str, figures: Figures) -> list[str]:
    """What ``{benefit}`` stands for: the benefit, and with each of its codes that the operator names."""
    coded = {name.rpartition(".")[0] for name in figures.given if name.startswith(f"{benefit}:")}
    return [benefit, *sorted(coded)]


def _value(row: Row, called: str, figures: Figures, spot: Spot) -> Decimal | None:
    """The figure that holds for the spot; None where it is not supplied: then no claim gets so far."""
    if row.needs is None:
        return row.value
    given = figures.at(_parameter(row, called), spot.day)
    if given is None or isinstance(given, Decimal):
        return given
    return next((one.value for one in given if one.holds_for(spot.status, spot.place)), None)


def _parameter(row: Row, called: str) -> str:
    return (row.needs or "").replace("{benefit}", called)
