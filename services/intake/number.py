"""What becomes of an institution's number: first come, repeated, in conflict, reversed (contract.md, section 1).

Pure. A claim (or account use) and its reversal share one number and one state; what is malformed, does not add
up or lies in the future never reaches it.
"""

from datetime import datetime
from typing import NamedTuple

import msgspec

from services.intake.submission import Submission
from shared.identity import part_of

Key = tuple[str, str]  # institution, number


class Number(msgspec.Struct, frozen=True, kw_only=True, array_like=True):
    """The state of one number. ``kind`` and what follows are empty while only a reversal has come."""

    institution_id: str
    claim_no: str
    part: int
    kind: str = ""  # claim, account_use
    digest: str = ""
    member_id: str = ""
    accepted_at: datetime | None = None
    reversed: bool = False
    closed: bool = False  # the reversal came first
    questions: int = 0  # repeats passed on so far

    @property
    def key(self) -> Key:
        """(institution, number)."""
        return (self.institution_id, self.claim_no)


class Accept(NamedTuple):
    """Goes on its way as the first of its kind."""

    member_id: str
    part: int


class Ask(NamedTuple):
    """A repeat: goes the same way as a question for the outcome of ``kind``."""

    member_id: str
    part: int
    kind: str
    number: int


class Refuse(NamedTuple):
    """Answered at once. ``content`` tells apart the outcomes that one number can have."""

    code: str
    content: str = ""


Answer = Accept | Ask | Refuse


def rule(standing: Number | None, submission: Submission, now: datetime | None) -> tuple[Number, Answer]:
    """The number after this submission, and what becomes of the submission. ``standing``: None if nobody had it."""
    if submission.kind == "reversal":
        return _reverse(standing, submission)
    return _take(standing, submission, now)


def _take(standing: Number | None, submission: Submission, now: datetime | None) -> tuple[Number, Answer]:
    """A claim or an account use."""
    if standing is None or not standing.kind:
        number = Number(
            institution_id=submission.institution_id,
            claim_no=submission.claim_no,
            part=part_of(submission.member_id or submission.institution_id),
            kind=submission.kind,
            digest=submission.digest,
            member_id=submission.member_id or "",
            accepted_at=now if standing is None else None,
            reversed=standing is not None,
            closed=standing is not None,
        )
        if standing is not None:
            return number, Refuse("reversed_before_arrival")
        return number, Accept(number.member_id, number.part)
    if submission.digest != standing.digest:
        return standing, Refuse("duplicate_conflict", submission.digest)
    if standing.closed:
        return standing, Refuse("reversed_before_arrival")
    return _ask(standing, standing.kind)


def _reverse(standing: Number | None, submission: Submission) -> tuple[Number, Answer]:
    if standing is None:
        number = Number(
            institution_id=submission.institution_id,
            claim_no=submission.claim_no,
            part=part_of(submission.institution_id),
            reversed=True,
            closed=True,
        )
        return number, Refuse("claim_not_found")
    if standing.closed:
        return standing, Refuse("claim_not_found")
    if standing.reversed:
        return _ask(standing, "reversal")
    return msgspec.structs.replace(standing, reversed=True), Accept(standing.member_id, standing.part)


def _ask(standing: Number, kind: str) -> tuple[Number, Answer]:
    number = msgspec.structs.replace(standing, questions=standing.questions + 1)
    return number, Ask(standing.member_id, standing.part, kind, number.questions)
