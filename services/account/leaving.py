"""Leaving (离开统筹区、死亡等): what each city's article lets happen to the balance; closing the account, opening one anew. Pure.

Nothing is booked to an account after its closing: the table refuses a balance, credits are refused, and what a late
reversal gives back or a true-up still owes goes to ``closed_accounts:<region>`` and the work list. That stays so when the
member is insured anew, in another region of these books or after a gap, and has an account again.
"""

from collections.abc import Mapping, Sequence
from datetime import date
from typing import NamedTuple

from services.account import journals
from services.account.entitlement import Span
from services.account.ledger import Journal
from shared.errors import Stop
from shared.identity import part_of
from shared.policy.account import Account


class Choice(NamedTuple):
    """Where the balance goes, and by which article."""

    disposal: str  # transferred, paid_out, heirs
    article: str


class Asked(NamedTuple):
    """Whose account is to be closed, in which region, for which case, as of which day."""

    member_id: str
    region: str
    case: str
    day: date


class Left(NamedTuple):
    """An account that was closed, the last time if more than once. ``number``: the ledger's, at its closing."""

    closed: bool  # False: the member has an account again
    number: int
    article: str  # by which it was closed

    def had(self, journal_id: int | None) -> bool:
        """Whether a journal was booked to the account that was closed."""
        return self.closed or (journal_id or 0) < self.number


class Opening(NamedTuple):
    """An account opened anew. ``amount``: fen of the old balance that it was opened with."""

    member_id: str
    part: int
    region: str
    amount: int = 0


class Gone(NamedTuple):
    """Where and when the member left, as the last closing says."""

    region: str
    closed_on: date
    case: str


class Closing(NamedTuple):
    """A closed account. ``amount``: fen that left it; the journal is None when it was empty."""

    member_id: str
    part: int
    region: str
    case: str
    choice: Choice
    amount: int
    closed_on: date
    journal: Journal | None
    number: int


def holders(left: Mapping[str, Left], journal_id: int | None) -> set[str]:
    """Whose closed accounts a journal was booked to, if to them: what is given back cannot go there."""
    return {member_id for member_id, one in left.items() if one.had(journal_id)}


def is_back(history: Sequence[Span], now: Span, gone: Gone) -> bool:
    """Whether a line of the register has him insured anew since he left: in another region, after one, or after a gap."""
    then = [span for span in history if span.region == gone.region and span.valid_from <= gone.closed_on]
    if gone.case == "died" or not then or now.valid_from <= then[-1].valid_from:
        return False
    if now.region != gone.region:
        return True
    since = [span for span in history if then[-1].valid_from <= span.valid_from < now.valid_from]
    away = any(span.region != gone.region or (span.covered_to is not None and span.covered_to < now.valid_from) for span in since)
    return away and now.valid_from > gone.closed_on


def choose(account: Account, case: str, status: str, wanted: str | None) -> Choice:
    """What the city's article does with the balance of who leaves so. ``wanted``: one of several ways it names.

    Raises Stop where the article does not let the account be closed.
    """
    rule = account.left_by(case)
    if rule is None:
        cited = account.leaving_otherwise
        named = ", ".join(row.case for row in account.leaving) or "none"
        article = f"{cited.article} names " if cited else ""
        raise Stop(f"the account cannot be closed for {case}: {article}{named}")
    if rule.status is not None and rule.status != status:
        raise Stop(f"{case} is for {rule.status} members only ({rule.article}); this one is {status}")
    if "stays" in rule.to:
        raise Stop(f"nothing is booked: after {case} the account stays, and stays usable ({rule.article})")
    if wanted is not None and wanted not in rule.to:
        raise Stop(f"after {case} the balance is {' or '.join(rule.to)} ({rule.article}), not {wanted}")
    return Choice(wanted or rule.to[0], rule.article)


def close(asked: Asked, choice: Choice, balance: int, journal_id: int) -> Closing:
    """The closing of an account that has this balance (fen)."""
    member_id, region, case, day = asked
    part = part_of(member_id)
    journal = None
    if balance:
        journal = Journal(
            journal_id=journal_id,
            issuer=member_id,
            number=f"{case}/{journal_id}",
            kind="closing",
            revision=0,
            part=part,
            postings=journals.closing(member_id, region, choice.disposal, balance),
        )
    return Closing(member_id, part, region, case, choice, balance, day, journal, journal_id)
