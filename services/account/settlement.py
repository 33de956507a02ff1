"""What account decides, event by event: who pays the person's share, which journal it gives, what is answered.

Pure: all comes from the event and the facts, and the facts are brought up to date for the batch's next event.
"""

from collections.abc import Callable

from services.account import journals, sums
from services.account.answer import Answer, Facts, Settlement, key_asked, key_of, keys_reversible
from services.account.booking import Booking, stated
from services.account.journals import Place
from services.account.late import redirected
from services.account.leaving import holders
from services.account.ledger import Journal, mirrored
from services.account.outcomes import outcome_bytes
from services.account.revision import first_journal, last_journal, revise
from services.account.use import Permission
from services.account.worklist import NO_TODO
from shared import quote
from shared.claim import AccountUse, Claim
from shared.events import REJECTED, Decision, Event, Verdict
from shared.identity import part_of
from shared.outcome import decode
from shared.reasons import Reason, reason

UseRule = Callable[[AccountUse, Verdict], Permission]


def settle(event: Event, facts: Facts, may_pay: UseRule) -> Settlement | None:
    """Decides one event. None: it was decided before, or asks for an outcome that is still to come.

    Raises LookupError for a reversal of what was never decided, ValueError for amounts that do not add up.
    """
    if key_of(event) in facts.answers:
        return None
    if event.kind == "question":
        settlement = _answer_again(event, facts)
    elif event.kind == "reversal":
        settlement = _reverse(event, facts)
    elif event.kind == "account_use":
        settlement = _settle_use(event, facts, may_pay)
    elif event.revision:
        settlement = revise(event, facts)
    else:
        settlement = _settle_claim(event, facts)
    if settlement is not None:
        facts.answers[settlement.answer.key] = settlement.answer
    return settlement


def _settle_claim(event: Event, facts: Facts) -> Settlement:
    claim, verdict, decision = event.claim, event.verdict, event.decision
    if claim is None or verdict is None or decision is None:
        raise ValueError("a claim comes with its verdict and its decision")
    if decision.outcome == "rejected":
        return _reject(event, facts, decision)
    balance_of = facts.balances.get
    own = balance_of(event.member_id, 0) if claim.use_account and verdict.account_open else 0
    payer = claim.family_payer if verdict.account_open and verdict.family_allowed else None
    if payer == event.member_id:  # nobody is his own family
        payer = None
    family = balance_of(payer, 0) if payer else 0
    promised = quote.read(claim.quote) if claim.quote else None
    if promised is not None:  # the patient was told these: the accounts may give less, never more
        own, family = min(own, promised.account), min(family, promised.family_account)
    share = sums.pay(decision.total - decision.fund_total, own, family)
    place = Place(verdict.region, verdict.care_region, event.institution_id)
    why = _claim_reasons(claim, verdict, decision)
    payee = journals.MEMBER if claim.channel == "manual" else ""  # he paid the institution, and asks for it back
    return _book(event, facts, decision, Booking(sums.of_claim(decision, share), payer or "", place, why, payee=payee))


def _claim_reasons(claim: Claim, verdict: Verdict, decision: Decision) -> tuple[Reason, ...]:
    """Adjudication's reasons, then why lines and accounts did not do what was asked of them; each once."""
    further = list(verdict.line_reasons)
    if (claim.use_account or claim.family_payer) and verdict.account_reason is not None:
        further.append(verdict.account_reason)
    if verdict.family_reason is not None:
        further.append(verdict.family_reason)
    if not further:
        return decision.reasons
    said: dict[tuple[str, str | None, str | None], Reason] = {}
    for one in (*decision.reasons, *further):
        said.setdefault((one.code, one.field, one.article), one)
    return tuple(said.values())


def _settle_use(event: Event, facts: Facts, may_pay: UseRule) -> Settlement:
    use, verdict, decision = event.use, event.verdict, event.decision
    if use is None or verdict is None or decision is None:
        raise ValueError("an account use comes with its verdict and its decision")
    if decision.outcome == "rejected":
        return _reject(event, facts, decision)
    permission = may_pay(use, verdict)
    refusal = permission.refusal or _closed(event.member_id, facts)
    ruling = Decision(
        outcome="settled" if refusal is None else "rejected",
        reasons=() if refusal is None else (refusal,),
        policy=verdict.policy,
        articles=permission.articles,
    )
    if refusal is not None:
        return _reject(event, facts, ruling)
    share = sums.pay(use.amount, facts.balances.get(event.member_id, 0), 0)
    place = Place(verdict.region, verdict.care_region, event.institution_id)
    amounts = sums.of_purchase(use.amount, share)
    return _book(event, facts, ruling, Booking(amounts, "", place, ()))


def _closed(member_id: str, facts: Facts) -> Reason | None:
    left = facts.left.get(member_id)
    if left is None or not left.closed:
        return None
    zh, en = "个人账户已销户", "the account is closed"
    return reason("account_use_not_allowed", article=left.article, field="member_id", zh=zh, en=en)


def _reverse(event: Event, facts: Facts) -> Settlement:
    """The exact negatives of what was decided; of a rejection: nothing, for the same reasons."""
    decision = event.decision
    if decision is None:
        raise ValueError("a reversal comes with its decision")
    settled = tuple(facts.answers[key] for key in keys_reversible(event) if key in facts.answers)
    if len(settled) != event.revised + 1:
        raise LookupError("there is no outcome to reverse, or a revision of it is missing")
    original = settled[0]
    if decision.outcome == "rejected":  # a later claim stands: this one stays as it is
        return _reject(event, facts, decision)
    if original.outcome == "rejected":  # perhaps by account alone, so that adjudication does not know
        first = decode(original.value)
        decision = Decision(outcome="reversed", reasons=first.reasons, policy=first.policy, articles=first.articles)
    amounts = sums.together([one.sums for one in settled]).negated()
    if (decision.total, decision.fund_total) != (amounts.total, amounts.fund_total):
        raise ValueError("adjudication takes back other amounts than were settled")
    place = Place(original.insured_region, original.care_region, event.institution_id)
    booking = Booking(amounts, original.family_payer, place, decision.reasons, reverses=settled, payee=original.payee)
    return _book(event, facts, decision, booking)


def _answer_again(event: Event, facts: Facts) -> Settlement | None:
    first = facts.answers.get(key_asked(event))
    if first is None:
        return None
    answer = Answer(
        key=key_of(event),
        member_id=first.member_id,
        outcome=first.outcome,
        target=first.target,
        value=first.value,
        settled_at=facts.now,
    )
    return Settlement(answer, part_of(first.member_id))


def _reject(event: Event, facts: Facts, decision: Decision) -> Settlement:
    value = outcome_bytes(event, decision, reasons=decision.reasons, settled_at=facts.stamped)
    answer = Answer(key_of(event), event.member_id, "rejected", REJECTED, value, settled_at=facts.now)
    return Settlement(answer, part_of(event.member_id))


def _book(event: Event, facts: Facts, decision: Decision, booking: Booking) -> Settlement:
    """Moves the money in the facts, and states journal and outcome."""
    amounts, reverses = booking.amounts, booking.reverses
    accounts = ((event.member_id, amounts.account), (booking.payer, amounts.family_account))
    moves = tuple((member_id, -amount) for member_id, amount in accounts if amount)
    journal, todo = _journal(event, facts, booking, moves), NO_TODO
    if reverses and journal is not None and facts.left:
        closed = holders(facts.left, first_journal(reverses))
        journal, todo = redirected(journal, closed, booking.place.insured)
        moves = tuple(one for one in moves if one[0] not in closed)
    return stated(event, facts, decision, booking, journal, moves, todo)


def _journal(event: Event, facts: Facts, booking: Booking, moves: tuple[tuple[str, int], ...]) -> Journal | None:
    reverses, place, member_id = booking.reverses, booking.place, event.member_id
    paid = [(whose, abs(amount)) for whose, amount in moves]
    stands = booking.amounts.negated() if reverses else booking.amounts
    if booking.payee == journals.MEMBER:
        postings = journals.reimbursement(place.insured, member_id, stands.funds, paid)
        postings = mirrored(postings) if reverses else postings
    elif reverses:
        postings = journals.taking_back(place, reverses[0].sums, stands, member_id, paid)
    else:
        postings = journals.settlement(place, stands.funds, paid)
    if not postings:
        return None
    return Journal(
        journal_id=next(facts.journal_ids),
        issuer=event.institution_id,
        number=event.claim_no,
        kind=event.kind,
        revision=event.revision,
        part=part_of(event.member_id),
        postings=postings,
        corrects=last_journal(reverses),
    )
