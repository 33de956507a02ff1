"""Every outcome of a made-up day is worked out anew from its grounds: settled, rejected by the rules, taken back, used."""

import asyncio
import json
from collections import Counter
from datetime import date
from typing import Any

import msgspec
import pytest
from adjudication_cases import KASHGAR, PACKS, claim, verdict

from services.adjudication import engine
from services.adjudication.counters import Counters
from services.eligibility.pricing import MOST_NAMED, price
from services.explain import Grounds, refused, work_out
from services.intake.memory import MemoryStore as IntakeBooks
from services.intake.number import Number
from services.intake.steps import IntakeStep
from services.law.readings import WITHOUT_ARTICLE
from services.ops.generate import generate
from services.replay import Replay, chunks, item_of
from shared import outcome as outcomes
from shared.events import Event
from shared.outcome import Outcome
from shared.policy import Policies
from shared.quote import quoted
from shared.runtime.step import Filed, Record

# The cap is given and the supplement above it is not: whoever reaches the cap and has the supplement is rejected half way.
GIVEN = """
"653100":
  pooled_annual_cap: [{from: 2022-08-01, value: 100}]
  special_drug:D1.ratio: [{from: 2022-08-01, value: 70}]
  special_drug:D1.limit: [{from: 2022-08-01, value: 10000}]
"""
REGIONS = ("130900", "420300", "440800", "511900", "653100")


@pytest.fixture(scope="module")
def policies(tmp_path_factory: pytest.TempPathFactory) -> Policies:
    file = tmp_path_factory.mktemp("given") / "parameters.yaml"
    file.write_text(GIVEN, encoding="utf-8")
    return Policies.load(PACKS, file)


def test_a_rejection_in_the_middle_of_the_steps_is_reached_again_from_its_own_grounds(policies: Policies) -> None:
    version, said = policies.on(KASHGAR, date(2023, 5, 1)), verdict(KASHGAR, supplements=("large_expense",))
    counters = Counters()
    first, second = (claim(number, 12_000, benefit="special_drug:D1") for number in ("C1", "C2"))
    assert engine.decide(first, said, version, counters).pooled == 8_400
    stored = engine.decide(second, said, version, counters)
    assert [(why.code, "large_expense.ratio" in why.en) for why in stored.reasons] == [("benefit_not_configured", True)]
    assert engine.explain(second, said, version, engine.counters_before(second, stored))[0] == stored
    assert engine.explain(second, said, version, Counters())[0] != stored  # without them another would come out


async def worked_out(policies: Policies, lines: list[bytes]) -> list[tuple[Outcome, Event, Any]]:
    replaying, firsts, found = Replay(policies), {}, []
    for chunk in chunks(item_of(number, line) for number, line in enumerate(lines, 1)):
        done = await replaying.settle(chunk)
        for item in done.outcomes:
            outcome, event = outcomes.decode(item.value), done.decided.get(item.number)
            if event is None or event.kind == "question":  # intake turned it away; or a repeat of what was shown
                continue
            key = (event.institution_id, event.claim_no)
            if event.kind != "reversal":
                firsts[key] = (event, outcome)
            day = event.claim.visited_on if event.claim else event.use.used_on if event.use else None
            version = policies.on(event.verdict.region, day) if event.verdict and day else None
            first = firsts[key] if event.kind == "reversal" else None
            found.append((outcome, event, work_out(outcome, Grounds(event, version, first))))
    return found


def test_every_outcome_of_a_day_is_proven_and_priced_line_by_line(policies: Policies) -> None:
    lines = [json.dumps(line).encode() for line in generate(3_000, 400, REGIONS, 12) if not isinstance(line, bytes)]
    kinds: Counter[tuple[str, str]] = Counter()
    codes: Counter[str] = Counter()
    without_article: set[str] = set()
    priced = 0
    for outcome, event, working in asyncio.run(worked_out(policies, lines)):
        assert (working.differences, working.unproven) == ((), None), outcome
        kinds[outcome.kind, outcome.outcome] += 1
        codes.update(why.code for why in outcome.reasons)
        without_article |= {why.code for why in outcome.reasons if why.article is None}
        if event.claim is not None and event.claim.lines and outcome.outcome == "settled" and outcome.kind == "claim":
            of_lines = [line for line in working.trace if str(line["step"]).startswith("line:")]
            assert len(of_lines) == len(event.claim.lines)
            assert _fen(*(line["result"] for line in of_lines)) == _fen(outcome.in_scope)
            for part in ("own_paid", "over_limit", "pre_self_pay"):
                assert _fen(*(line["inputs"][part] for line in of_lines)) == _fen(getattr(outcome, part))
            priced += 1
    assert {("claim", "settled"), ("claim", "rejected"), ("reversal", "reversed"), ("account_use", "settled")} <= set(kinds)
    assert codes["benefit_not_configured"]
    assert codes["family_link_missing"]
    assert codes["unknown_item"]
    assert priced > 100
    assert without_article <= WITHOUT_ARTICLE.keys()


MEMBER = {"type": "member", "region": "130900", "status": "active", "employment": "employee", "sector": "enterprise"}
CREDIT = {"type": "account_credit", "credit_no": "K1", "amount": "500.00", "month": "2023-01", "reason": "x"}
HOSPITAL = {"type": "institution", "institution_id": "H1", "region": "130900", "kind": "hospital", "level": "2"}
LINK = {"type": "family_link", "holder_id": "M2", "beneficiary_id": "M1", "relation": "parent"}
KNOWN = [
    json.dumps(line).encode()
    for line in (
        HOSPITAL | {"designated_from": "2022-01-01", "pooled_outpatient": True, "networked": True},
        LINK | {"authorized_from": "2022-01-01"},
        *(MEMBER | {"member_id": who, "valid_from": "2022-01-01"} for who in ("M1", "M2")),
        *(CREDIT | {"member_id": who} for who in ("M1", "M2")),
    )
]


def test_what_a_quote_promised_is_all_that_the_accounts_are_asked_for(policies: Policies) -> None:
    asked = json.loads(bill("Q1", "300.00")) | {"use_account": True, "family_payer": "M2"}
    [(_, tried, _)] = asyncio.run(worked_out(policies, [*KNOWN, json.dumps(asked).encode()]))
    assert tried.claim is not None
    assert tried.decision is not None
    text = quoted(tried.claim, tried.decision, 30_00, 10_00).written()
    [(outcome, event, working)] = asyncio.run(worked_out(policies, [*KNOWN, json.dumps(asked | {"quote": text}).encode()]))
    assert (outcome.account, outcome.family_account, working.differences) == ("30.00", "10.00", ())
    told = {line["step"]: line["formula"] for line in working.trace}
    assert told["account"] == "min(300.00, 500.00, 30.00)"
    assert told["family_account"] == "min(270.00, 10.00, the payer's balance)"
    more = msgspec.structs.replace(outcome, family_account="10.01", cash="259.99")
    [said] = work_out(more, Grounds(event, policies.on("130900", tried.claim.visited_on))).differences
    assert said == "family_account is stored as 10.01, and comes to 10.00 at most"


def bill(number: str, total: str) -> bytes:
    named = {"type": "claim", "claim_no": number, "institution_id": "H1", "member_id": "M1", "benefit": "ordinary"}
    how = {"channel": "direct", "emergency": False, "use_account": False}
    when = {"visited_at": "2023-06-15T09:00:00+08:00", "submitted_at": "2023-06-15T10:00:00+08:00"}
    costs = {"total": total, "own_paid": total, "over_limit": "0.00", "pre_self_pay": "0.00", "in_scope": "0.00"}
    return json.dumps(named | how | when | costs).encode()


def reversal(number: str) -> bytes:
    named = {"type": "reversal", "claim_no": number, "institution_id": "H1"}
    return json.dumps(named | {"reversed_at": "2023-06-15T11:00:00+08:00", "reason": "refund"}).encode()


def test_what_intake_turned_away_is_borne_out_by_its_number() -> None:
    lines = [bill("C1", "1.00"), bill("C1", "2.00"), reversal("C2"), bill("C2", "1.00"), reversal("C2"), bill("C2", "2.00")]
    numbers = IntakeBooks()
    step = IntakeStep(numbers, None)

    async def refusals() -> list[Outcome]:
        events = [step.decode(Record("claims.submitted", 0, number, 0, None, line)) for number, line in enumerate(lines)]
        facts = await step.load(None, events)
        rulings = [step.decide(event, facts) for event in events]
        await step.record(None, [Filed(ruling, "claims.submitted", 0, 0, 0, ruling.message) for ruling in rulings])
        return [outcomes.decode(ruling.rejection.value) for ruling in rulings if ruling.rejection is not None]

    found = asyncio.run(refusals())
    stood = asyncio.run(numbers.open(None, [Number(institution_id="H1", claim_no=no, part=0) for no in ("C1", "C2", "C3")]))
    codes = [one.reasons[0].code for one in found]
    conflict, not_found, before = "duplicate_conflict", "claim_not_found", "reversed_before_arrival"
    assert codes == [conflict, not_found, before, not_found, conflict]
    for one in found:
        assert one.claim_no
        own, other = ("C1", "C2") if one.claim_no == "C1" else ("C2", "C1")
        assert refused(one, stood["H1", own]).differences == ()
        assert refused(one, None).differences
        if one.reasons[0].code != conflict:
            assert refused(one, stood["H1", other]).differences
            opened = msgspec.structs.replace(stood["H1", own], closed=False)
            assert refused(one, opened).differences


def test_a_line_priced_by_another_item_than_was_found_is_told(policies: Policies) -> None:
    lines = [json.dumps(line).encode() for line in generate(300, 60, REGIONS, 12) if not isinstance(line, bytes)]
    settled = asyncio.run(worked_out(policies, lines))
    outcome, event = next((one, event) for one, event, _ in settled if event.verdict and event.verdict.items and event.claim)
    assert event.verdict is not None
    assert event.claim is not None
    cheaper = tuple(msgspec.structs.replace(item, category="丙") for item in event.verdict.items)
    tampered = msgspec.structs.replace(event, verdict=msgspec.structs.replace(event.verdict, items=cheaper))
    version = policies.on(event.verdict.region, event.claim.visited_on)
    assert any("the lines are stored as" in told for told in work_out(outcome, Grounds(tampered, version)).differences)


def test_unknown_lines_are_proven_by_one_reason_for_many_and_by_one_for_each(policies: Policies) -> None:
    """Books from before there was a limit have a reason for each line, however many."""
    count = 3 * MOST_NAMED
    lines = [{"line_no": n + 1, "code": f"X{n}", "quantity": "1", "unit_price": "1", "amount": "1.00"} for n in range(count)]
    asked = json.loads(bill("C1", f"{count}.00")) | {"lines": lines}
    for name in ("own_paid", "over_limit", "pre_self_pay", "in_scope"):
        del asked[name]
    [(outcome, event, working)] = asyncio.run(worked_out(policies, [*KNOWN, json.dumps(asked).encode()]))
    assert working.differences == ()
    assert event.claim is not None
    assert event.verdict is not None
    assert [why.field for why in outcome.reasons].count(f"lines[{MOST_NAMED}-{count - 1}].code") == 1
    version = policies.on("130900", event.claim.visited_on)
    each = price(event.claim.lines, lambda _: None, count)[1]
    for reasons, proven in ((each, True), (each[:-1], False), (each[:MOST_NAMED], False)):
        stored = msgspec.structs.replace(event, verdict=msgspec.structs.replace(event.verdict, line_reasons=reasons))
        assert (work_out(outcome, Grounds(stored, version)).differences == ()) is proven


def _fen(*amounts: Any) -> int:
    return sum(int(str(amount).replace(".", "")) for amount in amounts)
