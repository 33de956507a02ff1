"""The engine: what the funds pay for one claim. Pure: the same claim, verdict, version and accumulators give the same.

``decide`` runs a benefit's steps in the pack's order; ``reverse`` gives back what a decision took; ``explain`` decides
again and says how each fen came about.
"""

from collections.abc import Iterable
from typing import NamedTuple

from services.adjudication import decision, rules
from services.adjudication.bill import Bill, TraceLine
from services.adjudication.counters import (
    VISIT_CLAIMS,
    VISIT_FIRST,
    VISITS,
    Counter,
    CounterKey,
    Counters,
    keys,
    visit_period,
)
from services.adjudication.plan import Plan
from services.adjudication.rulebook import Rulebook
from shared.claim import Amounts, Claim
from shared.events import Decision, PolicyRef, Verdict
from shared.policy import Version
from shared.quote import staleness
from shared.reasons import reason


class Prepared(NamedTuple):
    """What the funds decide a claim by: worked out once, to know the accumulators, and used again for the decision on them."""

    plan: Plan
    amounts: Amounts
    period: str
    keys: tuple[CounterKey, ...]  # that deciding the claim may touch


def prepare(claim: Claim, verdict: Verdict, version: Version | None) -> Prepared | None:
    """None where no fund can pay by accumulators. Raises ValueError where nobody says how the cost divides."""
    if version is None or verdict.rejection or verdict.fund_closed or verdict.member is None:
        return None
    rulebook = Rulebook.of(version)
    plan = rulebook.plan(claim.benefit, claim.visited_on, verdict)
    if plan.missing is not None:
        return None
    amounts = _amounts(claim, verdict)
    if not _pays_for_anything(plan, amounts):
        return None
    period = rulebook.period(claim.visited_on)
    visit = visit_period(claim.visited_on, claim.institution_id)
    return Prepared(plan, amounts, period, keys(plan.counters, claim.member_id, version.ref.region, period, visit))


def counter_keys(claim: Claim, verdict: Verdict, version: Version | None) -> tuple[CounterKey, ...]:
    """The accumulators that deciding the claim may touch; none where no fund can pay by accumulators. Raises as ``prepare``."""
    prepared = prepare(claim, verdict, version)
    return () if prepared is None else prepared.keys


def decide(
    claim: Claim,
    verdict: Verdict,
    version: Version | None,
    counters: Counters,
    trace: list[TraceLine] | None = None,
    *,
    prepared: Prepared | None = None,
) -> Decision:
    """Decides a claim and books its accumulators. With ``trace``, appends how each amount came about.

    A claim that carries a quote is settled only if the funds pay what was quoted. ``version`` may be None only where
    the verdict rejects. Raises ValueError for a verdict without policy otherwise. ``prepared``: what ``prepare`` gave for
    the same three, where the caller has it.
    """
    prepared = prepared or prepare(claim, verdict, version)
    if claim.quote is not None:
        now = _decide(claim, verdict, version, prepared, counters.apart(), None)
        stale = staleness(claim, now) if now.outcome == "settled" else None
        if stale is not None:
            return decision.quote_stale(now, stale)
    return _decide(claim, verdict, version, prepared, counters, trace)


def _decide(  # noqa: PLR0917 - what ``decide`` is given
    claim: Claim,
    verdict: Verdict,
    version: Version | None,
    prepared: Prepared | None,
    counters: Counters,
    trace: list[TraceLine] | None,
) -> Decision:
    if prepared is None or version is None:
        return _without_accumulators(claim, verdict, version)
    try:
        return _pay(verdict, version.ref, prepared, counters, trace)
    except rules.NotConfigured as reached:
        before = {key.name: counters.used(key) for key in prepared.keys}
        return decision.not_configured(reached.missing.reason(), verdict.articles, version.ref, prepared.period, before)


def _without_accumulators(claim: Claim, verdict: Verdict, version: Version | None) -> Decision:
    """Rejected, or settled without a fund."""
    if verdict.rejection is not None:
        return decision.rejected(verdict.rejection, verdict.articles, verdict.policy)
    if version is None:
        raise ValueError("a verdict that does not reject needs the version in force")
    if verdict.member is None:
        raise ValueError("a verdict that does not reject needs the member's facts")
    rulebook = Rulebook.of(version)
    plan = rulebook.plan(claim.benefit, claim.visited_on, verdict)
    if plan.missing is not None:
        return decision.rejected(plan.missing.reason(), verdict.articles, version.ref)
    reasons = verdict.fund_closed or (_NOTHING,)
    period = rulebook.period(claim.visited_on)
    return decision.without_funds(_amounts(claim, verdict), reasons, verdict.articles, version.ref, period)


def explain(
    claim: Claim, verdict: Verdict, version: Version | None, counters: Counters
) -> tuple[Decision, tuple[TraceLine, ...]]:
    """Decides again, on the accumulators as they were before, and gives the decision with its trace."""
    lines: list[TraceLine] = []
    return decide(claim, verdict, version, counters, lines), tuple(lines)


def counters_before(claim: Claim, stored: Decision) -> Counters:
    """The accumulators a stored decision rested on, from its own grounds."""
    return Counters({key: Counter(stored.before[key.name]) for key in _keys_of(claim, stored, stored.before)})


def reverse(claim: Claim, original: Decision, counters: Counters) -> Decision:
    """The exact negative of a decision. Gives back what it took; later claims stand as they were settled.

    A visit counts while a claim of it stands: it is given back with the last of them (Q5).
    """
    names = tuple(original.after)
    found = reversal_keys(claim, original)
    before = {name: counters.used(key) for name, key in zip(names, found, strict=True)}
    after = {name: before[name] - (original.after[name] - original.before[name]) for name in names}
    if VISIT_CLAIMS in after:
        last = before[VISIT_CLAIMS] == 1 and after[VISIT_CLAIMS] == 0
        after[VISITS] = before[VISITS] - int(last)
        after[VISIT_FIRST] = 0 if last else before[VISIT_FIRST]
    for name, key in zip(names, found, strict=True):
        if after[name] != before[name]:
            counters.book(key, after[name], None)
    return decision.reversed_(original, before, after)


def reversal_keys(claim: Claim, original: Decision) -> tuple[CounterKey, ...]:
    """The accumulators that reversing a decision gives back to."""
    return _keys_of(claim, original, original.after)


def _pays_for_anything(plan: Plan, amounts: Amounts) -> bool:
    return bool(amounts.in_scope or (plan.pays_remainder and amounts.pre_self_pay))


_NOTHING = reason("nothing_in_scope")
_BELOW_A_FEN = reason("nothing_in_scope", zh="按比例计算不足半分", en="the fund's share is less than half a fen")


def _pay(verdict: Verdict, policy: PolicyRef, prepared: Prepared, counters: Counters, trace: list[TraceLine] | None) -> Decision:
    plan, amounts, period, found = prepared
    before = {key.name: counters.used(key) for key in found}
    bill = Bill(amounts, before.copy(), {}, trace, verdict.beyond)
    if amounts.in_scope:
        rules.run(bill, plan, amounts.in_scope)
    else:
        bill.reasons.append(_NOTHING)
        for step, rule in plan.after:
            step(bill, rule)
    after = bill.after
    for key in found:
        name = key.name
        if after[name] != before[name]:
            counters.book(key, after[name], bill.ceilings.get(name))
    if not bill.funds["pooled"]:
        if bill.within is not None:
            bill.reasons.insert(0, bill.within)
        elif not bill.reasons:
            bill.reasons.append(_BELOW_A_FEN)
    articles = _merged(verdict.articles, plan.articles, tuple(bill.articles))
    return decision.paid(bill, articles, policy, period, before)


def _keys_of(claim: Claim, decided: Decision, names: Iterable[str]) -> tuple[CounterKey, ...]:
    if decided.policy is None:  # nobody's rules, and so no accumulators
        return ()
    visit = visit_period(claim.visited_on, claim.institution_id)
    return keys(names, claim.member_id, decided.policy.region, decided.period, visit)


def _amounts(claim: Claim, verdict: Verdict) -> Amounts:
    amounts = verdict.amounts or claim.amounts
    if amounts is None:
        raise ValueError("neither the claim nor the verdict says how the cost divides")
    return amounts


def _merged(*groups: tuple[str, ...]) -> tuple[str, ...]:
    """All articles in the order of their use, each once."""
    return tuple(dict.fromkeys(article for group in groups for article in group))
