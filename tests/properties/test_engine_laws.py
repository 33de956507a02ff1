"""Laws of the engine, on generated histories, against the second book and against itself."""

import random
from dataclasses import dataclass
from datetime import date
from fractions import Fraction
from pathlib import Path
from typing import Any

import msgspec
import pytest
from adjudication_cases import KASHGAR, PACKS, Bench, amounts, claim, claimed, reversed_, verdict
from hypothesis import given, settings
from hypothesis import strategies as st
from second_book import BOOKS, Paid, Told

from services.adjudication import engine
from services.adjudication.counters import CounterKey, Counters, over
from shared.claim import Claim
from shared.events import Decision, Verdict
from shared.policy import Policies

DAYS = {
    "130900": [date(2022, 12, 31), date(2023, 1, 1), date(2023, 7, 1)],
    "440800": [date(2022, 11, 1), date(2022, 12, 31), date(2023, 1, 1), date(2023, 12, 31)],
    "511900": [date(2023, 12, 31), date(2024, 1, 1), date(2024, 2, 29)],
    "653100": [date(2023, 5, 1), date(2023, 5, 2), date(2023, 12, 31), date(2024, 1, 1)],
    "420300": [date(2022, 12, 31), date(2023, 1, 1), date(2023, 12, 30)],
}
BENEFITS = {"511900": ["ordinary", "hypertension", "diabetes"], "653100": ["ordinary", "ordinary", "chronic:m1"]}
PLACES = {"511900": True, "653100": True}  # where a pharmacy has figures of its own
COSTS = st.one_of(st.integers(0, 30_000), st.integers(0, 400_000), st.sampled_from([1, 2, 3, 10_000, 10_001, 50_000]))


@dataclass(frozen=True)
class Visit:
    told: Told
    claim: Claim
    verdict: Verdict


@pytest.fixture(scope="module")
def policies(tmp_path_factory: pytest.TempPathFactory) -> Policies:
    file: Path = tmp_path_factory.mktemp("operator") / "parameters.yaml"
    rows = "{'chronic:m1.ratio': [{from: 2000-01-01, value: 70}], 'chronic:m1.limit': [{from: 2000-01-01, value: 400}]}"
    file.write_text(f"'653100': {rows}", encoding="utf-8")
    return Policies.load(PACKS, file)


@st.composite
def visits(draw: st.DrawFn, region: str) -> Visit:
    """One claim of one member of a region, as both books take it. An institution keeps its level."""
    place = draw(st.sampled_from(["1", "2", "3", "none", "pharmacy"] if region in PLACES else ["1", "2", "3", "none"]))
    pharmacy = place == "pharmacy"
    told = Told(
        day=draw(st.sampled_from(DAYS[region])),
        at=f"I-{place}",
        level="none" if pharmacy else place,
        pharmacy=pharmacy,
        status=draw(st.sampled_from(["active", "retired"])),
        supplements=draw(st.frozensets(st.sampled_from(["civil_servant", "large_expense", "veteran_1_6"]))),
        benefit="ordinary" if pharmacy else draw(st.sampled_from(BENEFITS.get(region, ["ordinary"]))),
        in_scope=Fraction(draw(COSTS), 100),
        pre_self_pay=Fraction(draw(st.integers(0, 2_000)), 100),
    )
    divided = amounts(int(told.in_scope * 100), pre_self_pay=int(told.pre_self_pay * 100))
    return Visit(
        told,
        claim(f"C{draw(st.integers(0, 10**9))}", divided, day=told.day, benefit=told.benefit, institution=told.at),
        verdict(
            region,
            told.status,
            told.level,
            kind="pharmacy" if pharmacy else "hospital",
            supplements=tuple(sorted(told.supplements)),
        ),
    )


@st.composite
def histories(draw: st.DrawFn) -> tuple[str, list[Visit | int]]:
    """A region, and its member's year: claims, and (as numbers) reversals of the n-th claim that still stands."""
    region = draw(st.sampled_from(sorted(BOOKS)))
    return region, draw(st.lists(st.one_of(visits(region), visits(region), visits(region), st.integers(0, 50)), max_size=14))


def fen_of(paid: Paid) -> dict[str, int]:
    names = ("deductible", "pooled", "civil_servant", "large_expense", "veterans")
    return {name: int(getattr(paid, name) * 100) for name in names}


def shown(decision: Decision) -> dict[str, int]:
    names = ("deductible", "pooled", "civil_servant", "large_expense", "veterans")
    return {name: getattr(decision, name) for name in names}


@settings(max_examples=400, deadline=None)
@given(histories())
def test_every_claim_of_every_history_is_paid_as_the_second_book_says(
    policies: Policies, history: tuple[str, list[Visit | int]]
) -> None:
    region, steps = history
    counters = Counters()
    standing: list[tuple[Paid, Claim, Decision]] = []
    for step in steps:
        if isinstance(step, int):
            if standing:
                _, told, original = standing.pop(step % len(standing))
                undone = engine.reverse(told, original, counters)
                assert shown(undone) == {name: -amount for name, amount in shown(original).items()}
            continue
        expected = BOOKS[region](step.told, [paid for paid, _, _ in standing])
        decision = engine.decide(step.claim, step.verdict, policies.on(region, step.told.day), counters)
        assert shown(decision) == fen_of(expected)
        adds_up(decision)
        standing.append((expected, step.claim, decision))
    for _, told, original in reversed(standing):
        engine.reverse(told, original, counters)
    assert all(counter.used == 0 for _, counter in counters.take_changes())


def adds_up(decision: Decision) -> None:
    """Parts add up, nothing is negative, no fen is paid twice, and what pays nothing says why."""
    assert decision.total == decision.own_paid + decision.over_limit + decision.pre_self_pay + decision.in_scope
    assert min(shown(decision).values()) >= 0
    assert decision.pooled + decision.deductible <= decision.in_scope
    assert decision.pooled + decision.civil_servant + decision.large_expense <= decision.in_scope
    assert decision.fund_total <= decision.in_scope + decision.pre_self_pay
    assert decision.pooled or decision.reasons


@settings(max_examples=200, deadline=None)
@given(histories())
def test_no_prefix_of_a_history_pays_above_a_ceiling(policies: Policies, history: tuple[str, list[Visit | int]]) -> None:
    region, steps = history
    counters = Counters()
    for step in steps:
        if not isinstance(step, int):
            engine.decide(step.claim, step.verdict, policies.on(region, step.told.day), counters)
            for key, counter in counters.take_changes():
                assert counter.used >= 0
                assert counter.ceiling is None or counter.used <= counter.ceiling, key


@settings(max_examples=200, deadline=None)
@given(histories())
def test_a_decision_run_again_on_its_own_grounds_is_the_same_and_its_trace_works_it_out(
    policies: Policies, history: tuple[str, list[Visit | int]]
) -> None:
    region, steps = history
    counters = Counters()
    for step in steps:
        if isinstance(step, int):
            continue
        version = policies.on(region, step.told.day)
        decision = engine.decide(step.claim, step.verdict, version, counters)
        again, trace = engine.explain(step.claim, step.verdict, version, engine.counters_before(step.claim, decision))
        assert again == decision
        if decision.before:
            deducted = [line["result"] for line in trace if "deductible" in str(line["step"])]
            assert sum(Fraction(str(amount)) for amount in deducted) * 100 == decision.deductible
            assert all(line["article"] and line["formula"] for line in trace)


@settings(max_examples=200, deadline=None)
@given(data=st.data(), region=st.sampled_from(["130900", "511900", "420300"]), used=st.tuples(COSTS, COSTS))
def test_more_deductible_left_never_pays_more(policies: Policies, data: Any, region: str, used: tuple[int, int]) -> None:
    visit = data.draw(visits(region))
    version = policies.on(region, visit.told.day)
    pooled = []
    for taken in sorted(used):
        counters = Counters()
        counters.book(CounterKey("M1", over(region, str(visit.told.day.year)), "ordinary.deductible"), taken, None)
        pooled.append(engine.decide(visit.claim, visit.verdict, version, counters).pooled)
    assert pooled[0] <= pooled[1]


@settings(max_examples=200, deadline=None)
@given(level=st.sampled_from(["1", "2", "3"]), cost=st.integers(2, 300_000), cut=st.integers(1, 299_999))
def test_splitting_a_visits_claim_in_two_pays_the_same_in_kashgar(policies: Policies, level: str, cost: int, cut: int) -> None:
    version = policies.on(KASHGAR, date(2023, 5, 1))
    said = verdict(KASHGAR, level=level)
    whole = engine.decide(claim("C1", cost), said, version, Counters())
    counters = Counters()
    left = cut % cost
    parts = [engine.decide(claim(f"C{n}", part), said, version, counters) for n, part in enumerate((left, cost - left))]
    assert sum(part.deductible for part in parts) == whole.deductible
    # Each claim is rounded once (Q1), so two roundings may differ from one by a fen.
    assert abs(sum(part.pooled for part in parts) - whole.pooled) <= 1


@settings(max_examples=60, deadline=None)
@given(data=st.data(), seed=st.integers(0, 2**32))
async def test_the_order_of_members_does_not_matter_to_each_members_outcomes(data: Any, seed: int) -> None:
    queues = []
    for member in ("M1", "M2", "M3"):
        region = data.draw(st.sampled_from(sorted(BOOKS)))
        drawn = data.draw(st.lists(visits(region), max_size=6, unique_by=lambda visit: visit.claim.claim_no))
        ordinary = [v for v in drawn if v.told.benefit == "ordinary"]
        events: list[Any] = [claimed(_of(v.claim, member), v.verdict) for v in ordinary]
        if ordinary:
            first = ordinary[0].claim
            events.append(reversed_(f"{member}{first.claim_no}", institution=first.institution_id, member=member))
        queues.append(events)
    one_by_one = Bench()
    for queue in queues:
        await one_by_one.decisions(*queue)
    mixed = Bench()
    shuffled, random_ = [list(queue) for queue in queues], random.Random(seed)
    while any(shuffled):
        queue = random_.choice([queue for queue in shuffled if queue])
        await mixed.decisions(*(queue.pop(0) for _ in range(random_.randint(1, len(queue)))))
    assert sorted(one_by_one.announced) == sorted(mixed.announced)


def _of(told: Claim, member: str) -> Claim:
    return msgspec.structs.replace(told, member_id=member, claim_no=f"{member}{told.claim_no}")
