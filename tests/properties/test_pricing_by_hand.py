"""Pricing against a second implementation, in decimal fractions and sharing no code."""

from datetime import date
from decimal import ROUND_HALF_UP, Decimal

from hypothesis import given
from hypothesis import strategies as st

from services.eligibility.pricing import price
from shared.claim import Amounts, Line
from shared.register import CatalogueItem

FEN = Decimal("0.01")
CODES = ("A", "B", "C")


@st.composite
def decimals(draw: st.DrawFn, most: int, places: int) -> str:
    whole = draw(st.integers(0, most))
    digits = draw(st.integers(0, places))
    return str(whole) if digits == 0 else f"{whole}.{draw(st.integers(0, 10**digits - 1)):0{digits}d}"


items = st.builds(
    CatalogueItem,
    region=st.just("130900"),
    code=st.sampled_from(CODES),
    name=st.just("x"),
    category=st.sampled_from(("甲", "乙", "丙")),
    pre_self_pay_ratio=st.integers(0, 1_000_000),
    valid_from=st.just(date(2020, 1, 1)),
    price_limit=st.none() | st.integers(0, 10**9),
)
lines = st.builds(
    Line,
    line_no=st.just("1"),
    code=st.sampled_from(CODES),
    quantity=decimals(10_000, 4),
    unit_price=decimals(10_000, 6),
    amount=st.integers(0, 10**9),
)


def naive(bill: list[Line], catalogue: dict[str, CatalogueItem]) -> dict[str, Decimal]:
    sums = dict.fromkeys(("own_paid", "over_limit", "pre_self_pay", "in_scope"), Decimal(0))
    for line in bill:
        amount = Decimal(line.amount) / 100
        item = catalogue.get(line.code)
        if item is None or item.category == "丙":
            sums["own_paid"] += amount
            continue
        over = Decimal(0)
        if item.price_limit is not None:
            allowed = Decimal(line.quantity) * Decimal(item.price_limit) / 1_000_000
            over = max(Decimal(0), amount - allowed).quantize(FEN, ROUND_HALF_UP)
        first = ((amount - over) * item.pre_self_pay_ratio / 1_000_000).quantize(FEN, ROUND_HALF_UP)
        sums["over_limit"] += over
        sums["pre_self_pay"] += first
        sums["in_scope"] += amount - over - first
    return sums


def in_yuan(amounts: Amounts) -> dict[str, Decimal]:
    return {
        "own_paid": Decimal(amounts.own_paid) / 100,
        "over_limit": Decimal(amounts.over_limit) / 100,
        "pre_self_pay": Decimal(amounts.pre_self_pay) / 100,
        "in_scope": Decimal(amounts.in_scope) / 100,
    }


@given(st.lists(lines, max_size=8), st.lists(items, max_size=3))
def test_a_bill_is_priced_as_by_hand(bill: list[Line], listed: list[CatalogueItem]) -> None:
    catalogue = {item.code: item for item in listed}
    amounts, reasons = price(bill, catalogue.get)
    assert in_yuan(amounts) == naive(bill, catalogue)
    assert amounts.total == sum(line.amount for line in bill)
    assert [why.field for why in reasons] == [
        f"lines[{index}].code" for index, line in enumerate(bill) if line.code not in catalogue
    ]


@given(st.lists(lines, max_size=8), st.lists(items, max_size=3), st.integers(0, 8))
def test_splitting_a_bill_between_lines_changes_nothing(bill: list[Line], listed: list[CatalogueItem], cut: int) -> None:
    find = {item.code: item for item in listed}.get
    whole, first, second = (price(part, find)[0] for part in (bill, bill[:cut], bill[cut:]))
    assert whole.in_scope == first.in_scope + second.in_scope
    assert whole.pre_self_pay == first.pre_self_pay + second.pre_self_pay
    assert whole.over_limit == first.over_limit + second.over_limit
