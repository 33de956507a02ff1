"""Intake's step over its memory: which submissions go on, which come back, and with which bytes."""

import json
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from services.intake.memory import MemoryStore
from services.intake.steps import IntakeStep
from services.intake.store import Ruling
from shared import events, outcome
from shared.errors import Retry, Unreadable
from shared.identity import event_id, part_of
from shared.outcome import Outcome
from shared.runtime.step import Filed, Record, Tx

Document = dict[str, Any]

CLAIM: Document = {
    "type": "claim", "claim_no": "C1", "institution_id": "I1", "member_id": "M1",
    "benefit": "ordinary", "channel": "direct", "emergency": False, "use_account": True,
    "visited_at": "2023-05-01T09:30:00+08:00", "submitted_at": "2023-05-01T10:30:00+08:00",
    "total": "123.45", "own_paid": "10.00", "over_limit": "0.00", "pre_self_pay": "13.45", "in_scope": "100.00",
}  # fmt: skip
OTHER = CLAIM | {"own_paid": "9.00", "in_scope": "101.00", "member_id": "M2"}
RETRY = CLAIM | {"submitted_at": "2023-05-01T11:00:00+08:00"}
REVERSAL: Document = {
    "type": "reversal", "claim_no": "C1", "institution_id": "I1",
    "reversed_at": "2023-05-02T09:30:00+08:00", "reason": "entered twice",
}  # fmt: skip
USE: Document = {
    "type": "account_use", "use_no": "C1", "institution_id": "I1", "member_id": "M1",
    "purpose": "drugs", "amount": "12.00", "used_at": "2023-05-01T09:30:00+08:00",
}  # fmt: skip
MALFORMED = CLAIM | {"total": 123.45}


class Desk:
    """Feeds documents to a step, batch by batch, with a clock that moves on a second each batch."""

    def __init__(self, *, timed: bool = True) -> None:
        self.now = datetime(2023, 5, 3, tzinfo=UTC)
        self.offset = 0
        self.step = IntakeStep(MemoryStore(), (lambda: self.now) if timed else None)

    async def submit(self, *documents: Document) -> list[Ruling]:
        self.now += timedelta(seconds=1)
        submissions = [self.step.decode(self._record(document)) for document in documents]
        facts = await self.step.load(None, submissions)
        rulings = [self.step.decide(submission, facts) for submission in submissions]
        await self.step.record(None, self._file(rulings))
        return rulings

    def _record(self, document: Document) -> Record:
        return Record("claims.submitted", 0, self.offset, 0, b"I1", json.dumps(document).encode())

    def _file(self, rulings: Sequence[Ruling]) -> list[Filed[Ruling]]:
        filed = []
        for ruling in rulings:
            self.offset += 1
            message = self.step.announce(ruling)
            filed.append(Filed(ruling, "claims.submitted", 0, self.offset, self.offset, message))
        return filed


def told(ruling: Ruling) -> str:
    """A ruling in a word or two."""
    if ruling.message.topic == events.ACCEPTED:
        event = events.decode(ruling.message.value)
        return f"{event.kind} {event.asks} {event.number}" if event.kind == "question" else event.kind
    answer = outcome.decode(ruling.message.value)
    return answer.reasons[0].code


def rejection(ruling: Ruling) -> Outcome:
    assert ruling.message.topic == events.REJECTED
    return outcome.decode(ruling.message.value)


STORIES: list[tuple[str, list[Document], list[str]]] = [
    ("a claim", [CLAIM], ["claim"]),
    ("a claim twice", [CLAIM, RETRY, RETRY], ["claim", "question claim 1", "question claim 2"]),
    ("a conflict", [CLAIM, OTHER, OTHER, CLAIM], ["claim", "duplicate_conflict", "duplicate_conflict", "question claim 1"]),
    ("a reversal", [CLAIM, REVERSAL], ["claim", "reversal"]),
    (
        "a reversal twice",
        [CLAIM, REVERSAL, REVERSAL | {"reason": "again"}, CLAIM],
        ["claim", "reversal", "question reversal 1", "question claim 2"],
    ),
    (
        "a reversal first",
        [REVERSAL, CLAIM, REVERSAL, CLAIM, OTHER],
        ["claim_not_found", "reversed_before_arrival", "claim_not_found", "reversed_before_arrival", "duplicate_conflict"],
    ),
    ("an account use reversed", [USE, REVERSAL], ["account_use", "reversal"]),
    ("an account use with a claim's number", [CLAIM, USE], ["claim", "duplicate_conflict"]),
    ("a claim with an account use's number", [USE, CLAIM, USE], ["account_use", "duplicate_conflict", "question account_use 1"]),
    ("an account use of a closed number", [REVERSAL, USE], ["claim_not_found", "reversed_before_arrival"]),
    ("a corrected record", [MALFORMED, MALFORMED, CLAIM], ["malformed", "malformed", "claim"]),
    ("a corrected sum", [CLAIM | {"total": "1.00"}, CLAIM], ["sum_mismatch", "claim"]),
    (
        "a corrected submission time",
        [CLAIM | {"submitted_at": "2023-05-01T09:00:00+08:00"}, CLAIM],
        ["visit_in_future", "claim"],
    ),
    ("a malformed reversal closes nothing", [REVERSAL | {"reason": ""}, CLAIM], ["malformed", "claim"]),
    ("another institution's number", [CLAIM, CLAIM | {"institution_id": "I2"}], ["claim", "claim"]),
]  # fmt: skip


@pytest.mark.parametrize("together", [True, False], ids=["in one batch", "in a batch each"])
@pytest.mark.parametrize(("documents", "expected"), [story[1:] for story in STORIES], ids=[s[0] for s in STORIES])
async def test_each_submission_has_its_answer(documents: list[Document], expected: list[str], together: bool) -> None:
    desk = Desk()
    if together:
        rulings = await desk.submit(*documents)
    else:
        rulings = [ruling for document in documents for ruling in await desk.submit(document)]
    assert [told(ruling) for ruling in rulings] == expected


@pytest.mark.parametrize("together", [True, False], ids=["in one batch", "in a batch each"])
@pytest.mark.parametrize(
    "documents",
    [[MALFORMED, MALFORMED | {"submitted_at": "2023-05-01T12:30:00+08:00"}], [REVERSAL, REVERSAL]],
    ids=["malformed", "not found"],
)
async def test_a_repeated_rejection_has_the_same_bytes(documents: list[Document], together: bool) -> None:
    desk = Desk()
    if together:
        first, again = await desk.submit(*documents)
    else:
        [first], [again] = await desk.submit(documents[0]), await desk.submit(documents[1])
    assert first.message == again.message
    assert (first.new_rejection, again.new_rejection) == (True, False)


async def test_different_faults_of_one_number_are_different_outcomes() -> None:
    late = CLAIM | {"submitted_at": "2023-05-01T09:00:00+08:00"}
    documents = [MALFORMED, MALFORMED | {"total": 1.0}, late, OTHER | {"submitted_at": late["submitted_at"]}, CLAIM, OTHER]
    rulings = await Desk().submit(*documents)
    assert len({ruling.event_id for ruling in rulings}) == len(documents)


async def test_an_accepted_claim_travels_by_its_member() -> None:
    [ruling] = await Desk().submit(CLAIM)
    event = events.decode(ruling.message.value)
    assert ruling.message[:3] == ("claims.accepted", part_of("M1"), b"M1")
    assert (event.event_id, event.accepted_at) == (event_id("claim", "I1", "C1"), "2023-05-03T00:00:01.000Z")
    assert event.claim is not None


async def test_a_reversal_travels_by_the_member_of_its_claim() -> None:
    desk = Desk()
    await desk.submit(CLAIM)
    [ruling] = await desk.submit(REVERSAL)
    event = events.decode(ruling.message.value)
    assert (ruling.message.part, ruling.message.key, event.member_id) == (part_of("M1"), b"M1", "M1")
    assert event.reversal is not None
    assert event.reversal.reason == "entered twice"


async def test_a_question_asks_for_the_first_outcome_by_its_id() -> None:
    rulings = await Desk().submit(CLAIM, REVERSAL, CLAIM, REVERSAL)
    assert [ruling.event_id for ruling in rulings[2:]] == [ruling.event_id for ruling in rulings[:2]]
    questions = [events.decode(ruling.message.value) for ruling in rulings[2:]]
    assert [question.inbox_key for question in questions] == [("I1", "C1", "question", 1), ("I1", "C1", "question", 2)]


async def test_a_rejection_says_what_was_never_accepted_and_when_it_was_refused() -> None:
    [ruling] = await Desk().submit(MALFORMED)
    answer = rejection(ruling)
    assert (answer.outcome, answer.total, answer.account_balance) == ("rejected", "0.00", None)
    assert (answer.accepted_at, answer.settled_at) == (None, "2023-05-03T00:00:01.000Z")
    assert (ruling.message.key, answer.member_id) == (b"M1", "M1")


async def test_a_rejection_without_a_member_goes_by_the_institution() -> None:
    [ruling] = await Desk().submit(REVERSAL)
    assert (ruling.message.part, ruling.message.key) == (part_of("I1"), b"I1")


async def test_an_account_use_is_refused_under_its_use_no() -> None:
    [ruling] = await Desk().submit(USE | {"amount": "x"})
    answer = json.loads(ruling.message.value)
    assert answer["use_no"] == "C1"
    assert "claim_no" not in answer


async def test_a_replay_tells_no_times() -> None:
    rulings = await Desk(timed=False).submit(MALFORMED, CLAIM)
    assert json.loads(rulings[0].message.value).keys().isdisjoint({"accepted_at", "settled_at"})
    assert events.decode(rulings[1].message.value).accepted_at == ""


async def test_an_identity_of_control_characters_is_answered_and_touches_no_table() -> None:
    desk = Desk()
    document = MALFORMED | {"claim_no": "C\x00", "institution_id": "I\x00"}
    [ruling] = await desk.submit(document)
    assert json.loads(ruling.message.value)["claim_no"] == "C\x00"
    assert desk.step.key(desk.step.decode(desk._record(document))) is None


async def test_what_a_rolled_back_batch_opened_is_forgotten() -> None:
    desk = Desk()
    submission = desk.step.decode(desk._record(CLAIM))
    await desk.step.load(None, [submission])  # and the transaction fails here
    [ruling] = await desk.submit(OTHER)
    assert told(ruling) == "claim"


def test_a_record_without_identity_is_unreadable() -> None:
    with pytest.raises(Unreadable):
        Desk().step.decode(Record("claims.submitted", 0, 0, 0, None, b"{}"))


class StillAnnouncing(MemoryStore):
    """A store of a deployment in which another worker has accepted everything and announced nothing yet."""

    def __init__(self) -> None:
        super().__init__()
        self.asked: list[tuple[str, int]] = []

    async def unannounced(self, tx: Tx, events: Sequence[tuple[str, int]]) -> int:  # noqa: ARG002
        self.asked += events
        return len(events)


async def test_a_reversal_waits_until_its_claim_of_another_partition_is_announced() -> None:
    desk = Desk()
    desk.step = IntakeStep(store := StillAnnouncing(), lambda: desk.now)
    await desk.submit(CLAIM)
    with pytest.raises(Retry):
        await desk.submit(REVERSAL)
    assert store.asked == [(event_id("claim", "I1", "C1"), 0)]


async def test_a_reversal_in_the_batch_of_its_claim_asks_nobody() -> None:
    desk = Desk()
    desk.step = IntakeStep(store := StillAnnouncing(), lambda: desk.now)
    assert len(await desk.submit(CLAIM, REVERSAL)) == 2
    assert store.asked == []
