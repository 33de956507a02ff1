"""Which line of a member's history counts for a month: none is lost between two lines, and none is credited in two cities."""

from collections.abc import Sequence
from datetime import date, timedelta
from itertools import product

import pytest
from adjudication_cases import BAZHONG, CANGZHOU, KASHGAR, PACKS, POLICIES, SHIYAN, ZHANJIANG

from services.account.entitlement import Due, Month, Scale, Span
from services.account.leaving import Gone, is_back
from shared.policy import Policies
from shared.policy.lint import read_parameters

_GIVEN = {
    CANGZHOU: ("average_pension_2021.government", "average_pension_2021.enterprise"),
    BAZHONG: ("average_pension_2022.government", "average_pension_2022.enterprise"),
    SHIYAN: ("average_pension_2021",),
}
_FIGURES = {
    region: {name: [{"from": date(2020, 1, 1), "value": "3000.00"}] for name in names} for region, names in _GIVEN.items()
}
SUPPLIED = Policies(POLICIES.packs, read_parameters(_FIGURES, POLICIES.packs, PACKS.name))
MAY = Month.of("2023-05")


def line(
    region: str, since: str | date, covered_to: str | date | None = None, status: str = "active", base: int = 100_000
) -> Span:
    first, last = (date.fromisoformat(day) if isinstance(day, str) else day for day in (since, covered_to))
    assert first is not None
    return Span(region, status, "employee", "enterprise", first, last, None, base)


def came_to(history: Sequence[Span], month: Month = MAY) -> dict[str, int]:
    """What each of the cities credits."""
    dues = {region: Scale.of(SUPPLIED, region, month).due(history) for region in _GIVEN}
    return {region: due.amount for region, due in dues.items() if isinstance(due, Due)}


@pytest.mark.parametrize(
    ("history", "credited"),
    [
        pytest.param(
            [line(CANGZHOU, "2020-01-01", "2023-04-30", base=900_000), line(CANGZHOU, "2023-05-10")],
            {CANGZHOU: 2_000},
            id="insured again on the 10th: as who joins on it",
        ),
        pytest.param(
            [line(CANGZHOU, "2020-01-01", "2023-05-01"), line(CANGZHOU, "2023-05-10", base=900_000)],
            {CANGZHOU: 2_000},
            id="the old line covers the first day: as on that day",
        ),
        pytest.param(
            [line(CANGZHOU, "2020-01-01", "2023-04-30"), line(SHIYAN, "2023-05-10")],
            {SHIYAN: 2_000},
            id="moved on the 10th, the old line ended with the month before",
        ),
        pytest.param(
            [line(CANGZHOU, "2020-01-01"), line(SHIYAN, "2023-05-10")], {CANGZHOU: 2_000}, id="moved on the 10th without a gap"
        ),
        pytest.param(
            [line(BAZHONG, "2020-01-01", "2023-04-30"), line(BAZHONG, "2023-05-01", status="retired")],
            {BAZHONG: 2_000},
            id="retired on the first, the line as active ended the day before",
        ),
        pytest.param(
            [line(BAZHONG, "2020-01-01", "2023-04-30"), line(BAZHONG, "2023-05-10", status="retired")],
            {BAZHONG: 2_000},
            id="retired on the 10th, the line as active ended before",
        ),
        pytest.param(
            [line(BAZHONG, "2020-01-01", "2023-04-30"), line(BAZHONG, "2023-05-10", "2023-05-09", "retired")],
            {},
            id="retired by a line that covers no day",
        ),
        pytest.param(
            [line(CANGZHOU, "2020-01-01"), line(SHIYAN, "2023-05-01", status="retired")],
            {SHIYAN: 7_500},
            id="retired in another city on the first: not one day in the old one",
        ),
    ],
)
def test_the_month_is_that_of_the_first_day_on_which_he_is_covered(history: list[Span], credited: dict[str, int]) -> None:
    assert came_to(history) == credited


def test_who_gave_up_and_retires_after_a_gap_is_back_by_the_line_that_covers_him() -> None:
    history = [line(BAZHONG, "2020-01-01", "2023-04-20"), line(BAZHONG, "2023-05-10", status="retired")]
    now = Scale.of(SUPPLIED, BAZHONG, MAY).state(history)
    assert now is not None
    assert is_back(history, now, Gone(BAZHONG, date(2023, 4, 25), "gave_up"))


def _covering(history: Sequence[Span], day: date) -> Span | None:
    """The line in force on a day, where it covers it: looked up as a claim's is."""
    span = [span for span in history if span.valid_from <= day][-1]
    return span if span.covered_to is None or span.covered_to >= day else None


def test_a_month_with_a_covered_day_is_credited_once_and_one_without_never() -> None:
    ends = (None, *(date(2023, 4, 29) + timedelta(days) for days in (0, 1, 2, 10, 32)))
    begins = tuple(date(2023, 4, 30) + timedelta(days) for days in (0, 1, 2, 10, 31, 32))
    days = [MAY.first + timedelta(n) for n in range(MAY.last.day)]
    for old, new, states, end, begin, lasts in product(
        _GIVEN, _GIVEN, product(("active", "retired"), repeat=2), ends, begins, (None, -1, 0, 40)
    ):
        until = None if lasts is None else begin + timedelta(lasts)
        history = [line(old, "2020-01-01", end, states[0]), line(new, begin, until, states[1])]
        covering = next((span for day in days if (span := _covering(history, day)) is not None), None)
        assert set(came_to(history)) == (set() if covering is None else {covering.region}), history


@pytest.mark.parametrize(("paid_here", "amount"), [(None, None), ("2023-04", None), ("2023-05", 2_000)])
def test_a_month_paid_in_another_city_is_not_paid_in_this_one(paid_here: str | None, amount: int | None) -> None:
    before = line(CANGZHOU, "2020-01-01")._replace(paid_through="2023-12")
    now = line(ZHANJIANG, "2023-05-10")._replace(paid_through=paid_here)
    due = Scale.of(POLICIES, ZHANJIANG, MAY).due([before._replace(covered_to=date(2023, 4, 30)), now])
    assert (due.amount if isinstance(due, Due) else None) == amount


def test_a_figure_is_withdrawn_where_a_run_went_by_it_and_a_provisional_amount_would_stand_in_for_it_again() -> None:
    def scale(**supplied: str) -> Scale:
        given = {KASHGAR: {name: [{"from": date(2022, 1, 1), "value": value}] for name, value in supplied.items()}}
        return Scale.of(Policies(POLICIES.packs, read_parameters(given, POLICIES.packs, PACKS.name)), KASHGAR, MAY)

    now, published = scale(), scale(average_pension_2022="4321.99")
    retired, active = ("retired", "employee", "enterprise"), ("active", "employee", "enterprise")
    assert now.withdrawn([retired, active], published.words()) == {"average_pension_2022"}
    assert now.withdrawn([active], published.words()) == set()
    assert now.withdrawn([retired], now.words()) == now.withdrawn([retired], {}) == set()
    assert published.withdrawn([retired], published.words()) == scale(average_pension_2022="4400.00").withdrawn(
        [retired], published.words()
    ) == set()  # fmt: skip
