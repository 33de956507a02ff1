"""The verdict: the order of its reasons, the edges of its spans, the account and the family."""

from datetime import date
from typing import Any

import pytest
from eligibility_world import (
    BAZHONG,
    CANGZHOU,
    CITIES,
    DAY,
    KASHGAR,
    POLICIES,
    SHIYAN,
    ZHANJIANG,
    claim,
    filing,
    finding,
    grant,
    judge,
    member,
    on,
    pharmacy,
    place,
    register,
)

from services.eligibility.coverage import Judge
from services.eligibility.register import Register
from shared.claim import AccountUse, Amounts, Line
from shared.reasons import REJECTED, SETTLED
from shared.register import CatalogueItem, FamilyLink, InpatientStay, RegisterRecord

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


# --- the edges of spans


@pytest.mark.parametrize(
    ("visited", "found"),
    [
        pytest.param("2023-01-31", "not_in_benefit_period", id="the day before he is insured"),
        pytest.param("2023-02-01", "open", id="the first day"),
        pytest.param("2023-06-30", "open", id="the last day he is covered to"),
        pytest.param("2023-07-01", "not_in_benefit_period", id="the day after"),
        pytest.param("2023-09-01", "open", id="insured again"),
    ],
)
@pytest.mark.parametrize("region", CITIES)
def test_a_member_is_covered_on_the_days_of_his_spans(region: str, visited: str, found: str) -> None:
    first = member(region, since="2023-02-01", covered_to=date(2023, 6, 30))
    again = member(region, since="2023-09-01")
    assert finding(judge(region, first, again, visited_at=on(visited)))[0] == found


def test_the_status_is_that_of_the_day() -> None:
    rows = (member(CANGZHOU), member(CANGZHOU, since="2023-05-10", status="retired"))
    statuses = []
    for day in ("2023-05-09", "2023-05-10"):
        facts = judge(CANGZHOU, *rows, visited_at=on(day)).member
        statuses.append(None if facts is None else facts.status)
    assert statuses == ["active", "retired"]


def test_only_qualifications_open_on_the_day_are_evidence() -> None:
    spans = (
        grant("chronic:A", valid_to=date(2023, 5, 9)),
        grant("chronic:B", valid_to=date(2023, 5, 10)),
        grant("chronic:C"),
    )
    facts = judge(CANGZHOU, member(CANGZHOU, qualifications=spans)).member
    assert facts is not None
    assert [open_on_the_day.benefit for open_on_the_day in facts.qualifications] == ["chronic:B", "chronic:C"]


@pytest.mark.parametrize(
    ("admitted", "discharged", "found"),
    [
        pytest.param("2023-05-11", None, "open", id="admitted the day after"),
        pytest.param("2023-05-10", None, "inpatient_stay", id="admitted that day"),
        pytest.param("2023-05-01", "2023-05-10", "inpatient_stay", id="discharged that day"),
        pytest.param("2023-05-01", "2023-05-09", "open", id="discharged the day before"),
        pytest.param("2023-05-01", None, "inpatient_stay", id="still there"),
    ],
)
@pytest.mark.parametrize("region", [ZHANJIANG, KASHGAR, SHIYAN])
def test_both_days_of_a_stay_belong_to_it(region: str, admitted: str, discharged: str | None, found: str) -> None:
    last = None if discharged is None else date.fromisoformat(discharged)
    stay = InpatientStay("M", "X", date.fromisoformat(admitted), last)
    assert finding(judge(region, stay))[0] == found


@pytest.mark.parametrize(
    ("since", "until", "found"),
    [
        pytest.param("2023-05-10", None, "open", id="designated from that day"),
        pytest.param("2023-05-11", None, "institution_not_designated", id="from the next day"),
        pytest.param("2022-01-01", "2023-05-10", "open", id="to that day"),
        pytest.param("2022-01-01", "2023-05-09", "institution_not_designated", id="to the day before"),
    ],
)
@pytest.mark.parametrize("region", CITIES)
def test_an_institution_is_designated_on_the_days_of_its_span(region: str, since: str, until: str | None, found: str) -> None:
    last = None if until is None else date.fromisoformat(until)
    assert finding(judge(region, place(region, since=since, designated_to=last)))[0] == found


def test_an_institution_rises_to_the_level_of_its_newest_row() -> None:
    rows = (place(CANGZHOU, level="1"), place(CANGZHOU, level="2", since="2023-05-10"))
    found = [finding(judge(CANGZHOU, *rows, visited_at=on(day)))[0] for day in ("2023-05-09", "2023-05-10")]
    assert found == ["level_too_low", "open"]


@pytest.mark.parametrize(
    ("first", "last", "found"),
    [
        pytest.param("2023-05-10", "2023-05-10", "open", id="that day only"),
        pytest.param("2023-05-11", None, "remote_not_filed", id="from the next day"),
        pytest.param("2023-01-01", "2023-05-09", "remote_not_filed", id="to the day before"),
    ],
)
def test_a_filing_counts_on_the_days_of_its_span(first: str, last: str | None, found: str) -> None:
    filed = filing("650100", "posted", valid_to=None if last is None else date.fromisoformat(last))
    moved = type(filed)("M", "650100", "posted", date.fromisoformat(first), filed.valid_to)
    assert finding(judge(KASHGAR, place("650100"), moved))[0] == found


@pytest.mark.parametrize(
    ("visited", "submitted", "found"),
    [
        pytest.param("2023-01-01T00:00:00+08:00", "2024-06-30T23:59:59+08:00", "open", id="the last second"),
        pytest.param("2023-12-31T23:59:59+08:00", "2024-06-30T23:59:59+08:00", "open", id="seen on the last day"),
        pytest.param("2024-01-01T00:00:00+08:00", "2025-06-30T23:59:59+08:00", "open", id="seen in the next year"),
        pytest.param("2023-01-01T00:00:00+08:00", "2024-07-01T00:00:00+08:00", "manual_after_deadline", id="a second late"),
        pytest.param("2023-01-01T00:00:00+08:00", "2024-06-30T16:00:00+00:00", "manual_after_deadline", id="late in Shanghai"),
        pytest.param("2023-01-01T00:00:00+08:00", "2026-01-01T00:00:00+08:00", "manual_after_deadline", id="years late"),
    ],
)
def test_the_day_of_handing_in_is_a_day_in_shanghai(visited: str, submitted: str, found: str) -> None:
    verdict = judge(BAZHONG, channel="manual", visited_at=visited, submitted_at=submitted)
    assert finding(verdict)[0] == found


def test_the_deadline_stands_in_the_reason() -> None:
    verdict = judge(BAZHONG, channel="manual", submitted_at=on("2024-07-01"))
    assert verdict.rejection is not None
    assert "2024-06-30" in verdict.rejection.zh
    assert "2024-06-30" in verdict.rejection.en


# --- the account and the family


@pytest.mark.parametrize(
    ("rows", "changes", "article"),
    [
        pytest.param((), {}, None, id="a plain visit"),
        pytest.param((), {"excluded_as": "work_injury"}, None, id="work injury"),
        pytest.param((), {"excluded_as": "third_party"}, None, id="a third party"),
        pytest.param((), {"excluded_as": "abroad"}, None, id="abroad"),
        pytest.param((), {"excluded_as": "public_health"}, "use", id="public health"),
        pytest.param((), {"excluded_as": "wellness"}, "use", id="wellness"),
        pytest.param(("late",), {}, "place", id="undesignated"),
        pytest.param(("late",), {"emergency": True}, "place", id="undesignated, in an emergency"),
        pytest.param(("lapsed",), {}, None, id="outside the benefit period"),
    ],
)
@pytest.mark.parametrize(
    ("region", "articles"),
    [
        (CANGZHOU, {"use": "130900:6", "place": "130900:5"}),
        (ZHANJIANG, {"use": "440800:16", "place": "440800:15"}),
        (BAZHONG, {"use": "511900:9", "place": "511900:7"}),
        (KASHGAR, {"use": "653100:8", "place": "653100:6"}),
        (SHIYAN, {"use": "420300:13", "place": "420300:12"}),
    ],
)
def test_the_account_pays_at_designated_institutions_and_never_for_health_as_a_hobby(
    region: str,
    articles: dict[str | None, str],
    rows: tuple[str, ...],
    changes: dict[str, Any],
    article: str | None,
) -> None:
    known: dict[str, RegisterRecord] = {
        "late": place(region, since="2023-06-01"),
        "lapsed": member(region, covered_to=date(2023, 5, 9)),
    }
    verdict = judge(region, *(known[name] for name in rows), **changes)
    expected = articles.get(article)
    assert verdict.account_open == (expected is None)
    assert (verdict.account_reason and verdict.account_reason.article) == expected


@pytest.mark.parametrize("relation", ["spouse", "parent", "child", "spouse_parent"])
@pytest.mark.parametrize("region", CITIES)
def test_the_family_is_what_the_city_calls_family(region: str, relation: str) -> None:
    link = FamilyLink("P", "M", relation, date(2023, 1, 1))  # type: ignore[arg-type]
    verdict = judge(region, link, member(region), member(region, "P"), family_payer="P")
    assert verdict.family_allowed == (relation != "spouse_parent" or region == BAZHONG)


@pytest.mark.parametrize(
    ("holder_region", "why"),
    [
        pytest.param(BAZHONG, None, id="the same city"),
        pytest.param(CANGZHOU, "account_use_not_allowed", id="another one"),
        pytest.param(UNSERVED, "account_use_not_allowed", id="one that is not served"),
        pytest.param(None, None, id="the holder is unknown: the link says enough"),
    ],
)
def test_a_claim_is_not_paid_from_another_citys_account(holder_region: str | None, why: str | None) -> None:
    """Who is of the family by Bazhong's rules alone, and by no other city's."""
    holder = () if holder_region is None else (member(holder_region, "P"),)
    link = FamilyLink("P", "M", "spouse_parent", date(2023, 1, 1))
    verdict = judge(BAZHONG, link, member(BAZHONG), *holder, family_payer="P")
    assert (verdict.family_allowed, verdict.family_reason and verdict.family_reason.code) == (why is None, why)


@pytest.mark.parametrize(
    ("link", "allowed"),
    [
        pytest.param(FamilyLink("P", "M", "spouse", DAY, DAY), True, id="that day only"),
        pytest.param(FamilyLink("P", "M", "spouse", date(2023, 5, 11)), False, id="from the next day"),
        pytest.param(FamilyLink("P", "M", "spouse", date(2023, 1, 1), date(2023, 5, 9)), False, id="ended"),
        pytest.param(FamilyLink("M", "P", "spouse", DAY), False, id="the other way round"),
        pytest.param(FamilyLink("P", "X", "spouse", DAY), False, id="for somebody else"),
    ],
)
def test_a_family_payer_must_be_registered_on_the_day(link: FamilyLink, allowed: bool) -> None:
    assert judge(CANGZHOU, link, member(CANGZHOU), member(CANGZHOU, "P"), family_payer="P").family_allowed == allowed


def test_nobody_is_asked_for_a_family_link_that_was_not_claimed() -> None:
    assert not judge(CANGZHOU, FamilyLink("P", "M", "spouse", DAY)).family_allowed


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


# --- purchases from an account


def use(**changes: Any) -> AccountUse:
    plain: dict[str, Any] = {
        "use_no": "U1",
        "institution_id": "H",
        "member_id": "M",
        "purpose": "drugs",
        "amount": 100,
        "used_at": on(DAY),
        "used_on": DAY,
    }
    return AccountUse(**(plain | changes))


@pytest.mark.parametrize(
    ("asked", "world", "code"),
    [
        pytest.param(use(), register(CANGZHOU), None, id="a member at a designated institution"),
        pytest.param(use(member_id="N"), register(CANGZHOU), "unknown_member", id="no such member"),
        pytest.param(use(institution_id="I"), register(CANGZHOU), "unknown_institution", id="no such institution"),
        pytest.param(use(), register(UNSERVED), "region_not_served", id="a region that is not served"),
        pytest.param(use(used_on=date(2021, 12, 31)), register(CANGZHOU), "policy_not_in_force", id="before the policy"),
    ],
)
def test_a_purchase_needs_a_known_member_institution_and_policy(asked: AccountUse, world: Register, code: str | None) -> None:
    verdict = Judge(POLICIES).use(asked, world)
    assert (verdict.rejection and verdict.rejection.code) == code
    assert verdict.account_open == (code is None)


def test_a_purchase_for_somebody_else_needs_a_link_from_the_holder() -> None:
    link = FamilyLink("M", "C", "child", DAY)
    world = register(CANGZHOU, link)
    found = [Judge(POLICIES).use(use(for_member=name), world).family_allowed for name in ("C", "D", None)]
    assert found == [True, False, False]


def test_a_purchase_at_an_undesignated_institution_is_refused_with_the_article() -> None:
    verdict = Judge(POLICIES).use(use(), register(CANGZHOU, place(CANGZHOU, since="2023-06-01")))
    assert not verdict.account_open
    assert verdict.account_reason is not None
    assert verdict.account_reason.article == "130900:5"


def test_the_same_case_gives_the_same_verdict() -> None:
    judged = [Judge(POLICIES).claim(claim(), register(CANGZHOU)) for _ in range(2)]
    assert judged[0] == judged[1]
