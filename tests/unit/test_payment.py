"""Paying institutions: a table a rule of article 24, and laws against a second reckoning in fractions."""

import math
from collections.abc import Sequence
from decimal import Decimal
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.account import payment
from services.account.ledger import balances
from services.account.payment import Budget, Owed, Paid, Terms

TERMS = Terms(contributions=0, budget=76_000, reserve=50_000, bonus=50_000, at_once=950_000)
YUAN = 100


def owed(*costs: int) -> list[Owed]:
    return [Owed(f"H{number}", cost, 0, 0) for number, cost in enumerate(costs, 1)]


def test_the_budget_is_7_6_percent_less_reserve_less_care_elsewhere_in_twelve_parts() -> None:
    made = payment.budget(TERMS._replace(contributions=1_000_000_000 * YUAN), 2_200_000 * YUAN)
    assert made == Budget(76_000_000 * YUAN, 3_800_000 * YUAN, 2_200_000 * YUAN, 70_000_000 * YUAN)
    assert sum(made.of(month) for month in range(1, 13)) == made.allocatable
    assert {made.of(month) for month in range(1, 13)} == {583_333_333, 583_333_334}
    with pytest.raises(ValueError, match="13"):
        made.of(13)


def test_care_elsewhere_above_the_budget_leaves_nothing() -> None:
    assert payment.budget(TERMS._replace(contributions=100), 1_000).allocatable == 0


@pytest.mark.parametrize(
    ("incurred", "month", "due"),
    [
        (0, 1_000, 0),
        (800, 1_000, 840),  # 105 %
        (952, 1_000, 1_000),  # 105 % is 999.6, half up
        (953, 1_000, 1_000),  # 105 % would be more than the month has
        (1_000, 1_000, 1_000),
        (1_001, 1_000, 1_000),  # more than the month has: pro rata
        (5_000, 0, 0),
    ],
)
def test_what_all_get_together(incurred: int, month: int, due: int) -> None:
    assert payment.due_in_all(incurred, month, TERMS.bonus) == due


@pytest.mark.parametrize(
    ("costs", "month", "paid"),
    [
        ((10_000, 30_000), 100_000, [(10_500, 9_975, 525), (31_500, 29_925, 1_575)]),
        ((10_000, 30_000), 41_000, [(10_250, 9_738, 512), (30_750, 29_213, 1_537)]),
        ((10_000, 30_000), 20_000, [(5_000, 4_750, 250), (15_000, 14_250, 750)]),
        ((1, 1, 1), 2, [(1, 1, 0), (1, 1, 0), (0, 0, 0)]),  # a tie goes by the institution's id
        ((0, 7), 100, [(0, 0, 0), (7, 7, 0)]),
    ],
)
def test_shares_of_a_month(costs: Sequence[int], month: int, paid: list[tuple[int, int, int]]) -> None:
    made = payment.by_budget(owed(*costs), month, TERMS)
    assert [(one.due, one.paid, one.retained) for one in made] == paid
    assert [one.incurred for one in made] == list(costs)


def test_ties_go_by_the_institutions_id_whatever_the_order() -> None:
    one, other, third = owed(1, 1, 1)
    assert payment.by_budget([third, other, one], 2, TERMS) == payment.by_budget([one, other, third], 2, TERMS)


def test_what_is_not_the_funds_is_passed_on_untouched() -> None:
    [made] = payment.by_budget([Owed("H1", 100, 70, -3)], 50, TERMS)
    assert made == Paid("H1", 100, 50, 48, 2, 70, -3)


def test_by_item_is_what_was_incurred() -> None:
    assert payment.by_item([Owed("H2", 5, 1, 0), Owed("H1", 7, 0, -2)]) == [
        Paid("H1", 7, 7, 7, 0, 0, -2),
        Paid("H2", 5, 5, 5, 0, 1, 0),
    ]


def test_the_release_goes_by_the_result_and_the_rest_stays_with_the_fund() -> None:
    made = payment.release([("H2", 1_001), ("H1", 400)], {"H1": Decimal(100), "H2": Decimal("87.5")})
    assert [(one.institution_id, one.released, one.forfeited) for one in made] == [("H1", 400, 0), ("H2", 876, 125)]
    with pytest.raises(KeyError):
        payment.release([("H1", 1)], {})


def by_fractions(costs: Sequence[int], month: int, bonus: Fraction) -> list[int]:
    """Article 24 word by word, then the fen that are left over to the largest fractions."""
    whole = Fraction(sum(costs))
    if whole == 0:
        return [0] * len(costs)
    in_all = min(math.floor(whole * (1 + bonus) + Fraction(1, 2)), month) if whole <= month else month
    exact = [cost / whole * in_all for cost in map(Fraction, costs)]
    shares = [math.floor(one) for one in exact]
    order = sorted(range(len(costs)), key=lambda n: (shares[n] - exact[n], n))
    for n in order[: in_all - sum(shares)]:
        shares[n] += 1
    return shares


@given(st.lists(st.integers(0, 10**9), min_size=1, max_size=9), st.integers(0, 10**10), st.integers(0, 100_000))
def test_shares_add_up_to_the_fen_and_are_those_of_fractions(costs: list[int], month: int, bonus: int) -> None:
    terms = TERMS._replace(bonus=bonus)
    made = payment.by_budget(owed(*costs), month, terms)
    assert [one.due for one in made] == by_fractions(costs, month, Fraction(bonus, 10**6))
    assert sum(one.due for one in made) == payment.due_in_all(sum(costs), month, bonus) <= month
    for one in made:
        assert one.paid + one.retained == one.due
        assert abs(Fraction(one.due * 95, 100) - one.paid) <= Fraction(1, 2)
        ends = balances(payment.payment("440800", one))
        assert ends.get("payable:" + one.institution_id, 0) == -one.incurred
        assert (ends.get("bank:440800", 0), ends.get(f"retention:440800:{one.institution_id}", 0)) == (one.paid, one.retained)
        assert sum(ends.values()) == 0


@given(st.integers(0, 10**12))
def test_a_year_loses_no_fen_to_its_months(allocatable: int) -> None:
    assert sum(Budget(0, 0, 0, allocatable).of(month) for month in range(1, 13)) == allocatable


def test_the_forecast_goes_on_as_it_went_so_far() -> None:
    assert payment.forecast([], 100) is None
    assert payment.forecast([10, 20], 1_000) == payment.Forecast(cost=180, left=820, exhausted_in=None)
    assert payment.forecast([10, 20], 100) == payment.Forecast(cost=180, left=-80, exhausted_in=7)
    assert payment.forecast([10] * 12, 115) == payment.Forecast(cost=120, left=-5, exhausted_in=12)
