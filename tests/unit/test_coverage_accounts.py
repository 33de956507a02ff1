"""Who may pay from whose account, for what and where."""

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
    judge,
    member,
    on,
    place,
    register,
)

from services.eligibility.coverage import Judge
from services.eligibility.register import Register
from shared.claim import AccountUse
from shared.register import FamilyLink, RegisterRecord


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
        pytest.param("110000", "account_use_not_allowed", id="one that is not served"),
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
        pytest.param(use(), register("110000"), "region_not_served", id="a region that is not served"),
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
