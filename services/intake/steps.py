"""Intake (受理): is it well formed, new, a repeat or a conflict, and whose is it."""

from collections.abc import Callable, Sequence
from datetime import datetime

import msgspec

from services.intake.forms import is_identifier
from services.intake.number import Accept, Answer, Ask, Key, Number, Refuse, rule
from services.intake.store import Ruling, Store
from services.intake.submission import Submission, read
from shared import events, outcome, reasons
from shared.calendar import stamp
from shared.errors import Retry
from shared.events import Event
from shared.identity import claim_key, event_id, part_of
from shared.outcome import Outcome
from shared.reasons import Reason
from shared.runtime.step import Filed, Message, Record, Tx

_LONGEST_KEY = 64  # of a record whose institution is no identifier; any other is shorter


class Facts(msgspec.Struct, kw_only=True):
    """What a batch is decided on: the numbers that stand, and the rejections that were already given."""

    now: datetime | None  # None in a replay, whose outcomes carry no times
    numbers: dict[Key, Number]
    rejections: dict[str, bytes]  # event id -> outcome


class IntakeStep:
    """``shared.runtime.step.Step`` for ``claims.submitted``."""

    service = "intake"
    topics = (events.SUBMITTED,)
    outbox = "intake.outgoing"

    def __init__(self, store: Store, clock: Callable[[], datetime] | None) -> None:
        self._store = store
        self._clock = clock

    def decode(self, record: Record) -> Submission:
        """Reads a record. Raises Unreadable when it has no identity to answer."""
        submission = read(record.value)
        if submission.reversal is not None and record.partition:
            return msgspec.structs.replace(submission, partition=record.partition)
        return submission

    def key(self, event: Submission) -> str | None:
        """The number's key; a record with faults touches no number, and its identity may be no text that a table holds."""
        return None if event.faults else claim_key(event.institution_id, event.claim_no)

    async def load(self, tx: Tx, events: Sequence[Submission]) -> Facts:
        """Locks the numbers of the batch; opens those nobody had as the first submission of the batch leaves them.

        Raises Retry while a reversal would overtake its claim, accepted from another partition and not yet announced.
        """
        now = self._clock() if self._clock else None
        first: dict[Key, Submission] = {}
        for submission in events:
            if not submission.faults:
                first.setdefault((submission.institution_id, submission.claim_no), submission)
        opening = [rule(None, submission, now)[0] for submission in first.values()]
        numbers = await self._store.open(tx, opening)
        reversing = _reversing(events, numbers)
        if reversing and await self._store.unannounced(tx, reversing):
            raise Retry("a claim to be reversed was accepted from another partition and is not announced yet")
        given = {possible for submission in events if (possible := _given_before(submission, numbers))}
        return Facts(now=now, numbers=numbers, rejections=await self._store.rejections(tx, given))

    def decide(self, event: Submission, facts: Facts) -> Ruling:
        """The submission's way: on to eligibility, or back with a rejection."""
        if event.faults:
            return _reject(event, event.faults, _unbound_id(event), facts)
        key = (event.institution_id, event.claim_no)
        standing = facts.numbers.get(key)
        number, answer = rule(standing, event, facts.now)
        facts.numbers[key] = number
        changed = None if standing is None or number == standing else number
        if isinstance(answer, Refuse):
            identity = event_id(event.kind, *key, content=answer.content)
            return _reject(event, (reasons.reason(answer.code),), identity, facts, changed)
        return _pass_on(event, answer, facts, changed)

    def announce(self, decision: Ruling) -> Message:
        """``claims.accepted`` or ``claims.rejected``."""
        return decision.message

    async def record(self, tx: Tx, filed: Sequence[Filed[Ruling]]) -> None:
        """Writes what changed of the numbers, the new rejections, and every message."""
        await self._store.record(tx, filed)


def possible_ids(submission: Submission) -> tuple[str, ...]:
    """The ids that the answer to a submission can have: its number's, and that of a conflict with its number."""
    if submission.faults:
        return (_unbound_id(submission),)
    number = (submission.kind, submission.institution_id, submission.claim_no)
    return event_id(*number), event_id(*number, content=submission.digest)


def _reversing(submissions: Sequence[Submission], standing: dict[Key, Number]) -> list[tuple[str, int]]:
    """Of the claims that stood before the batch and are reversed in it: the event's id, and where the reversal came in."""
    found = []
    for submission in submissions:
        number = standing.get((submission.institution_id, submission.claim_no))
        if submission.reversal is not None and number is not None and not (number.closed or number.reversed):
            found.append((event_id(number.kind, *number.key), submission.partition))
    return found


def _unbound_id(submission: Submission) -> str:
    """The id of a rejection that does not bind its number: one for each content and fault."""
    content = f"{submission.faults[0].code}:{submission.digest}"
    return event_id(submission.kind, submission.institution_id, submission.claim_no, content=content)


def _given_before(submission: Submission, standing: dict[Key, Number]) -> str | None:
    """The id of the rejection that this submission may have got in an earlier batch."""
    if submission.faults:
        return _unbound_id(submission)
    number = standing.get((submission.institution_id, submission.claim_no))
    if number is None:
        return None
    answer = rule(number, submission, None)[1]
    if not isinstance(answer, Refuse):
        return None
    return event_id(submission.kind, submission.institution_id, submission.claim_no, content=answer.content)


def _pass_on(submission: Submission, answer: Answer, facts: Facts, changed: Number | None) -> Ruling:
    assert not isinstance(answer, Refuse)
    asks = answer.kind if isinstance(answer, Ask) else ""
    accepted = isinstance(answer, Accept)
    event = Event(
        kind=submission.kind if accepted else "question",
        event_id=event_id(asks or submission.kind, submission.institution_id, submission.claim_no),
        institution_id=submission.institution_id,
        claim_no=submission.claim_no,
        member_id=answer.member_id,
        digest=submission.digest,
        accepted_at=stamp(facts.now) if facts.now else "",
        asks=asks,
        number=answer.number if isinstance(answer, Ask) else 0,
        claim=submission.claim if accepted else None,
        reversal=submission.reversal if accepted else None,
        use=submission.use if accepted else None,
    )
    return Ruling(event_id=event.event_id, part=answer.part, passed=event, number=changed)


def _reject(
    submission: Submission,
    why: tuple[Reason, ...],
    identity: str,
    facts: Facts,
    changed: Number | None = None,
) -> Ruling:
    value = facts.rejections.get(identity)
    new = value is None
    if value is None:
        value = facts.rejections[identity] = outcome.encode(_rejection(submission, why, identity, facts.now))
    owner = submission.member_id or submission.institution_id[:_LONGEST_KEY]
    message = Message(events.REJECTED, part_of(owner), owner.encode(), value)
    whose = submission.institution_id if is_identifier(submission.institution_id) else ""
    return Ruling(
        event_id=identity, part=message.part, rejection=message, number=changed, new_rejection=new, institution_id=whose
    )


def _rejection(submission: Submission, why: tuple[Reason, ...], identity: str, now: datetime | None) -> Outcome:
    is_use = submission.kind == "account_use"
    return Outcome(
        kind=submission.kind,
        claim_no=msgspec.UNSET if is_use else submission.claim_no,
        use_no=submission.claim_no if is_use else msgspec.UNSET,
        institution_id=submission.institution_id,
        member_id=submission.member_id,
        outcome="rejected",
        reasons=why,
        event_id=identity,
        accepted_at=None if now else msgspec.UNSET,
        settled_at=stamp(now) if now else msgspec.UNSET,
    )
