"""The closed vocabulary of steps: one small function each, over plain numbers (fen, parts per million).

A rule is a pack's step compiled for one kind of member at one kind of place on one day: tables are looked up, so only
numbers are left. Each function takes the bill as the steps before left it, and moves it on.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from services.adjudication.bill import Bill
from services.adjudication.counters import VISIT_CLAIMS, VISIT_DEDUCTIBLE, VISIT_FIRST, VISITS
from shared.money import PPM, half_up, share, yuan
from shared.reasons import Reason

if TYPE_CHECKING:
    from services.adjudication.plan import Missing, Plan


class NotConfigured(Exception):
    """A step was reached whose figure the operator has not supplied."""

    def __init__(self, missing: Missing) -> None:
        super().__init__(missing.name)
        self.missing = missing


@dataclass(frozen=True, slots=True)
class Deductible:
    """So much of the period's cost is the person's."""

    amount: int
    counter: str
    article: str
    reason: Reason


def annual_deductible(bill: Bill, rule: Deductible) -> None:
    """Takes what is left of the period's deductible from the cost."""
    _deduct(bill, "annual_deductible", rule, rule.amount)


@dataclass(frozen=True, slots=True)
class VisitDeductible:
    """So much of a visit's cost is the person's: ``amount`` for the period's first visit, ``later`` for others."""

    amount: int
    later: int
    article: str
    reason: Reason
    counter: str = VISIT_DEDUCTIBLE


def visit_deductible(bill: Bill, rule: VisitDeductible) -> None:
    """Counts the claim (once), and the visit if it is new; takes what is left of the visit's deductible from the cost."""
    after = bill.after
    if not bill.counted:
        if after[VISIT_CLAIMS] == 0:
            after[VISIT_FIRST] = int(after[VISITS] == 0)
            after[VISITS] += 1
        after[VISIT_CLAIMS] += 1
        bill.counted = True
    _deduct(bill, "visit_deductible", rule, rule.amount if after[VISIT_FIRST] else rule.later)


def _deduct(bill: Bill, step: str, rule: Deductible | VisitDeductible, amount: int) -> None:
    taken_before = bill.after[rule.counter]
    taken = min(max(0, amount - taken_before), bill.payable)
    if bill.trace is not None:
        bill.note(
            step,
            rule.article,
            {"deductible": amount, "taken_before": taken_before, "cost": bill.payable},
            f"min(max(0, {yuan(amount)} - {yuan(taken_before)}), {yuan(bill.payable)})",
            taken,
        )
    bill.payable -= taken
    bill.deductible += taken
    bill.after[rule.counter] = taken_before + taken
    bill.ceilings[rule.counter] = amount
    if bill.payable == 0 and taken:
        bill.within = rule.reason


@dataclass(frozen=True, slots=True)
class Ratio:
    """The share the fund pays of what is above the deductible (parts per million)."""

    ppm: int
    article: str


def ratio(bill: Bill, rule: Ratio) -> None:
    """Half up to the fen, once."""
    bill.ratio = rule.ppm
    bill.covered = bill.payable
    bill.paid = share(bill.payable, rule.ppm)
    if bill.trace is not None:
        formula = f"{yuan(bill.payable)} x {percent(rule.ppm)}"
        bill.note("ratio", rule.article, {"payable": bill.payable}, formula, bill.paid)


@dataclass(frozen=True, slots=True)
class Cap:
    """The most a fund pays, over what the counter runs over."""

    amount: int
    counter: str
    article: str
    reason: Reason


def visit_cap(bill: Bill, rule: Cap) -> None:
    """Limits the payment to what is left of the visit's cap; what is above is the person's."""
    _limit(bill, "visit_cap", rule)


def annual_cap(bill: Bill, rule: Cap) -> None:
    """Limits the payment to what is left of the benefit's cap; what is above may spill over."""
    bill.above_own_cap += _limit(bill, "annual_cap", rule)


def pooled_cap(bill: Bill, rule: Cap) -> None:
    """Limits the payment to what is left of the pooled fund's cap; what is above may go to large expense."""
    bill.above_pooled_cap += _limit(bill, "pooled_cap", rule)


def _limit(bill: Bill, step: str, rule: Cap) -> int:
    """Cuts the payment to what is left of a cap, and gives the cost that the cut part stood for."""
    used = bill.after[rule.counter]
    left = max(0, rule.amount - used)
    if bill.trace is not None:
        inputs = {"cap": rule.amount, "used_before": used, "payment": bill.paid}
        formula = f"min({yuan(bill.paid)}, max(0, {yuan(rule.amount)} - {yuan(used)}))"
        bill.note(step, rule.article, inputs, formula, min(bill.paid, left))
    if bill.paid <= left:
        return 0
    kept = min(bill.covered, half_up(left * PPM, bill.ratio))
    above = bill.covered - kept
    if bill.trace is not None:
        formula = f"{yuan(bill.covered)} - {yuan(kept)}; {yuan(kept)} = {yuan(left)} / {percent(bill.ratio)}"
        bill.note(f"above_cap:{step}", rule.article, {"cost": bill.covered, "left": left}, formula, above)
    bill.covered = kept
    bill.paid = left
    bill.reasons.append(rule.reason)
    return above


@dataclass(frozen=True, slots=True)
class Supplement:
    """A supplementary fund's share (parts per million) of what is left, up to its cap. ``missing``: not supplied."""

    fund: str
    ppm: int
    cap: int
    counter: str
    article: str
    reason: Reason
    missing: Missing | None = None


def supplement(bill: Bill, rule: Supplement) -> None:
    """Pays on the in-scope cost of the benefit that the funds before left."""
    bill.unpaid -= _supplement(bill, "supplement", rule, bill.unpaid)


def above_pooled_cap(bill: Bill, rule: Supplement) -> None:
    """Pays on the cost above the pooled fund's cap, as far as the steps before left it."""
    paid = _supplement(bill, "above_pooled_cap", rule, min(bill.above_pooled_cap, bill.unpaid))
    bill.unpaid -= paid
    bill.above_pooled_cap -= paid


def _supplement(bill: Bill, step: str, rule: Supplement, base: int) -> int:
    if base == 0:
        return 0
    if rule.missing is not None:
        raise NotConfigured(rule.missing)
    used = bill.after[rule.counter]
    full = share(base, rule.ppm)
    paid = min(full, max(0, rule.cap - used))
    if paid < full:
        bill.reasons.append(rule.reason)
    bill.funds[rule.fund] += paid
    bill.after[rule.counter] = used + paid
    bill.ceilings[rule.counter] = rule.cap
    if bill.trace is not None:
        inputs = {"left": base, "cap": rule.cap, "used_before": used}
        formula = f"min({yuan(base)} x {percent(rule.ppm)}, max(0, {yuan(rule.cap)} - {yuan(used)}))"
        bill.note(f"{step}:{rule.fund}", rule.article, inputs, formula, paid)
    return paid


@dataclass(frozen=True, slots=True)
class SpillOver:
    """What is above the benefit's own cap goes on to another benefit, by that benefit's plan."""

    plan: Plan
    article: str


def spill_over(bill: Bill, rule: SpillOver) -> None:
    """Runs the other benefit, if it is open, on the cost above this one's cap, as far as the steps before left it.

    Comes back with what is still unpaid, and with what lies above the pooled fund's cap in this benefit.
    """
    unpaid, beyond, above_pooled_cap = bill.unpaid, bill.beyond, bill.above_pooled_cap
    cost = min(bill.above_own_cap, unpaid)
    if cost == 0:
        return
    if beyond is not None:
        bill.articles.append(beyond.article)
        if beyond.closed is not None:
            bill.reasons.append(beyond.closed)
            return
    if bill.trace is not None:
        inputs = {"above_cap": bill.above_own_cap, "unpaid": unpaid}
        bill.note("spill_over", rule.article, inputs, f"min({yuan(bill.above_own_cap)}, {yuan(unpaid)})", cost)
    bill.articles += rule.plan.articles
    run(bill, rule.plan, cost)
    bill.unpaid += unpaid - cost
    bill.above_pooled_cap = above_pooled_cap


@dataclass(frozen=True, slots=True)
class Remainder:
    """A fund pays all that is left of the named parts of the cost."""

    fund: str
    parts: tuple[str, ...]
    article: str


def remainder(bill: Bill, rule: Remainder) -> None:
    """Pays the parts less what the funds before paid."""
    whole = sum(getattr(bill.amounts, part) for part in rule.parts)
    others = sum(bill.funds.values())
    paid = max(0, whole - others)
    bill.funds[rule.fund] += paid
    if bill.trace is not None:
        inputs = {"cost": whole, "paid_by_funds": others}
        bill.note(f"remainder:{rule.fund}", rule.article, inputs, f"{yuan(whole)} - {yuan(others)}", paid)


@dataclass(frozen=True, slots=True)
class Tally:
    """Counts what the person pays in scope."""

    counter: str
    article: str


def tally(bill: Bill, rule: Tally) -> None:
    """In scope less all funds."""
    funds = sum(bill.funds.values())
    left = max(0, bill.amounts.in_scope - funds)
    bill.after[rule.counter] += left
    if bill.trace is not None:
        inputs = {"in_scope": bill.amounts.in_scope, "paid_by_funds": funds}
        formula = f"max(0, {yuan(bill.amounts.in_scope)} - {yuan(funds)})"
        bill.note(f"tally:{rule.counter}", rule.article, inputs, formula, left)


def run(bill: Bill, plan: Plan, cost: int) -> None:
    """Runs a benefit's steps on a cost: the pooled fund's, then those on what it left."""
    bill.begin(cost)
    bill.ceilings.update(plan.ceilings)
    for step, rule in plan.pool:
        step(bill, rule)
    paid = bill.paid
    for counter in plan.fund_counters:
        bill.after[counter] += paid
    bill.funds["pooled"] += paid
    bill.unpaid -= paid
    for step, rule in plan.after:
        step(bill, rule)


def percent(ppm: int) -> str:
    """A ratio for people: 650000 -> "65%"."""
    return f"{ppm / 10_000:g}%"
