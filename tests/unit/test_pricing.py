"""A bill priced line by line, to the fen. Amounts in yuan, for those who read them."""

from datetime import date

import msgspec
import pytest

from services.eligibility.pricing import price
from shared.claim import Line
from shared.money import fen, yuan
from shared.register import CatalogueItem

START = date(2020, 1, 1)


def item(category: str, ratio_percent: int, limit_micro_yuan: int | None = None) -> CatalogueItem:
    return CatalogueItem("130900", "A", "a", category, ratio_percent * 10_000, START, None, limit_micro_yuan)  # type: ignore[arg-type]


def line(quantity: str, unit_price: str, amount: str, line_no: str = "1") -> Line:
    return Line(line_no=line_no, code="A", quantity=quantity, unit_price=unit_price, amount=fen(amount))


@pytest.mark.parametrize(
    ("listed", "bought", "own_paid", "over_limit", "pre_self_pay", "in_scope"),
    [
        pytest.param(item("甲", 0), line("2", "50", "100"), "0.00", "0.00", "0.00", "100.00", id="甲: all in scope"),
        pytest.param(item("乙", 10), line("2", "50", "100"), "0.00", "0.00", "10.00", "90.00", id="乙: a tenth first"),
        pytest.param(item("丙", 0), line("2", "50", "100"), "100.00", "0.00", "0.00", "0.00", id="丙: all own-paid"),
        pytest.param(item("丙", 10, 1), line("2", "50", "100"), "100.00", "0.00", "0.00", "0.00", id="丙: whatever else"),
        pytest.param(None, line("2", "50", "100"), "100.00", "0.00", "0.00", "0.00", id="unknown: all own-paid"),
        pytest.param(item("乙", 10, 40_000_000), line("2", "50", "100"), "0.00", "20.00", "8.00", "72.00", id="over the limit"),
        pytest.param(item("甲", 0, 50_000_000), line("2", "50", "100"), "0.00", "0.00", "0.00", "100.00", id="at the limit"),
        pytest.param(item("甲", 0, 60_000_000), line("2", "50", "100"), "0.00", "0.00", "0.00", "100.00", id="under the limit"),
        pytest.param(item("甲", 0, 0), line("2", "50", "100"), "0.00", "100.00", "0.00", "0.00", id="a limit of nothing"),
        pytest.param(item("乙", 10), line("1", "0.05", "0.05"), "0.00", "0.00", "0.01", "0.04", id="half a fen goes up"),
        pytest.param(item("甲", 0, 333_333), line("1.5", "1", "1.50"), "0.00", "1.00", "0.00", "0.50", id="1.0000005 over"),
        pytest.param(item("甲", 0, 5_000), line("1", "0.01", "0.01"), "0.00", "0.01", "0.00", "0.00", id="half a fen over"),
        pytest.param(item("甲", 0, 5_001), line("1", "0.01", "0.01"), "0.00", "0.00", "0.00", "0.01", id="under half a fen over"),
        pytest.param(item("乙", 100), line("1", "1", "1"), "0.00", "0.00", "1.00", "0.00", id="all of it first"),
        pytest.param(item("甲", 0), line("0", "1", "0"), "0.00", "0.00", "0.00", "0.00", id="nothing bought"),
        pytest.param(item("甲", 0, 1_000_000), line("0.0001", "1", "0.01"), "0.00", "0.01", "0.00", "0.00", id="four decimals"),
    ],
)
def test_a_line_is_priced_as_the_contract_says(
    listed: CatalogueItem | None, bought: Line, *, own_paid: str, over_limit: str, pre_self_pay: str, in_scope: str
) -> None:
    amounts, _ = price([bought], {"A": listed}.get)
    parts = [amounts.own_paid, amounts.over_limit, amounts.pre_self_pay, amounts.in_scope]
    assert [yuan(part) for part in parts] == [own_paid, over_limit, pre_self_pay, in_scope]
    assert amounts.total == bought.amount


def test_each_line_is_rounded_by_itself() -> None:
    bill = [line("1", "0.05", "0.05", str(n)) for n in range(1, 11)]
    amounts, _ = price(bill, {"A": item("乙", 10)}.get)
    assert (amounts.total, amounts.pre_self_pay) == (50, 10)  # ten half fen, each up; together they were five


def test_an_unknown_code_is_named_with_its_place_in_the_bill() -> None:
    bill = [line("1", "1", "1", "10"), line("1", "1", "1", "20")]
    known = {"A": item("甲", 0)}
    _, reasons = price([bill[0], Line(line_no="20", code="X", quantity="1", unit_price="1", amount=100)], known.get)
    assert [(why.code, why.field) for why in reasons] == [("unknown_item", "lines[1].code")]
    assert "20" in reasons[0].zh
    assert "X" in reasons[0].en


@pytest.mark.parametrize(
    ("known", "named", "field"),
    [
        pytest.param((), 5, None, id="as many as may be named"),
        pytest.param((), 4, "lines[4].code", id="one further"),
        pytest.param((), 2, "lines[2-4].code", id="those that follow each other as one"),
        pytest.param((1, 3), 1, "lines[2,4].code", id="what is known between them is left out"),
        pytest.param((3,), 1, "lines[1-2,4].code", id="both"),
        pytest.param((), 0, "lines[0-4].code", id="from the first line"),
    ],
)
def test_unknown_codes_beyond_those_named_share_one_reason(known: tuple[int, ...], named: int, field: str | None) -> None:
    bill = [Line(line_no=f"{n + 1}", code=f"C{n}", quantity="1", unit_price="1", amount=100) for n in range(5)]
    _, reasons = price(bill, {f"C{n}": item("甲", 0) for n in known}.get, named)
    unknown = [n for n in range(5) if n not in known]
    fields = [f"lines[{n}].code" for n in unknown[:named]]
    assert [why.field for why in reasons] == fields + ([field] if field else [])
    assert {why.code for why in reasons} == {"unknown_item"}
    assert not field or f"{len(unknown) - named} further lines" in reasons[-1].en


def test_a_bill_of_ten_thousand_unknown_codes_has_reasons_that_stay_small() -> None:
    bill = [Line(line_no=f"{n}", code=f"{n:064}", quantity="1", unit_price="1", amount=100) for n in range(10_000)]
    for find in ({}, {one.code: item("甲", 0) for one in bill[::2]}):
        amounts, reasons = price(bill, find.get)
        assert amounts.own_paid == 100 * (10_000 - len(find))
        assert len(msgspec.json.encode(reasons)) < 64_000


def test_a_listed_item_of_category_three_has_no_reason() -> None:
    assert price([line("1", "1", "1")], {"A": item("丙", 0)}.get)[1] == ()


def test_a_quantity_of_five_decimals_is_no_quantity() -> None:
    with pytest.raises(ValueError, match="four decimals"):
        price([line("0.00001", "1", "1")], {"A": item("甲", 0, 1)}.get)
