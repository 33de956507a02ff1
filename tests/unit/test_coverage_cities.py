"""What each city's text says of persons and places, article by article. A row: the article, the case, the finding."""

from typing import Any

import pytest
from coverage_cases import CANGZHOU_CASES, FAR, ZHANJIANG_CASES, Row
from coverage_cases_west import AFAR, BAZHONG_CASES, KASHGAR_CASES, SHIYAN_CASES
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
    pharmacy,
    place,
)

from services.adjudication import engine
from services.adjudication.counters import Counters
from shared.register import RegisterRecord

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
