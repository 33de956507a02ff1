"""Prices a bill line by line against a catalogue (目录). Pure.

A line is priced so (contract.md, section 1). Category 丙 or an unknown code: all own-paid. Otherwise
over_limit = max(0, amount - quantity x price_limit), pre_self_pay = ratio x (amount - over_limit), and the rest is
in scope; each to the fen, half up, line by line.
"""

from collections.abc import Callable, Iterator, Sequence
from itertools import groupby
from typing import Final, NamedTuple, Protocol

from shared.claim import Amounts, Line
from shared.money import half_up, share
from shared.reasons import Reason, reason

OUTSIDE: Final = "丙"
_QUANTITY_PLACES: Final = 4
_MICRO_YUAN_PER_FEN: Final = 10_000
MOST_NAMED: Final = 100  # unknown lines with a reason each; each repeat of the claim is answered with all of them


def quantity_units(quantity: str) -> int:
    """A quantity with at most four decimals, in ten-thousandths. Raises ValueError for more places."""
    whole, _, places = quantity.partition(".")
    if len(places) > _QUANTITY_PLACES:
        raise ValueError("a quantity has at most four decimals")
    return int(whole + places.ljust(_QUANTITY_PLACES, "0"))


class Listed(Protocol):
    """What a catalogue says of an item: ratio in parts per million, limit in millionths of a yuan a unit."""

    @property
    def category(self) -> str: ...
    @property
    def pre_self_pay_ratio(self) -> int: ...
    @property
    def price_limit(self) -> int | None: ...


class Priced(NamedTuple):
    """How a line's amount divides (fen)."""

    own_paid: int
    over_limit: int
    pre_self_pay: int
    in_scope: int


def divide(line: Line, item: Listed | None) -> Priced:
    """One line, by its catalogue item; None: its code is unknown."""
    if item is None or item.category == OUTSIDE:
        return Priced(line.amount, 0, 0, 0)
    over = _over_limit(line, item)
    first = share(line.amount - over, item.pre_self_pay_ratio)
    return Priced(0, over, first, line.amount - over - first)


def price(
    lines: Sequence[Line], find: Callable[[str], Listed | None], named: int = MOST_NAMED
) -> tuple[Amounts, tuple[Reason, ...]]:
    """The bill's amounts (fen), and why lines are own-paid whose code ``find`` does not know.

    The first ``named`` such lines have a reason each; all after them have one together, whose ``field`` lists them.
    """
    own_paid = over_limit = pre_self_pay = in_scope = 0
    unknown: list[int] = []
    for index, line in enumerate(lines):
        item = find(line.code)
        if item is None:
            unknown.append(index)
        own, over, first, rest = divide(line, item)
        own_paid += own
        over_limit += over
        pre_self_pay += first
        in_scope += rest
    amounts = Amounts(
        total=own_paid + over_limit + pre_self_pay + in_scope,
        own_paid=own_paid,
        over_limit=over_limit,
        pre_self_pay=pre_self_pay,
        in_scope=in_scope,
    )
    further = (_further(unknown[named:]),) if len(unknown) > named else ()
    return amounts, (*(_unknown(index, lines[index]) for index in unknown[:named]), *further)


def _over_limit(line: Line, item: Listed) -> int:
    if item.price_limit is None:
        return 0
    # ten-thousandths x millionths of a yuan: exact, and only then rounded
    scale = 10**_QUANTITY_PLACES * _MICRO_YUAN_PER_FEN
    over = line.amount * scale - quantity_units(line.quantity) * item.price_limit
    return half_up(over, scale) if over > 0 else 0


def _unknown(index: int, line: Line) -> Reason:
    return reason(
        "unknown_item",
        field=f"lines[{index}].code",
        zh=f"第 {line.line_no} 行 {line.code}",
        en=f"line {line.line_no}, {line.code}",
    )


def _further(unknown: Sequence[int]) -> Reason:
    """One reason for many lines: ``lines[100-104,107].code``, counted from 0 as everywhere in ``field``."""
    return reason(
        "unknown_item",
        field=f"lines[{','.join(_runs(unknown))}].code",
        zh=f"另有 {len(unknown)} 行，位置（自 0 起）见 field",
        en=f"{len(unknown)} further lines, at the places in field (from 0)",
    )


def _runs(numbers: Sequence[int]) -> Iterator[str]:
    """Ascending numbers, those that follow each other as one: 3, 4, 5, 8 are ``3-5`` and ``8``."""
    for _, run in groupby(enumerate(numbers), key=lambda pair: pair[1] - pair[0]):
        members = [number for _, number in run]
        yield str(members[0]) if len(members) == 1 else f"{members[0]}-{members[-1]}"
