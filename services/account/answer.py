"""What account keeps and what it decides on: answers, settlements, and the facts of a batch. Pure."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

import msgspec

from services.account.leaving import Left
from services.account.ledger import Journal
from services.account.sums import NOTHING, Sums
from services.account.worklist import Todo
from shared.calendar import stamp
from shared.events import Event

Key = tuple[str, str, str, int]  # institution, claim number, kind, revision


class Answer(msgspec.Struct, frozen=True, array_like=True):
    """An outcome as it is kept: once announced, and announced again, byte for byte, to whoever asks again."""

    key: Key
    member_id: str
    outcome: str  # settled, rejected, reversed
    target: str  # the topic it is announced on
    value: bytes
    sums: Sums = NOTHING
    family_payer: str = ""  # whose account paid ``sums.family_account``
    insured_region: str = ""
    care_region: str = ""
    settled_at: datetime | None = None
    journal_id: int | None = None
    payee: str = ""  # member: what funds and accounts pay goes to the person; else to the institution


class Settlement(msgspec.Struct, frozen=True):
    """A decision of account: the answer, the journal (if a fund or an account pays), what moves where."""

    answer: Answer
    part: int
    journal: Journal | None = None
    moves: tuple[tuple[str, int], ...] = ()  # member, fen (negative: paid out of the account)
    todo: tuple[Todo, ...] = ()  # what came back to closed accounts

    @property
    def outcome(self) -> str:
        """By what it is counted: settled, rejected, reversed; answered, when it is one given before."""
        return "answered" if self.answer.key[2] == "question" else self.answer.outcome


@dataclass(slots=True)
class Facts:
    """What a batch is decided on. ``balances``: fen by member, of the accounts it may move or show."""

    now: datetime | None
    answers: dict[Key, Answer]
    balances: dict[str, int]
    journal_ids: Iterator[int]
    left: dict[str, Left] = field(default_factory=dict)  # of the accounts it may move, those that were closed once
    stamped: str | None = field(init=False)  # ``now`` as outcomes show it: written once a batch

    def __post_init__(self) -> None:
        self.stamped = stamp(self.now) if self.now else None


def key_of(event: Event) -> Key:
    """The natural key under which an event is answered. A question's answer is kept by the question's number."""
    if event.kind == "question":
        return (event.institution_id, event.claim_no, "answer", event.number)
    return (event.institution_id, event.claim_no, event.kind, event.revision)


def key_asked(question: Event) -> Key:
    """The key of the outcome that a question asks for."""
    return (question.institution_id, question.claim_no, question.asks, question.revision)


def keys_reversible(reversal: Event) -> tuple[Key, ...]:
    """What a reversal may take back: the claim of its number, with every revision, or the account use."""
    number = (reversal.institution_id, reversal.claim_no)
    claim = tuple((*number, "claim", revision) for revision in range(reversal.revised + 1))
    return (*claim, (*number, "account_use", 0))


def keys_before(event: Event) -> tuple[Key, ...]:
    """The claim's outcomes below a further revision, in their order."""
    return tuple((event.institution_id, event.claim_no, "claim", number) for number in range(event.revision))


def keys_wanted(events: Sequence[Event]) -> set[Key]:
    """The answers a batch needs to see: its own, what its reversals take back, what its questions ask for."""
    keys = {key_of(event) for event in events}
    for event in events:
        if event.kind == "reversal":
            keys.update(keys_reversible(event))
        elif event.revision:
            keys.update(keys_before(event))
        elif event.kind == "question":
            keys.add(key_asked(event))
    return keys


def accounts_wanted(events: Sequence[Event], answers: Mapping[Key, Answer]) -> tuple[set[str], set[str]]:
    """Members whose accounts a batch may move (to be locked), and those it may also show."""
    moving: set[str] = set()
    shown: set[str] = set()
    for event in events:
        if event.kind != "question":
            shown.add(event.member_id)
            moving.update(_payers(event, answers))
    return moving, shown


def _payers(event: Event, answers: Mapping[Key, Answer]) -> tuple[str, ...]:
    """Whose accounts an event may move; of a reversal or revision whose claim is in the same batch, the claim says it."""
    claim, verdict = event.claim, event.verdict
    if event.kind == "account_use":
        return (event.member_id,)
    if event.kind == "reversal" or event.revision:
        earlier = keys_before(event) if event.revision else keys_reversible(event)
        originals = [answers[key] for key in earlier if key in answers]
        return tuple(
            member_id
            for original in originals
            for member_id, amount in (
                (event.member_id, original.sums.account),
                (original.family_payer, original.sums.family_account),
            )
            if amount
        )
    if claim is None or verdict is None or not verdict.account_open:
        return ()
    own = (event.member_id,) if claim.use_account else ()
    return (*own, claim.family_payer) if claim.family_payer and verdict.family_allowed else own
