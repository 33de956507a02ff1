"""Prices a bill line by line against a catalogue (目录). Pure.

A line is priced so (contract.md, section 1). Category 丙 or an unknown code: all own-paid. Otherwise
over_limit = max(0, amount - quantity x price_limit), pre_self_pay = ratio x (amount - over_limit), and the rest is
in scope; each to the fen, half up, line by line.
"""

from collections.abc import Callable, Sequence
from typing import Final

from shared.claim import Amounts, Line
from shared.money import half_up, share
from shared.reasons import Reason, reason
from shared.register import CatalogueItem

OUTSIDE: Final = "丙"
_QUANTITY_PLACES: Final = 4
_MICRO_YUAN_PER_FEN: Final = 10_000


def quantity_units(quantity: str) -> int:
    """A quantity with at most four decimals, in ten-thousandths. Raises ValueError for more places."""
    whole, _, places = quantity.partition(".")
    if len(places) > _QUANTITY_PLACES:
        raise ValueError("a quantity has at most four decimals")
    return int(whole + places.ljust(_QUANTITY_PLACES, "0"))


def price(lines: Sequence[Line], find: Callable[[str], CatalogueItem | None]) -> tuple[Amounts, tuple[Reason, ...]]:
    """The bill's amounts (fen), and a reason for each line whose code ``find`` does not know."""
    own_paid = over_limit = pre_self_pay = in_scope = 0
    unknown: list[Reason] = []
    for index, line in enumerate(lines):
        item = find(line.code)
        if item is None:
            unknown.append(_unknown(index, line))
        if item is None or item.category == OUTSIDE:
            own_paid += line.amount
            continue
        over = _over_limit(line, item)
        first = share(line.amount - over, item.pre_self_pay_ratio)
        over_limit += over
        pre_self_pay += first
        in_scope += line.amount - over - first
    amounts = Amounts(
        total=own_paid + over_limit + pre_self_pay + in_scope,
        own_paid=own_paid,
        over_limit=over_limit,
        pre_self_pay=pre_self_pay,
        in_scope=in_scope,
    )
    return amounts, tuple(unknown)


def _over_limit(line: Line, item: CatalogueItem) -> int:
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
