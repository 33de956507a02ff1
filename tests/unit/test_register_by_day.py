"""What the register says on a day."""

from datetime import date

import pytest
from eligibility_world import CANGZHOU, SHIYAN, member, place

from services.eligibility.register import Register
from shared.register import CatalogueItem

DAYS = {"before": date(2019, 12, 31), "first": date(2020, 1, 1), "last": date(2021, 6, 30), "later": date(2023, 1, 1)}


@pytest.mark.parametrize(
    ("day", "region"),
    [("before", CANGZHOU), ("first", CANGZHOU), ("last", CANGZHOU), ("later", SHIYAN)],
)
def test_the_row_with_the_greatest_first_day_not_after_the_day_holds(day: str, region: str) -> None:
    rows = [member(SHIYAN, since="2021-07-01"), member(CANGZHOU, since="2020-01-01")]
    for order in (rows, rows[::-1]):
        facts = Register(members=order).member("M", DAYS[day])
        assert facts is not None
        assert facts.region == region


def test_who_has_no_row_is_unknown() -> None:
    empty = Register()
    assert empty.member("M", DAYS["first"]) is None
    assert empty.institution("H", DAYS["first"]) is None
    assert empty.host_of("H", DAYS["first"]) is None
    assert empty.item(CANGZHOU, "A", DAYS["first"]) is None
    assert empty.links("P", "M", DAYS["first"]) == []
    assert empty.filings("M", CANGZHOU, DAYS["first"]) == []
    assert not empty.stays("M", DAYS["first"])


def test_an_institution_before_its_first_row_is_known_and_not_designated() -> None:
    facts = Register(institutions=[place(CANGZHOU)]).institution("H", DAYS["before"])
    assert facts is not None
    assert not facts.designated


def test_an_institution_is_looked_at_once_a_day_and_not_confused_between_days() -> None:
    register = Register(institutions=[place(CANGZHOU, level="1"), place(CANGZHOU, level="3", since="2023-01-01")])
    levels = []
    for day in ("first", "later", "first"):
        facts = register.institution("H", DAYS[day])
        levels.append(None if facts is None else facts.level)
    assert levels == ["1", "3", "1"]


def test_an_item_holds_on_both_days_of_its_span_only() -> None:
    item = CatalogueItem(CANGZHOU, "A", "a", "甲", 0, DAYS["first"], DAYS["last"])
    register = Register(items=[item])
    assert [register.item(CANGZHOU, "A", day) is item for day in DAYS.values()] == [False, True, True, False]
