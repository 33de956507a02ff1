"""Prices a bill line by line against a catalogue (目录). Pure.

A line is priced so (contract.md, section 1). Category 丙 or an unknown code: all own-paid. Otherwise
over_limit = max(0, amount - quantity x price_limit), pre_self_pay = ratio x (amount - over_limit), and the rest is
in scope; each to the fen, half up, line by line.
"""

from collections.abc import Callable, Sequence
from typing import Final, NamedTuple, Protocol

from shared.claim import Amounts, Line
from shared.money import half_up, share
from shared.reasons import Reason, reason

OUTSIDE: Final = "丙"
_QUANTITY_PLACES: Final = 4
_MICRO_YUAN_PER_FEN: Final = 10_000


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


def price(lines: Sequence[Line], find: Callable[[str], Listed | None]) -> tuple[Amounts, tuple[Reason, ...]]:
    """The bill's amounts (fen), and a reason for each line whose code ``find`` does not know."""
    own_paid = over_limit = pre_self_pay = in_scope = 0
    unknown: list[Reason] = []
    for index, line in enumerate(lines):
        item = find(line.code)
        if item is None:
            unknown.append(_unknown(index, line))
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
    return amounts, tuple(unknown)


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
