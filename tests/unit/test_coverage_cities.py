"""What each city's text says of persons and places, article by article. A row: the article, the case, the finding."""

from typing import Any, NamedTuple

import pytest
from eligibility_world import (
    BAZHONG,
    CANGZHOU,
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
)

from services.adjudication import engine
from services.adjudication.counters import Counters
from shared.register import InpatientStay, RegisterRecord

SAME_PROVINCE = {CANGZHOU: "130100", ZHANJIANG: "440100", BAZHONG: "510100", KASHGAR: "650100", SHIYAN: "420100"}
FAR = "110000"


class Row(NamedTuple):
    """One case: what the register holds besides M and H, what the claim says, and what is found."""

    name: str
    article: str
    found: str
    rows: tuple[RegisterRecord, ...]
    claim: dict[str, Any]


def case(name: str, article: str, found: str, *rows: RegisterRecord, **claim: Any) -> Row:
    return Row(name, article, found, rows, claim)


NEAR = SAME_PROVINCE[CANGZHOU]
CANGZHOU_CASES = [
    case("a hospital of level 2 at home", "130900:10", "open"),
    case("a township hospital at home", "130900:15", "open", place(CANGZHOU, kind="township", level="1")),
    case("a community centre at home", "130900:15", "open", place(CANGZHOU, kind="community", level="none")),
    case("a psychiatric institution at home", "130900:15", "open", place(CANGZHOU, kind="psychiatric", level="1")),
    case("a level 1 hospital at home", "130900:15", "level_too_low", place(CANGZHOU, level="1")),
    case("an unrated hospital at home", "130900:15", "level_too_low", place(CANGZHOU, level="none")),
    case("a village clinic at home", "130900:15", "level_too_low", place(CANGZHOU, kind="village", level="none")),
    case("level 2 elsewhere in the province", "130900:15", "open", place(NEAR)),
    case("a township hospital elsewhere in the province", "130900:15", "level_too_low", place(NEAR, kind="township", level="1")),
    case("level 3 in another province", "130900:16", "open", place(FAR, level="3")),
    case("level 1 in another province", "130900:16", "level_too_low", place(FAR, level="1")),
    case("psychiatric level 1 in another province", "130900:16", "level_too_low", place(FAR, kind="psychiatric", level="1")),
    case("an emergency at level 1 stays at level 1", "130900:15", "level_too_low", place(CANGZHOU, level="1"), emergency=True),
    case(
        "chronic care at level 1",
        "130900:10",
        "open",
        member(CANGZHOU, qualifications=(grant("chronic:X"),)),
        place(CANGZHOU, level="1"),
        benefit="chronic:X",
    ),
    case("a pharmacy with a prescription", "130900:11", "open", pharmacy(CANGZHOU), place(CANGZHOU, "D"), prescribed_by="D"),
    case("a pharmacy without a prescription", "130900:11", "prescription_required", pharmacy(CANGZHOU)),
    case("a prescription of an unknown institution", "130900:11", "prescription_required", pharmacy(CANGZHOU), prescribed_by="D"),
    case(
        "a prescription of an undesignated institution",
        "130900:11",
        "prescription_required",
        pharmacy(CANGZHOU),
        place(CANGZHOU, "D", since="2023-05-11"),
        prescribed_by="D",
    ),
    case(
        "a prescription of a pharmacy",
        "130900:11",
        "prescription_required",
        pharmacy(CANGZHOU),
        pharmacy(CANGZHOU, "D"),
        prescribed_by="D",
    ),
    case(
        "a prescription of an internet hospital",
        "130900:11",
        "open",
        pharmacy(CANGZHOU),
        place(CANGZHOU, "D", kind="internet", level="none", host_institution_id="P"),
        place(CANGZHOU, "P"),
        prescribed_by="D",
    ),
    case(
        "a prescription of an internet hospital without a host",
        "130900:11",
        "prescription_required",
        pharmacy(CANGZHOU),
        place(CANGZHOU, "D", kind="internet", level="none"),
        prescribed_by="D",
    ),
    case(
        "a prescription of an internet hospital of an undesignated host",
        "130900:11",
        "prescription_required",
        pharmacy(CANGZHOU),
        place(CANGZHOU, "D", kind="internet", level="none", host_institution_id="P"),
        place(CANGZHOU, "P", since="2023-05-11"),
        prescribed_by="D",
    ),
    case(
        "a pharmacy not of the pooled scheme",
        "130900:11",
        "pharmacy_not_covered",
        pharmacy(CANGZHOU, pooled_outpatient=False),
        place(CANGZHOU, "D"),
        prescribed_by="D",
    ),
    case(
        "a pharmacy elsewhere in the province",
        "130900:15",
        "pharmacy_not_covered",
        pharmacy(NEAR),
        place(CANGZHOU, "D"),
        prescribed_by="D",
    ),
    case("an internet visit at a hospital", "130900:12", "open", channel="internet"),
    case(
        "an internet hospital of a level 2 host",
        "130900:12",
        "open",
        place(CANGZHOU, kind="internet", level="none", host_institution_id="P"),
        place(CANGZHOU, "P"),
        channel="internet",
    ),
    case(
        "an internet hospital of a level 1 host",
        "130900:15",
        "level_too_low",
        place(CANGZHOU, kind="internet", level="none", host_institution_id="P"),
        place(CANGZHOU, "P", level="1"),
        channel="internet",
    ),
    case(
        "an internet hospital without a host",
        "130900:12",
        "internet_not_covered",
        place(CANGZHOU, kind="internet", level="none"),
        channel="internet",
    ),
    case(
        "an internet hospital of an undesignated host",
        "130900:10",
        "institution_not_designated",
        place(CANGZHOU, kind="internet", level="none", host_institution_id="P"),
        place(CANGZHOU, "P", since="2023-06-01"),
        channel="internet",
    ),
    case("a stay in hospital excludes nothing", "130900:10", "open", InpatientStay("M", "H", DAY)),
    case(
        "an emergency at an undesignated hospital",
        "130900:10",
        "institution_not_designated",
        place(CANGZHOU, since="2023-06-01"),
        emergency=True,
    ),
    case("handed in years later", "130900:10", "open", channel="manual", submitted_at=on("2026-05-10")),
    case("chronic without the qualification", "130900:10", "benefit_not_qualified", benefit="chronic:X"),
]

AWAY = SAME_PROVINCE[ZHANJIANG]
ZHANJIANG_CASES = [
    case("a hospital of any level at home", "440800:8", "open", place(ZHANJIANG, level="none")),
    case("a pharmacy", "440800:11", "pharmacy_not_covered", pharmacy(ZHANJIANG), place(ZHANJIANG, "D"), prescribed_by="D"),
    case("an internet visit", "440800:7", "internet_not_covered", channel="internet"),
    case(
        "an internet hospital settled directly",
        "440800:7",
        "internet_not_covered",
        place(ZHANJIANG, kind="internet", level="none", host_institution_id="P"),
        place(ZHANJIANG, "P"),
    ),
    case(
        "an internet hospital of an undesignated host",
        "440800:7",
        "internet_not_covered",
        place(ZHANJIANG, kind="internet", level="none", host_institution_id="P"),
        place(ZHANJIANG, "P", since="2023-06-01"),
    ),
    case(
        "chronic care elsewhere without a filing",
        "440800:19",
        "open",
        member(ZHANJIANG, qualifications=(grant("chronic:X"),)),
        place(AWAY),
        benefit="chronic:X",
    ),
    case("after what he is covered to", "440800:10", "not_in_benefit_period", member(ZHANJIANG, covered_to=DAY.replace(day=9))),
    case("a stay in hospital", "440800:12", "inpatient_stay", InpatientStay("M", "X", DAY)),
    case(
        "chronic care during a stay",
        "440800:12",
        "open",
        member(ZHANJIANG, qualifications=(grant("chronic:X"),)),
        InpatientStay("M", "X", DAY),
        benefit="chronic:X",
    ),
    case("elsewhere without a filing", "440800:19", "remote_not_filed", place(AWAY)),
    case("elsewhere, filed and chosen", "440800:19", "open", place(AWAY), filing(AWAY, "temporary", "H")),
    case("elsewhere, another hospital chosen", "440800:19", "remote_other_institution", place(AWAY), filing(AWAY, "posted", "X")),
    case("elsewhere, no hospital chosen", "440800:19", "remote_other_institution", place(AWAY), filing(AWAY, "posted")),
    case(
        "elsewhere, the chosen one not networked",
        "440800:19",
        "remote_other_institution",
        place(AWAY, networked=False),
        filing(AWAY, "posted", "H"),
    ),
    case("filed for another region", "440800:19", "remote_not_filed", place(AWAY), filing(FAR, "posted", "H")),
    case(
        "a second filing chooses the hospital",
        "440800:19",
        "open",
        place(AWAY),
        filing(AWAY, "posted", "X"),
        filing(AWAY, "referral", "H"),
    ),
    case("an emergency elsewhere without a filing", "440800:19", "open", place(AWAY), emergency=True),
    case("an undesignated hospital", "440800:19", "institution_not_designated", place(ZHANJIANG, since="2023-06-01")),
    case("an emergency at an undesignated hospital", "440800:19", "open", place(ZHANJIANG, since="2023-06-01"), emergency=True),
    case(
        "an emergency at an undesignated hospital elsewhere", "440800:19", "open", place(AWAY, since="2023-06-01"), emergency=True
    ),
    case("fitness", "440800:16", "excluded_wellness", excluded_as="wellness"),
]

TWO_DISEASES = (grant("hypertension"), grant("diabetes"))
BAZHONG_CASES = [
    case("a hospital", "511900:13", "open"),
    case("elsewhere without a filing", "511900:13", "open", place(FAR)),
    case("a stay in hospital excludes nothing", "511900:13", "open", InpatientStay("M", "H", DAY)),
    case(
        "a hospital not of the pooled scheme", "511900:13", "institution_not_designated", place(BAZHONG, pooled_outpatient=False)
    ),
    case("work injury", "511900:12", "excluded_work_injury", excluded_as="work_injury"),
    case("a third party", "511900:12", "excluded_third_party", excluded_as="third_party"),
    case("public health", "511900:12", "excluded_public_health", excluded_as="public_health"),
    case("care abroad", "511900:12", "excluded_abroad", excluded_as="abroad"),
    case("a check-up", "511900:12", "excluded_wellness", excluded_as="wellness"),
    case("a pharmacy without a prescription", "511900:18", "open", pharmacy(BAZHONG)),
    case("a pharmacy not of the pooled scheme", "511900:18", "pharmacy_not_covered", pharmacy(BAZHONG, pooled_outpatient=False)),
    case("an internet visit", "511900:13", "internet_not_covered", channel="internet"),
    case("two diseases at a hospital", "511900:15", "open", member(BAZHONG, qualifications=TWO_DISEASES), benefit="diabetes"),
    case(
        "two diseases at a hospital not of the pooled scheme",
        "511900:15",
        "open",
        member(BAZHONG, qualifications=TWO_DISEASES),
        place(BAZHONG, pooled_outpatient=False),
        benefit="diabetes",
    ),
    case(
        "two diseases at a pharmacy",
        "511900:15",
        "pharmacy_not_covered",
        member(BAZHONG, qualifications=TWO_DISEASES),
        pharmacy(BAZHONG),
        benefit="hypertension",
    ),
    case("two diseases without the qualification", "511900:15", "benefit_not_qualified", benefit="hypertension"),
    case(
        "the other of two diseases",
        "511900:15",
        "benefit_not_qualified",
        member(BAZHONG, qualifications=(grant("diabetes"),)),
        benefit="hypertension",
    ),
    case("chronic without the qualification", "511900:16", "benefit_not_qualified", benefit="chronic:X"),
    case("handed in by the end of June", "511900:17", "open", channel="manual", submitted_at=on("2024-06-30")),
    case("handed in in July", "511900:17", "manual_after_deadline", channel="manual", submitted_at=on("2024-07-01")),
    case("settled directly, sent late", "511900:17", "open", submitted_at=on("2024-07-01")),
]

ABROAD = SAME_PROVINCE[KASHGAR]
DRUG = grant("special_drug:X", institution_id="H", doctor_id="D1")
KASHGAR_CASES = [
    case("a hospital", "653100:10", "open"),
    case(
        "a special drug at its hospital by its doctor",
        "653100:9",
        "open",
        member(KASHGAR, qualifications=(DRUG,)),
        benefit="special_drug:X",
        doctor_id="D1",
    ),
    case(
        "a special drug by another doctor",
        "653100:13",
        "benefit_not_qualified",
        member(KASHGAR, qualifications=(DRUG,)),
        benefit="special_drug:X",
        doctor_id="D2",
    ),
    case(
        "a special drug without a doctor",
        "653100:13",
        "benefit_not_qualified",
        member(KASHGAR, qualifications=(DRUG,)),
        benefit="special_drug:X",
    ),
    case(
        "a special drug at another hospital",
        "653100:13",
        "benefit_not_qualified",
        member(KASHGAR, qualifications=(DRUG,)),
        place(KASHGAR, "X"),
        institution_id="X",
        benefit="special_drug:X",
        doctor_id="D1",
    ),
    case(
        "a special drug at a pharmacy, prescribed at its hospital",
        "653100:9",
        "open",
        member(KASHGAR, qualifications=(DRUG,)),
        pharmacy(KASHGAR, "X"),
        institution_id="X",
        prescribed_by="H",
        benefit="special_drug:X",
        doctor_id="D1",
    ),
    case(
        "another special drug",
        "653100:13",
        "benefit_not_qualified",
        member(KASHGAR, qualifications=(DRUG,)),
        benefit="special_drug:Y",
        doctor_id="D1",
    ),
    case("chronic without the qualification", "653100:12", "benefit_not_qualified", benefit="chronic:X"),
    case(
        "chronic at a pharmacy",
        "653100:9",
        "open",
        member(KASHGAR, qualifications=(grant("chronic:X"),)),
        pharmacy(KASHGAR),
        benefit="chronic:X",
    ),
    case("day surgery at a hospital", "653100:11", "open", benefit="day_surgery"),
    case("day surgery at a pharmacy", "653100:11", "pharmacy_not_covered", pharmacy(KASHGAR), benefit="day_surgery"),
    case("a stay in hospital", "653100:15", "inpatient_stay", InpatientStay("M", "X", DAY)),
    case("a retired member settled elsewhere", "653100:21", "open", place(ABROAD), filing(ABROAD, "settled_retiree")),
    case("a member posted elsewhere", "653100:21", "open", place(ABROAD), filing(ABROAD, "posted", "X")),
    case("a referral is not of the two kinds", "653100:21", "remote_not_filed", place(ABROAD), filing(ABROAD, "referral")),
    case("elsewhere without a filing", "653100:21", "remote_not_filed", place(ABROAD)),
    case("elsewhere, handed in without a filing", "653100:21", "remote_not_filed", place(ABROAD), channel="manual"),
    case(
        "elsewhere, filed, handed in years later",
        "653100:21",
        "open",
        place(ABROAD),
        filing(ABROAD, "posted"),
        channel="manual",
        submitted_at=on("2026-01-01"),
    ),
    case("an internet visit", "653100:22", "open", channel="internet"),
    case(
        "a pharmacy with a prescription",
        "653100:23",
        "open",
        pharmacy(KASHGAR, pooled_outpatient=False),
        place(KASHGAR, "D"),
        prescribed_by="D",
    ),
    case("a pharmacy without a prescription", "653100:23", "prescription_required", pharmacy(KASHGAR)),
    case("an emergency at an undesignated hospital", "653100:24", "open", place(KASHGAR, since="2023-06-01"), emergency=True),
    case("an emergency elsewhere without a filing", "653100:24", "open", place(ABROAD), emergency=True),
    case("an undesignated hospital", "653100:10", "institution_not_designated", place(KASHGAR, since="2023-06-01")),
]

AFAR = SAME_PROVINCE[SHIYAN]
SHIYAN_CASES = [
    case("a village clinic", "420300:5", "open", place(SHIYAN, kind="village", level="none")),
    case("after what he is covered to", "420300:5", "not_in_benefit_period", member(SHIYAN, covered_to=DAY.replace(day=9))),
    case("maternity", "420300:6", "open", benefit="maternity"),
    case("chronic without the qualification", "420300:7", "benefit_not_qualified", benefit="chronic:X"),
    case("a dual-channel drug without the qualification", "420300:16", "benefit_not_qualified", benefit="special_drug:X"),
    case("a stay in hospital", "420300:9", "inpatient_stay", InpatientStay("M", "X", DAY)),
    case("maternity during a stay", "420300:9", "open", InpatientStay("M", "X", DAY), benefit="maternity"),
    case("a pharmacy with a prescription", "420300:17", "open", pharmacy(SHIYAN), place(SHIYAN, "D"), prescribed_by="D"),
    case("a pharmacy without a prescription", "420300:17", "prescription_required", pharmacy(SHIYAN)),
    case(
        "a pharmacy that does not qualify",
        "420300:17",
        "pharmacy_not_covered",
        pharmacy(SHIYAN, pooled_outpatient=False),
        place(SHIYAN, "D"),
        prescribed_by="D",
    ),
    case("an internet visit", "420300:17", "open", channel="internet"),
    case("elsewhere at the filed place", "420300:18", "open", place(AFAR), filing(AFAR, "temporary")),
    case("elsewhere, directly, without a filing", "420300:18", "remote_not_filed", place(AFAR)),
    case("elsewhere, an emergency", "420300:18", "open", place(AFAR), emergency=True),
    case("elsewhere, handed in without a filing", "420300:8", "open", place(AFAR), channel="manual"),
    case(
        "elsewhere, handed in on the last day of March",
        "420300:18",
        "open",
        place(AFAR),
        channel="manual",
        submitted_at=on("2024-03-31"),
    ),
    case(
        "elsewhere, handed in in April",
        "420300:18",
        "manual_after_deadline",
        place(AFAR),
        channel="manual",
        submitted_at=on("2024-04-01"),
    ),
    case("at home, handed in in April", "420300:18", "open", channel="manual", submitted_at=on("2024-04-01")),
    case(
        "an emergency at an undesignated hospital",
        "420300:5",
        "institution_not_designated",
        place(SHIYAN, since="2023-06-01"),
        emergency=True,
    ),
]

ALL = [
    pytest.param(region, row, id=f"{row.article} {row.name}")
    for region, rows in (
        (CANGZHOU, CANGZHOU_CASES),
        (ZHANJIANG, ZHANJIANG_CASES),
        (BAZHONG, BAZHONG_CASES),
        (KASHGAR, KASHGAR_CASES),
        (SHIYAN, SHIYAN_CASES),
    )
    for row in rows
]


@pytest.mark.parametrize(("region", "row"), ALL)
def test_a_citys_article_decides_the_case(region: str, row: Row) -> None:
    verdict = judge(region, *row.rows, **row.claim)
    assert finding(verdict) == (row.found, None if row.found == "open" else row.article)


@pytest.mark.parametrize(
    ("region", "kind", "article"),
    [
        (region, kind, "SIL:30")
        for region in (CANGZHOU, ZHANJIANG, KASHGAR, SHIYAN)
        for kind in ("work_injury", "third_party", "public_health", "abroad")
    ],
)
def test_the_social_insurance_law_excludes_four_kinds_of_cost_in_every_city(region: str, kind: str, article: str) -> None:
    assert finding(judge(region, excluded_as=kind)) == (f"excluded_{kind}", article)


@pytest.mark.parametrize("disease", ["hypertension", "diabetes"])
@pytest.mark.parametrize(
    ("code", "instead"),
    [("chronic:{disease}", True), ("chronic:{national}", True), ("chronic:cancer", False)],
)
def test_in_bazhong_a_two_diseases_patient_of_the_chronic_standard_gets_the_chronic_benefit(
    disease: str, code: str, instead: bool
) -> None:
    national = {"hypertension": "M03900", "diabetes": "M01600"}[disease]
    chronic = code.format(disease=disease, national=national)
    insured = member(BAZHONG, qualifications=(grant(disease), grant(chronic)))
    verdict = judge(BAZHONG, insured, benefit=disease)
    assert finding(verdict) == ("open", None)
    assert verdict.benefit == (chronic if instead else "")


def test_the_chronic_benefit_that_stands_in_for_two_diseases_is_paid_at_pharmacies_too() -> None:
    insured = member(BAZHONG, qualifications=(grant("hypertension"), grant("chronic:hypertension")))
    assert finding(judge(BAZHONG, insured, pharmacy(BAZHONG), benefit="hypertension")) == ("open", None)


def test_adjudication_pays_the_benefit_that_stands_in_and_asks_the_operator_for_its_figures() -> None:
    insured = member(BAZHONG, qualifications=(grant("hypertension"), grant("chronic:hypertension")))
    plain = claim(benefit="hypertension")
    decided = [
        engine.decide(plain, judge(BAZHONG, *rows, benefit="hypertension"), POLICIES.on(BAZHONG, DAY), Counters())
        for rows in ((insured,), (member(BAZHONG, qualifications=(grant("hypertension"),)),))
    ]
    assert [why.code for why in decided[0].reasons] == ["benefit_not_configured"]
    assert "chronic:hypertension" in decided[0].reasons[0].en
    assert (decided[1].outcome, decided[1].pooled) == ("settled", 5_000)


@pytest.mark.parametrize(
    ("region", "rows", "claim", "articles"),
    [
        pytest.param(CANGZHOU, (), {}, ("130900:2", "130900:10", "130900:15"), id="at home"),
        pytest.param(CANGZHOU, (place(FAR),), {}, ("130900:2", "130900:10", "130900:16"), id="another province"),
        pytest.param(
            KASHGAR,
            (place(KASHGAR, since="2023-06-01"),),
            {"emergency": True},
            ("653100:1", "653100:10", "653100:24"),
            id="emergency",
        ),
        pytest.param(SHIYAN, (place(AFAR), filing(AFAR, "posted")), {}, ("420300:5", "420300:18"), id="filed"),
        pytest.param(BAZHONG, (pharmacy(BAZHONG),), {}, ("511900:10", "511900:13", "511900:18"), id="pharmacy"),
        pytest.param(KASHGAR, (), {"channel": "internet"}, ("653100:1", "653100:10", "653100:22"), id="internet"),
        pytest.param(CANGZHOU, (), {"excluded_as": "abroad"}, (), id="no fund, no article applied"),
    ],
)
def test_an_open_verdict_names_the_articles_it_rests_on(
    region: str, rows: tuple[RegisterRecord, ...], claim: dict[str, Any], articles: tuple[str, ...]
) -> None:
    assert judge(region, *rows, **claim).articles == articles
