"""The verdict: the order of its reasons, and the evidence."""

from datetime import date
from typing import Any

import pytest
from eligibility_world import (
    BAZHONG,
    CANGZHOU,
    DAY,
    KASHGAR,
    POLICIES,
    SHIYAN,
    ZHANJIANG,
    filing,
    finding,
    judge,
    member,
    on,
    pharmacy,
    place,
)

from shared.claim import Amounts, Line
from shared.reasons import REJECTED, SETTLED
from shared.register import CatalogueItem, InpatientStay, RegisterRecord

UNSERVED = "110000"


# --- rejections, and their order


@pytest.mark.parametrize(
    ("region", "rows", "changes", "code"),
    [
        pytest.param(CANGZHOU, (), {"insured_region": UNSERVED}, "region_not_served", id="the claim's region"),
        pytest.param(CANGZHOU, (), {"member_id": "N"}, "unknown_member", id="no such member"),
        pytest.param(UNSERVED, (), {}, "region_not_served", id="the register's region"),
        pytest.param(UNSERVED, (), {"insured_region": CANGZHOU}, "region_not_served", id="the register's counts"),
        pytest.param(SHIYAN, (), {"insured_region": CANGZHOU}, "open", id="served both: the register's counts"),
        pytest.param(CANGZHOU, (), {"institution_id": "I"}, "unknown_institution", id="no such institution"),
        pytest.param(SHIYAN, (), {"visited_at": on("2022-12-30")}, "policy_not_in_force", id="the day before the policy"),
        pytest.param(SHIYAN, (), {"visited_at": on("2022-12-31")}, "open", id="the policy's first day"),
        pytest.param(SHIYAN, (), {"visited_at": on("2023-12-30")}, "open", id="the policy's last day"),
        pytest.param(SHIYAN, (), {"visited_at": on("2023-12-31")}, "policy_not_in_force", id="the day after"),
        pytest.param(
            SHIYAN,
            (),
            {"visited_at": "2023-12-30T16:00:00+00:00"},
            "policy_not_in_force",
            id="midnight in Shanghai ends the last day",
        ),
        pytest.param(SHIYAN, (), {"visited_at": "2023-12-30T15:59:59+00:00"}, "open", id="a second before midnight in Shanghai"),
        pytest.param(CANGZHOU, (), {"visited_at": on("0001-01-01")}, "policy_not_in_force", id="the year 1"),
        pytest.param(CANGZHOU, (), {"visited_at": on("9999-12-31")}, "open", id="the year 9999, no end of the policy"),
    ],
)
def test_a_claim_is_rejected_before_the_law_is_asked_about_funds(
    region: str, rows: tuple[RegisterRecord, ...], changes: dict[str, Any], code: str
) -> None:
    verdict = judge(region, *rows, **changes)
    assert finding(verdict)[0] == code
    if code != "open":
        assert code in REJECTED
        assert not verdict.fund_closed
        assert not verdict.account_open
        assert not verdict.family_allowed


def test_rejections_come_in_one_order() -> None:
    """Everything is wrong at once; what is mended step by step uncovers the next reason."""
    wrong: dict[str, Any] = {
        "insured_region": UNSERVED,
        "member_id": "N",
        "institution_id": "I",
        "visited_at": on("2020-01-01"),
        "channel": "manual",
        "submitted_at": on("2026-01-01"),
        "excluded_as": "abroad",
    }
    mended: list[dict[str, Any]] = [
        {},
        {"insured_region": None},
        {"member_id": "U"},
        {"member_id": "M"},
        {"institution_id": "H"},
        {"visited_at": on(DAY)},
        {"submitted_at": on(DAY)},
        {"excluded_as": None},
    ]
    found = []
    for step in mended:
        wrong |= step
        verdict = judge(BAZHONG, member(BAZHONG), member(UNSERVED, "U"), **wrong)
        found.append(finding(verdict)[0])
    assert found == [
        "region_not_served",
        "unknown_member",
        "region_not_served",
        "unknown_institution",
        "policy_not_in_force",
        "manual_after_deadline",
        "excluded_abroad",
        "open",
    ]


def test_grounds_come_in_one_order() -> None:
    """A worst case in Cangzhou and one in Zhanjiang, mended step by step."""
    far = "120000"
    steps: list[tuple[str, list[RegisterRecord], dict[str, Any]]] = [
        (
            "not_in_benefit_period",
            [member(KASHGAR, covered_to=date(2023, 1, 1)), place(far, since="2024-01-01", kind="pharmacy")],
            {"excluded_as": "abroad", "channel": "internet"},
        ),
        (
            "excluded_abroad",
            [member(KASHGAR), place(far, since="2024-01-01", kind="pharmacy")],
            {"excluded_as": "abroad", "channel": "internet"},
        ),
        ("inpatient_stay", [place(far, since="2024-01-01", kind="pharmacy")], {"channel": "internet"}),
        ("institution_not_designated", [place(far, since="2024-01-01", kind="pharmacy")], {"channel": "internet"}),
        ("prescription_required", [pharmacy(far)], {"channel": "internet"}),
        ("internet_not_covered", [place(far, kind="internet", level="none")], {"channel": "internet"}),
        ("remote_not_filed", [place(far)], {}),
        ("open", [place(far), filing(far, "posted")], {}),
    ]
    stay = InpatientStay("M", "X", DAY)
    found = []
    for code, rows, changes in steps:
        stays = [stay] if code in ("not_in_benefit_period", "excluded_abroad", "inpatient_stay") else []
        found.append(finding(judge(KASHGAR, *rows, *stays, **changes))[0])
    assert found == [code for code, _, _ in steps]


@pytest.mark.parametrize(
    ("region", "rows", "changes", "first", "then"),
    [
        pytest.param(
            CANGZHOU,
            (pharmacy("130100", pooled_outpatient=False),),
            {},
            "pharmacy_not_covered",
            "prescription_required",
            id="the pharmacy before the prescription",
        ),
        pytest.param(
            CANGZHOU,
            (place(CANGZHOU, level="1", since="2023-06-01"),),
            {},
            "institution_not_designated",
            "level_too_low",
            id="designation before the level",
        ),
        pytest.param(
            ZHANJIANG,
            (place("440100"),),
            {"channel": "internet"},
            "internet_not_covered",
            "remote_not_filed",
            id="internet before filing",
        ),
        pytest.param(
            CANGZHOU,
            (place("130100", level="1"),),
            {"benefit": "ordinary", "channel": "internet"},
            "level_too_low",
            "open",
            id="the level before internet",
        ),
        pytest.param(
            KASHGAR,
            (place("650100"),),
            {"benefit": "chronic:X"},
            "remote_not_filed",
            "benefit_not_qualified",
            id="filing before the qualification",
        ),
    ],
)
def test_the_first_ground_hides_the_next(
    region: str, rows: tuple[RegisterRecord, ...], changes: dict[str, Any], first: str, then: str
) -> None:
    mending: dict[str, tuple[RegisterRecord, ...]] = {
        "pharmacy_not_covered": (pharmacy(region),),
        "institution_not_designated": (place(region, level="1"),),
        "internet_not_covered": rows,
        "level_too_low": (place("130100"),),
        "remote_not_filed": (place(region),),
    }
    assert finding(judge(region, *rows, **changes))[0] == first
    mended = changes if first != "internet_not_covered" else {}
    assert finding(judge(region, *mending[first], **mended))[0] == then


# --- the evidence


def test_the_evidence_says_who_came_where_under_which_rules() -> None:
    insured = member(KASHGAR, status="retired", sector="government", supplements=("veteran_1_6",))
    verdict = judge(KASHGAR, insured, pharmacy(KASHGAR), place(KASHGAR, "D", level="3"), prescribed_by="D")
    version = POLICIES.on(KASHGAR, DAY)
    assert version is not None
    assert verdict.policy == version.ref
    assert (verdict.region, verdict.care_region) == (KASHGAR, KASHGAR)
    assert verdict.member is not None
    assert (verdict.member.status, verdict.member.supplements) == ("retired", ("veteran_1_6",))
    assert verdict.institution is not None
    assert verdict.institution.kind == "pharmacy"
    assert verdict.prescriber is not None
    assert verdict.prescriber.level == "3"
    assert verdict.host is None


def test_the_host_of_an_internet_hospital_is_evidence() -> None:
    online = place(KASHGAR, kind="internet", level="none", host_institution_id="P")
    verdict = judge(KASHGAR, online, place(KASHGAR, "P", level="3"), channel="internet")
    assert verdict.host is not None
    assert verdict.host.level == "3"


def test_amounts_that_are_given_stay_as_they_are() -> None:
    given = Amounts(total=10, own_paid=1, over_limit=2, pre_self_pay=3, in_scope=4)
    assert judge(CANGZHOU, amounts=given, total=10).amounts == given


def test_lines_are_priced_by_the_catalogue_of_the_place_of_care_on_the_day() -> None:
    far = "110000"
    ratio_ppm = {"home": 0, "before": 0, "on the day": 250_000, "later": 0}
    items = [
        CatalogueItem(CANGZHOU, "A", "home", "甲", ratio_ppm["home"], date(2020, 1, 1)),
        CatalogueItem(far, "A", "before", "甲", ratio_ppm["before"], date(2020, 1, 1)),
        CatalogueItem(far, "A", "on the day", "乙", ratio_ppm["on the day"], DAY, DAY),
        CatalogueItem(far, "A", "later", "甲", ratio_ppm["later"], date(2023, 5, 11)),
    ]
    bill = (Line(line_no="1", code="A", quantity="1", unit_price="100", amount=10_000),)
    verdict = judge(CANGZHOU, place(far), *items, lines=bill, amounts=None)
    assert verdict.amounts == Amounts(total=10_000, own_paid=0, over_limit=0, pre_self_pay=2_500, in_scope=7_500)


def test_an_item_whose_newest_row_has_ended_is_unknown_whatever_came_before() -> None:
    items = [
        CatalogueItem(CANGZHOU, "A", "endless", "甲", 0, date(2020, 1, 1)),
        CatalogueItem(CANGZHOU, "A", "ended", "甲", 0, date(2022, 1, 1), date(2022, 12, 31)),
    ]
    bill = (Line(line_no="1", code="A", quantity="1", unit_price="100", amount=10_000),)
    verdict = judge(CANGZHOU, *items, lines=bill, amounts=None)
    assert [(why.code, why.field) for why in verdict.line_reasons] == [("unknown_item", "lines[0].code")]


def test_every_reason_is_of_the_closed_list_and_speaks_two_languages() -> None:
    verdict = judge(CANGZHOU, place(CANGZHOU, level="1"))
    assert [why.code in SETTLED and bool(why.zh) and bool(why.en) for why in verdict.fund_closed] == [True]
