"""What is booked for a claim, a reversal, an account use or a further revision, and the answer that says so. Pure."""

from typing import NamedTuple

from services.account.answer import Answer, Facts, Settlement, key_of
from services.account.journals import Place
from services.account.ledger import Journal
from services.account.outcomes import outcome_bytes
from services.account.sums import Sums
from services.account.worklist import Todo
from shared.events import SETTLED, Decision, Event
from shared.identity import part_of
from shared.reasons import Reason


class Booking(NamedTuple):
    """What is to be booked: amounts (of a reversal negative), whose family account, where, and why so."""

    amounts: Sums
    payer: str
    place: Place
    reasons: tuple[Reason, ...]
    reverses: tuple[Answer, ...] = ()  # the claim's outcomes, the first and its further revisions
    payee: str = ""


def stated(  # noqa: PLR0917 - one settlement's parts
    event: Event,
    facts: Facts,
    decision: Decision,
    booking: Booking,
    journal: Journal | None,
    moves: tuple[tuple[str, int], ...],
    todo: tuple[Todo, ...],
) -> Settlement:
    """Moves the money in the facts, and states the outcome. ``moves``: (member, fen) of accounts that are not closed."""
    amounts, payer, place, reasons, reverses, payee = booking
    for member_id, amount in moves:
        facts.balances[member_id] = facts.balances.get(member_id, 0) + amount
    balance = facts.balances.get(event.member_id, 0)
    value = outcome_bytes(
        event, decision, sums=amounts, reasons=reasons, balance=balance, place=place, settled_at=facts.stamped, payee=payee
    )
    answer = Answer(
        key=key_of(event),
        member_id=event.member_id,
        outcome="reversed" if reverses else "settled",
        target=SETTLED,
        value=value,
        sums=amounts,
        family_payer=payer if amounts.family_account else "",
        insured_region=place.insured,
        care_region=place.care,
        settled_at=facts.now,
        journal_id=journal.journal_id if journal else None,
        payee=payee,
    )
    return Settlement(answer, part_of(event.member_id), journal, moves, todo)
