"""A claim's further revision: what its year, worked out again, changes of who paid it. Pure.

The institution had its money and is not touched. What the funds pay more goes back to those who paid the person's share:
first what was cash, then the family's account, then the own one. What they pay less the person owes them. So the difference
is between a region's funds and its own member, and never crosses a border.
"""

from collections.abc import Sequence

from services.account import journals, sums
from services.account.answer import Answer, Facts, Settlement, keys_before
from services.account.booking import Booking, stated
from services.account.journals import Place
from services.account.late import redirected
from services.account.leaving import holders
from services.account.ledger import Journal
from services.account.sums import Change
from services.account.worklist import NO_TODO
from shared.events import Decision, Event
from shared.identity import part_of


def revise(event: Event, facts: Facts) -> Settlement:
    """Decides one revision. Raises LookupError without the revisions before it, ValueError where these are others."""
    decision, replaces = event.decision, event.replaces
    if decision is None or replaces is None:
        raise ValueError("a revision comes with its decision and the one it replaces")
    before = [facts.answers[key] for key in keys_before(event)]
    stands = sums.together([one.sums for one in before])
    if stands.funds != sums.funds_of(replaces) or stands.total != decision.total:
        raise ValueError("what is replaced is not what was settled")
    share = sums.pay(decision.total - decision.fund_total, stands.account, stands.family_account)
    change = sums.change(stands, decision, share)
    return _settlement(event, facts, decision, before, change)


def _settlement(event: Event, facts: Facts, decision: Decision, before: Sequence[Answer], change: Change) -> Settlement:
    first = before[0]
    payer = next((one.family_payer for one in before if one.family_payer), "")
    place = Place(first.insured_region, first.care_region, event.institution_id)
    closed = holders(facts.left, first_journal(before))
    journal, todo = _journal(event, facts, place, before, change, payer), NO_TODO
    if journal is not None:
        journal, todo = redirected(journal, closed, place.insured)
    given = ((event.member_id, -change.account), (payer, -change.family_account))
    moves = tuple((member_id, amount) for member_id, amount in given if amount and member_id not in closed)
    booking = Booking(change, payer, place, decision.reasons, payee=journals.MEMBER)
    return stated(event, facts, decision, booking, journal, moves, todo)


def _journal(  # noqa: PLR0917 - one journal's parts
    event: Event, facts: Facts, place: Place, before: Sequence[Answer], change: Change, payer: str
) -> Journal | None:
    postings = journals.revision(place.insured, change, event.member_id, payer)
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
        corrects=last_journal(before),
    )


def first_journal(answers: Sequence[Answer]) -> int | None:
    """The first journal of a claim: of the accounts that it was booked to."""
    return next((one.journal_id for one in answers if one.journal_id is not None), None)


def last_journal(answers: Sequence[Answer]) -> int | None:
    """The journal that stands last of a claim: what corrects it names this one."""
    return next((one.journal_id for one in reversed(answers) if one.journal_id is not None), None)
