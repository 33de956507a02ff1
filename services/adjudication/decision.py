"""Decisions of the three outcomes, each by its own law: a rejection books nothing, a reversal is the exact negative."""

from shared.claim import Amounts
from shared.events import Decision, PolicyRef
from shared.reasons import Reason


def rejected(reason: Reason, articles: tuple[str, ...] = (), policy: PolicyRef | None = None) -> Decision:
    """Nothing is booked; the number is used."""
    return Decision(outcome="rejected", reasons=(reason,), articles=articles, policy=policy)


def without_funds(
    amounts: Amounts, reasons: tuple[Reason, ...], articles: tuple[str, ...], policy: PolicyRef, period: str
) -> Decision:
    """Settled, and no fund pays, for the reasons given; no accumulator moves."""
    return Decision(
        outcome="settled",
        reasons=reasons,
        total=amounts.total,
        own_paid=amounts.own_paid,
        over_limit=amounts.over_limit,
        pre_self_pay=amounts.pre_self_pay,
        in_scope=amounts.in_scope,
        policy=policy,
        period=period,
        articles=articles,
    )


def reversed_(original: Decision, before: dict[str, int], after: dict[str, int]) -> Decision:
    """The exact negative of a decision; that of a rejection is nothing, for the rejection's reasons."""
    return Decision(
        outcome="reversed",
        reasons=original.reasons if original.outcome == "rejected" else (),
        total=-original.total,
        own_paid=-original.own_paid,
        over_limit=-original.over_limit,
        pre_self_pay=-original.pre_self_pay,
        in_scope=-original.in_scope,
        deductible=-original.deductible,
        pooled=-original.pooled,
        large_expense=-original.large_expense,
        civil_servant=-original.civil_servant,
        veterans=-original.veterans,
        policy=original.policy,
        period=original.period,
        before=before,
        after=after,
        articles=original.articles,
    )
