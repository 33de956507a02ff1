"""What the engine answers where no money flows, which level a place counts as, and what a trace says."""

from dataclasses import dataclass
from datetime import date
from pathlib import Path

import msgspec
import pytest
from adjudication_cases import (
    BAZHONG,
    CANGZHOU,
    KASHGAR,
    POLICIES,
    SHIYAN,
    ZHANJIANG,
    amounts,
    claim,
    claimed,
    facts,
    verdict,
)

from services import explain
from services.account.outcomes import outcome_bytes
from services.adjudication import engine
from services.adjudication.counters import Counter, CounterKey, Counters
from services.adjudication.decision import differing
from services.adjudication.rulebook import Rulebook
from services.audit_grounds import Again
from services.ops.audit.decisions import Decided, Past
from shared.events import Verdict
from shared.outcome import decode
from shared.policy import Policies, Version
from shared.policy.lint import read_parameters
from shared.reasons import Reason, reason

DAY = date(2023, 5, 1)


def version(region: str, day: date = DAY) -> Version:
    found = POLICIES.on(region, day)
    assert found is not None
    return found


def test_a_verdict_that_rejects_is_carried_as_a_rejection_that_books_nothing() -> None:
    why = reason("unknown_member")
    told, said = claim("C1", 10_000), Verdict(region="", rejection=why)
    decision = engine.decide(told, said, None, Counters())
    assert (decision.outcome, decision.reasons, decision.total, decision.before) == ("rejected", (why,), 0, {})
    assert engine.counter_keys(told, said, None) == ()


def test_a_closed_fund_settles_without_funds_and_no_accumulator_moves() -> None:
    why = (reason("inpatient_stay", article="653100:15"), reason("remote_not_filed", article="653100:21"))
    counters = Counters()
    said = verdict(KASHGAR, supplements=("veteran_1_6",), fund_closed=why)
    decision = engine.decide(claim("C1", 10_000), said, version(KASHGAR), counters)
    assert (decision.outcome, decision.reasons, decision.total, decision.fund_total) == ("settled", why, 10_000, 0)
    assert counters.take_changes() == ()
    assert engine.counter_keys(claim("C1", 10_000), said, version(KASHGAR)) == ()


@pytest.mark.parametrize(
    ("region", "benefit", "names"),
    [
        (CANGZHOU, "hypertension", "benefits.hypertension"),
        (ZHANJIANG, "maternity", "benefits.maternity"),
        (CANGZHOU, "period", "benefits.period"),
        (SHIYAN, "chronic:M1", "chronic:M1.ratio"),
        (SHIYAN, "special_drug:D1", "special_drug:D1.ratio"),
        (KASHGAR, "day_surgery", "inpatient_ratio"),
    ],
)
def test_a_benefit_without_figures_is_rejected_naming_what_is_missing(region: str, benefit: str, names: str) -> None:
    decision = engine.decide(claim("C1", 10_000, benefit=benefit), verdict(region), version(region), Counters())
    assert decision.outcome == "rejected"
    [why] = decision.reasons
    assert why.code == "benefit_not_configured"
    assert names in why.zh
    assert names in why.en


def test_a_benefit_that_the_pack_does_not_have_is_not_asked_of_the_parameters() -> None:
    said = verdict(ZHANJIANG)
    asked, lacking = (
        engine.decide(claim("C1", 10_000, benefit=benefit), said, version(ZHANJIANG), Counters()).reasons[0]
        for benefit in ("maternity", "chronic:M1")
    )
    assert (asked.field, "in the parameters file" in asked.en, "请在参数文件中提供" in asked.zh) == ("benefit", False, False)
    assert (lacking.field, "in the parameters file" in lacking.en, "请在参数文件中提供" in lacking.zh) == (None, True, True)


@pytest.mark.parametrize(
    ("named", "is_right"),
    [pytest.param("maternity", True, id="as it was told then"), pytest.param("day_surgery", False, id="another benefit")],
)
def test_books_that_tell_a_missing_benefit_in_the_words_of_their_time_are_proven(named: str, *, is_right: bool) -> None:
    told, said = claim("C1", 10_000, benefit="maternity"), verdict(ZHANJIANG)
    now = engine.decide(told, said, version(ZHANJIANG), Counters())
    then = Reason(
        code="benefit_not_configured",
        zh=f"待遇参数未配置：请在参数文件中提供 benefits.{named}（policy）",
        en=f"the benefit needs a parameter that is not configured: supply benefits.{named} (policy) in the parameters file",
        article=now.reasons[0].article,
    )
    stored = msgspec.structs.replace(now, reasons=(then,))
    assert [name for name, _, _ in differing(stored, now)] == ([] if is_right else ["reasons"])
    event = msgspec.structs.replace(claimed(told, said), decision=stored)
    outcome = decode(outcome_bytes(event, stored, reasons=stored.reasons, settled_at=None))
    assert (explain.work_out(outcome, explain.Grounds(event, version(ZHANJIANG))).differences == ()) is is_right
    again = Again({version(ZHANJIANG).ref.hash: version(ZHANJIANG)}, 1)
    again.see(Past("M1", [Decided("C1", event, stored)], {}))
    assert [finding.total for finding in again.findings] == [0 if is_right else 1, 0]


@dataclass(frozen=True)
class Place:
    """Where a claim comes from, and the level it counts as."""

    region: str
    kind: str
    level: str
    expected: str
    prescriber: str | None = None
    host: str | None = None


PLACES = [
    Place(CANGZHOU, "hospital", "3", "3"),
    Place(CANGZHOU, "hospital", "none", "1"),
    Place(CANGZHOU, "pharmacy", "none", "3", prescriber="3"),
    Place(CANGZHOU, "internet", "none", "2", host="2"),
    Place(ZHANJIANG, "hospital", "none", "1"),
    Place(BAZHONG, "hospital", "none", "2"),
    Place(BAZHONG, "pharmacy", "none", "pharmacy", prescriber="3"),
    Place(KASHGAR, "village", "none", "1"),
    Place(KASHGAR, "pharmacy", "none", "2", prescriber="3"),
    Place(KASHGAR, "internet", "3", "1", host="none"),
    Place(SHIYAN, "community", "none", "1"),
    Place(SHIYAN, "pharmacy", "2", "1", prescriber="1"),
]


@pytest.mark.parametrize("case", PLACES, ids=str)
def test_a_place_counts_as_the_level_its_city_says(case: Place) -> None:
    said = verdict(
        case.region,
        level=case.level,
        kind=case.kind,
        prescriber=None if case.prescriber is None else facts(case.region, level=case.prescriber),
        host=None if case.host is None else facts(case.region, level=case.host),
    )
    assert Rulebook.of(version(case.region)).place(said)[0] == case.expected


def test_what_says_as_which_level_a_place_counts_is_among_the_articles() -> None:
    said = verdict(KASHGAR, kind="pharmacy", prescriber=facts(KASHGAR, level="3"))
    decision = engine.decide(claim("C1", 30_000), said, version(KASHGAR), Counters())
    assert decision.articles == ("A:1", "653100:10", "653100:23")


@pytest.mark.parametrize(
    ("region", "day", "period"),
    [
        (ZHANJIANG, date(2022, 11, 1), "2022-11/2022-12"),
        (ZHANJIANG, date(2022, 12, 31), "2022-11/2022-12"),
        (ZHANJIANG, date(2023, 1, 1), "2023"),
        (SHIYAN, date(2022, 12, 31), "2022"),
        (KASHGAR, date(2024, 2, 29), "2024"),
    ],
)
def test_the_period_is_the_calendar_year_or_what_the_text_says(region: str, day: date, period: str) -> None:
    assert Rulebook.of(version(region, day)).period(day) == period


def test_the_amounts_priced_from_lines_come_before_those_of_the_claim() -> None:
    said = verdict(CANGZHOU, amounts=amounts(30_000, own_paid=20_000))
    decision = engine.decide(claim("C1", 50_000), said, version(CANGZHOU), Counters())
    assert (decision.in_scope, decision.own_paid, decision.pooled) == (30_000, 20_000, 10_000)


def test_the_trace_says_how_each_amount_came_about() -> None:
    decision, trace = engine.explain(claim("C1", 30_000), verdict(CANGZHOU), version(CANGZHOU), Counters())
    assert [(line["step"], line["formula"], line["result"]) for line in trace] == [
        ("annual_deductible", "min(max(0, 100.00 - 0.00), 300.00)", "100.00"),
        ("ratio", "200.00 x 50%", "100.00"),
        ("annual_cap", "min(100.00, max(0, 1200.00 - 0.00))", "100.00"),
    ]
    assert decision.articles == ("A:1", "130900:10", "130900:13")


def test_the_trace_says_how_much_of_the_cost_lies_above_a_cap() -> None:
    given = {"chronic:M1.ratio": 70, "chronic:M1.limit": 300}
    figures = {KASHGAR: {name: [{"from": DAY, "value": value}] for name, value in given.items()}}
    found = Policies(POLICIES.packs, read_parameters(figures, POLICIES.packs, "given")).on(KASHGAR, DAY)
    chronic = claim("C1", 100_000, benefit="chronic:M1")
    _, trace = engine.explain(chronic, verdict(KASHGAR, level="3"), found, Counters())
    assert [(line["step"], line["formula"], line["result"]) for line in trace][1:5] == [
        ("annual_cap", "min(700.00, max(0, 300.00 - 0.00))", "300.00"),
        ("above_cap:annual_cap", "1000.00 - 428.57; 428.57 = 300.00 / 70%", "571.43"),
        ("spill_over", "min(571.43, 700.00)", "571.43"),
        ("visit_deductible", "min(max(0, 60.00 - 0.00), 571.43)", "60.00"),
    ]


def test_a_supplement_cites_the_article_of_its_ratio_and_what_it_may_not_pass_that_of_its_cap() -> None:
    found = Policies.load(Path(__file__).parents[1] / "sixth_city" / "packs").on("990200", DAY)
    asked = claim("C1", 200_000, benefit="maternity")
    decision, trace = engine.explain(asked, verdict("990200", supplements=("large_expense",)), found, Counters())
    [line] = [line for line in trace if line["step"] == "supplement:large_expense"]
    assert (line["article"], line["result"]) == ("990200:9", "1000.00")
    assert [why.article for why in decision.reasons if why.code == "cap_reached"] == ["990200:14", "990200:8", "990200:6"]
    assert {"990200:8", "990200:9"} <= set(decision.articles)


def test_a_cap_that_is_given_late_is_no_breach_of_what_was_used_before() -> None:
    counters = Counters()
    key = CounterKey("M1", "130900:2023", "pooled.fund")
    counters.book(key, 5_000, None)
    counters.book(key, 5_000, 3_000)
    assert counters[key] == Counter(used=5_000, ceiling=5_000, version=2)


def test_what_was_not_loaded_is_not_taken_for_unused() -> None:
    known, other = (CounterKey("M1", "130900:2023", name) for name in ("pooled.fund", "ordinary.fund"))
    counters = Counters({known: Counter(used=5)})
    assert counters.used(known) == 5
    with pytest.raises(KeyError):
        counters.used(other)
    with pytest.raises(KeyError):
        counters.apart().book(other, 1, None)


def test_made_up_benefit_codes_do_not_fill_the_memory() -> None:
    rulebook = Rulebook.of(version(CANGZHOU))
    before = len(rulebook._plans)
    for number in range(100):
        engine.decide(claim("C1", 1, benefit=f"chronic:X{number}"), verdict(CANGZHOU), version(CANGZHOU), Counters())
    assert len(rulebook._plans) == before
