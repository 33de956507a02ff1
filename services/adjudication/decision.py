"""Decisions of the three outcomes, each by its own law: a rejection books nothing, a reversal is the exact negative."""

from collections.abc import Iterator
from typing import Any, get_args

import msgspec

from services.adjudication.bill import Bill
from services.adjudication.plan import NoBenefit
from shared.claim import Amounts
from shared.events import Decision, PolicyRef, Stale
from shared.money import yuan
from shared.policy.benefits import Name
from shared.reasons import Reason, reason


def rejected(why: Reason, articles: tuple[str, ...] = (), policy: PolicyRef | None = None) -> Decision:
    """Nothing is booked; the number is used."""
    return Decision(outcome="rejected", reasons=(why,), articles=articles, policy=policy)


def not_configured(why: Reason, articles: tuple[str, ...], policy: PolicyRef, period: str, before: dict[str, int]) -> Decision:
    """Nothing is booked, because a step was reached whose figure is missing. Keeps the accumulators that led there."""
    return Decision(outcome="rejected", reasons=(why,), articles=articles, policy=policy, period=period, before=before)


def quote_stale(now: Decision, stale: Stale) -> Decision:
    """Nothing is booked, because the funds would pay other amounts than were quoted. Keeps what this rests on."""
    quoted, current, changed = sum(stale.quoted.values()), now.fund_total, stale.changed
    what = "、".join(_CHANGED[name] for name in changed)
    zh = f"试算基金支付 {yuan(quoted)} 元，现为 {yuan(current)} 元；变化：{what}；请重新试算"
    en = f"the funds were quoted at {yuan(quoted)}, now {yuan(current)}; changed: {', '.join(changed)}; ask for a new trial"
    return Decision(
        outcome="rejected",
        reasons=(reason("quote_stale", field="quote", zh=zh, en=en),),
        policy=now.policy,
        period=now.period,
        before=now.before,
        articles=now.articles,
        stale=stale,
    )


_CHANGED = {
    "quote": "试算凭证无法识别",
    "content": "结算内容",
    "policy": "政策",
    "accumulators": "累计值",
    "register": "登记信息",
}


def paid(bill: Bill, articles: tuple[str, ...], policy: PolicyRef, period: str, before: dict[str, int]) -> Decision:
    """Settled by the steps of the law; ``before``: the accumulators they began with. Amounts are in fen."""
    amounts, funds = bill.amounts, bill.funds
    return Decision(
        outcome="settled",
        reasons=tuple(bill.reasons),
        total=amounts.total,
        own_paid=amounts.own_paid,
        over_limit=amounts.over_limit,
        pre_self_pay=amounts.pre_self_pay,
        in_scope=amounts.in_scope,
        deductible=bill.deductible,
        pooled=funds["pooled"],
        large_expense=funds["large_expense"],
        civil_servant=funds["civil_servant"],
        veterans=funds["veterans"],
        policy=policy,
        period=period,
        before=before,
        after=bill.after,
        articles=articles,
    )


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


def differing(stored: Decision, again: Decision) -> Iterator[tuple[str, Any, Any]]:
    """What of a stored decision comes out otherwise: field, as stored, as it comes to. A reason may be in words of its time."""
    if stored == again:
        return
    today = msgspec.structs.replace(stored, reasons=tuple(_in_words_of_today(one) for one in stored.reasons))
    for name in Decision.__struct_fields__:
        if getattr(today, name) != getattr(again, name):
            yield name, getattr(stored, name), getattr(again, name)


def _in_words_of_today(stored: Reason) -> Reason:
    named = (NoBenefit(name, stored.article or "") for name in get_args(Name))
    return next((one.reason() for one in named if one.once_told() == stored), stored)
