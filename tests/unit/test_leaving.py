"""Who left and is insured anew, as the register's history says it."""

from datetime import date

import pytest

from services.account.entitlement import Span
from services.account.leaving import Gone, is_back

CANGZHOU, BAZHONG = "130900", "511900"
LEFT = Gone(CANGZHOU, date(2023, 8, 1), "moved_out_of_province")


def line(region: str, since: str, covered_to: str | None = None) -> Span:
    until = None if covered_to is None else date.fromisoformat(covered_to)
    return Span(region, "active", "employee", "enterprise", date.fromisoformat(since), until, None, 620_000)


@pytest.mark.parametrize(
    ("history", "case", "back"),
    [
        ([line(CANGZHOU, "2022-01-01")], "moved_out_of_province", False),
        ([line(CANGZHOU, "2022-01-01"), line(BAZHONG, "2023-09-01")], "moved_out_of_province", True),
        ([line(CANGZHOU, "2022-01-01"), line(BAZHONG, "2023-08-01")], "moved_out_of_province", True),  # the day he left
        ([line(CANGZHOU, "2022-01-01"), line(BAZHONG, "2023-07-15")], "moved_out_of_province", True),  # the register came late
        ([line(CANGZHOU, "2022-01-01"), line(BAZHONG, "2023-09-01")], "died", False),
        ([line(BAZHONG, "2021-01-01"), line(CANGZHOU, "2022-01-01")], "moved_out_of_province", False),
        ([line(CANGZHOU, "2022-01-01"), line(CANGZHOU, "2023-09-01")], "gave_up", False),  # a new base is no return
        ([line(CANGZHOU, "2022-01-01", "2023-07-31"), line(CANGZHOU, "2024-01-01")], "gave_up", True),
        ([line(CANGZHOU, "2022-01-01", "2023-07-31"), line(CANGZHOU, "2023-08-01")], "gave_up", False),  # not after the closing
        (
            [line(CANGZHOU, "2022-01-01"), line(BAZHONG, "2023-09-01"), line(CANGZHOU, "2024-01-01")],
            "moved_out_of_province",
            True,
        ),
        ([line(CANGZHOU, "2023-09-01")], "moved_out_of_province", False),  # nothing is known of the day he left
    ],
)
def test_who_is_back(history: list[Span], case: str, back: bool) -> None:
    assert is_back(history, history[-1], LEFT._replace(case=case)) is back


def test_the_months_of_the_region_he_left_are_not_months_after_his_return() -> None:
    history = [line(CANGZHOU, "2022-01-01"), line(BAZHONG, "2023-09-01")]
    assert not is_back(history, history[0], LEFT)
