"""The outcome of a decision and its payment, in the bytes that stay for ever (contract.md, section 2)."""

import msgspec

from services.account.journals import Place
from services.account.sums import NOTHING, Sums
from shared.events import Decision, Event, Stale
from shared.money import yuan
from shared.outcome import Outcome, StaleQuote, accumulators, encode
from shared.reasons import Reason


def outcome_bytes(
    event: Event,
    decision: Decision,
    *,
    reasons: tuple[Reason, ...],
    settled_at: str | None,
    sums: Sums = NOTHING,
    balance: int | None = None,
    place: Place | None = None,
    payee: str = "",
) -> bytes:
    """The outcome of a claim, reversal or account use. ``payee``: who gets what funds and accounts pay, "" the institution.

    ``balance`` (fen, of the member's account after it) and ``place`` are None where nothing is booked. Without a
    clock (``settled_at`` is None: a replay) the instants are left out.
    """
    purchase = event.kind == "account_use"
    return encode(
        Outcome(
            kind=event.kind,
            claim_no=msgspec.UNSET if purchase else event.claim_no,
            use_no=event.claim_no if purchase else msgspec.UNSET,
            institution_id=event.institution_id,
            member_id=event.member_id,
            revision=event.revision,
            outcome=decision.outcome,
            reasons=reasons,
            total=_text(sums.total),
            own_paid=_text(sums.own_paid),
            over_limit=_text(sums.over_limit),
            pre_self_pay=_text(sums.pre_self_pay),
            in_scope=_text(sums.in_scope),
            deductible=_text(sums.deductible),
            pooled=_text(sums.pooled),
            large_expense=_text(sums.large_expense),
            civil_servant=_text(sums.civil_servant),
            veterans=_text(sums.veterans),
            fund_total=_text(sums.fund_total),
            account=_text(sums.account),
            family_account=_text(sums.family_account),
            cash=_text(sums.cash),
            account_balance=None if balance is None else yuan(balance),
            policy=decision.policy,
            period=decision.period or None,
            before=accumulators(decision.before),
            after=accumulators(decision.after),
            articles=decision.articles,
            stale=msgspec.UNSET if decision.stale is None else _told(decision.stale),
            insured_region=(place.insured or None) if place else None,
            care_region=(place.care or None) if place else None,
            payee=payee or msgspec.UNSET,
            event_id=event.event_id,
            accepted_at=event.accepted_at if settled_at else msgspec.UNSET,
            settled_at=settled_at or msgspec.UNSET,
        )
    )


def _told(stale: Stale) -> StaleQuote:
    quoted, current = ({name: yuan(amount) for name, amount in amounts.items()} for amounts in (stale.quoted, stale.current))
    return StaleQuote(quoted=quoted, current=current, changed=stale.changed)


def _text(amount: int) -> str:
    return yuan(amount) if amount else "0.00"  # most of the thirteen are zero, and yuan() is not free
