"""What a member is shown of his deductibles and caps: the figures of each city's regulation, and what is left of them."""

from datetime import date
from typing import Any

import pytest
from adjudication_cases import BAZHONG, CANGZHOU, KASHGAR, PACKS, SHIYAN, ZHANJIANG

from services.accumulators import entries, limits_of
from services.adjudication.counters import VISITS
from shared.events import MemberFacts
from shared.policy import Policies

DAY = date(2023, 5, 2)
ALL = "123"
POLICIES = Policies.load(PACKS)

# Name, levels, limit and article of what a member without qualifications sees (policy.md, sections 1 and 2).
ACTIVE = {
    CANGZHOU: [("ordinary.deductible", ALL, "100.00", "10"), ("ordinary.fund", ALL, "1200.00", "10")],
    ZHANJIANG: [("ordinary.fund", ALL, "1996.00", "28")],
    BAZHONG: [
        ("ordinary.deductible", ALL, "200.00", "13"), ("ordinary.fund", ALL, "800.00", "13"),
        ("civil_servant.fund", ALL, "700.00", "14"), ("large_expense.fund", ALL, "600.00", "14"),
        ("hypertension.fund", ALL, "200.00", "15"), ("diabetes.fund", ALL, "300.00", "15"),
    ],
    KASHGAR: [
        ("visit.deductible", "1", "10.00", "10"), ("visit.fund", "1", "100.00", "10"),
        ("visit.deductible", "2", "20.00", "10"), ("visit.fund", "2", "200.00", "10"),
        ("visit.deductible", "3", "60.00", "10"), ("visit.fund", "3", "600.00", "10"),
        ("ordinary.fund", ALL, "3000.00", "10"),
    ],
    SHIYAN: [("ordinary.deductible", ALL, "500.00", "5"), ("ordinary.fund", ALL, "3000.00", "5")],
}  # fmt: skip


def shown(region: str, status: str = "active", used: dict[str, int] | None = None) -> list[dict[str, Any]]:
    version = POLICIES.on(region, DAY)
    assert version is not None
    member = MemberFacts(
        region=region, status=status, employment="employee", sector="government", valid_from=date(2020, 1, 1),
        supplements=("civil_servant", "large_expense"),
    )  # fmt: skip
    return list(entries(limits_of(version, member, DAY), used or {}))


@pytest.mark.parametrize("region", ACTIVE)
def test_the_figures_are_those_of_the_regulation_with_their_articles(region: str) -> None:
    seen = [(one["name"], "".join(one["levels"]), one["limit"], one["article"]) for one in shown(region)]
    assert sorted(seen) == sorted((name, levels, limit, f"{region}:{article}") for name, levels, limit, article in ACTIVE[region])


def test_retired_members_have_figures_of_their_own() -> None:
    assert [one["limit"] for one in shown(CANGZHOU, "retired")] == ["100.00", "1500.00"]
    assert [one["limit"] for one in shown(BAZHONG, "retired")][:2] == ["150.00", "1000.00"]


def test_what_is_used_is_taken_from_what_is_left_and_never_below_zero() -> None:
    used = {"ordinary.deductible": 4_000, "ordinary.fund": 130_000}  # retired when it was used, or a ceiling that was lowered
    assert [(one["used"], one["left"]) for one in shown(CANGZHOU, used=used)] == [("40.00", "60.00"), ("1300.00", "0.00")]


def test_after_the_first_visit_the_smaller_deductible_is_what_awaits() -> None:
    later = shown(KASHGAR, used={VISITS: 1, "ordinary.fund": 5_000})
    assert [one["limit"] for one in later if one["name"] == "visit.deductible"] == ["5.00", "10.00", "30.00"]
    assert [one["left"] for one in later if one["name"] == "ordinary.fund"] == ["2950.00"]
    assert later[-1] == {"name": VISITS, "kind": "count", "per": "period", "used": 1}
