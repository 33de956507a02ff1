"""``gongji replay``: a feed settled in one process, by the very steps of the services over in-memory stores.

No server, no clock, no chance: the same feed and packs give the same bytes. A chunk of lines goes through the path as
one batch would; what a step announces is the next step's record, under the number of the line it came from.

Crossregion is not on the way: what regions owe each other follows from the outcomes and changes none of them.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, Final, NamedTuple

import msgspec

from services.account.answer import Answer
from services.account.memory import MemoryStore as AccountBooks
from services.account.steps import AccountStep, CreditStep
from services.adjudication.counters import Counter
from services.adjudication.memory import MemoryStore as AdjudicationBooks
from services.adjudication.steps import AdjudicationStep
from services.eligibility.memory import MemoryStore as RegisterBooks
from services.eligibility.steps import EligibilityStep, RegisterStep
from services.intake.memory import MemoryStore as IntakeBooks
from services.intake.number import Number
from services.intake.steps import IntakeStep
from shared.errors import Unreadable
from shared.events import ACCEPTED, ADJUDICATED, ELIGIBLE, REGISTER_TYPES, SUBMITTED, Event, decode
from shared.policy import Policies
from shared.runtime.kept import Kept, Spill
from shared.runtime.step import Filed, Record, Step
from shared.strict_json import UNREADABLE, read_object

CHUNK: Final = 500  # lines a batch; what comes out does not depend on it


class Item(NamedTuple):
    """A record on its way. ``number``: the feed line it came from. ``event``: what it says, where it never was bytes."""

    number: int
    topic: str
    value: bytes
    event: Any = None


class Fault(NamedTuple):
    """Why a line has no outcome. ``reason``: unreadable (the line's fault), failed (ours), behind (held back by another)."""

    number: int
    reason: str
    detail: str


class Replayed(NamedTuple):
    """What came of a chunk, in the order of its lines. An outcome is an item on claims.settled or claims.rejected.

    ``decided``: the events with adjudication's decision, by line, for whoever asks how an outcome came about.
    """

    outcomes: list[Item]
    faults: list[Fault]
    decided: dict[int, Event]


class _Undecidable(Exception):
    def __init__(self, fault: Fault) -> None:
        super().__init__(fault)
        self.fault = fault


class Stage:
    """One step with what it has set aside: the loop's protocol, for one history without servers.

    ``heir`` gives the event that a decision announces, if it does: it is handed on to ``next_topic`` as it is, and
    nobody writes it to bytes only for the next step to read them.
    """

    def __init__(
        self, step: Step[Any, Any, Any], next_topic: str = "", heir: Callable[[Any], Event | None] | None = None
    ) -> None:
        self.step = step
        self._next_topic = next_topic
        self._heir = heir
        self._blocked: set[str] = set()  # claims with a record set aside: a reversal must not overtake its claim

    async def settle(self, items: Sequence[Item]) -> tuple[list[Item], list[Fault]]:
        """Takes a batch through the step. Gives what it announces, and what it cannot decide."""
        items, unreadable = self._read(items)
        failed: dict[int, Fault] = {}
        while True:
            able, faults, blocked = self._sift(items, failed)
            facts = await self.step.load(None, [item.event for item in able])
            try:
                filed, announced = self._decide(able, facts)
            except _Undecidable as undecidable:  # as the loop does: set it aside, and decide the batch anew without it
                failed[undecidable.fault.number] = undecidable.fault
                continue
            await self.step.record(None, filed)
            self._blocked |= blocked
            return announced, unreadable + faults

    def _read(self, items: Sequence[Item]) -> tuple[list[Item], list[Fault]]:
        read, faults = [], []
        for item in items:
            number, topic, value, event = item
            if event is not None:
                read.append(item)
                continue
            try:
                read.append(Item(number, topic, value, self.step.decode(Record(topic, 0, number, 0, None, value))))
            except Unreadable as unreadable:
                faults.append(Fault(number, "unreadable", str(unreadable)))
            except Exception as failure:  # noqa: BLE001 - whatever a decoder does, the line is named and the rest goes on
                faults.append(Fault(number, "failed", f"{type(failure).__name__}: {failure}"))
        return read, faults

    def _sift(self, items: list[Item], failed: dict[int, Fault]) -> tuple[list[Item], list[Fault], set[str]]:
        """What can be decided, and what cannot: what failed, and what stands behind that or an earlier failure."""
        if not failed and not self._blocked:
            return items, [], set()
        able, faults, blocked = [], [], set(self._blocked)
        for item in items:
            key = self.step.key(item.event)
            fault = failed.get(item.number)
            if fault is None and key in blocked:
                fault = Fault(item.number, "behind", "an earlier record of this claim was set aside")
            if fault is None:
                able.append(item)
                continue
            faults.append(fault)
            if key is not None:
                blocked.add(key)
        return able, faults, blocked

    def _decide(self, items: Sequence[Item], facts: Any) -> tuple[list[Filed[Any]], list[Item]]:
        decide, announce, heir, next_topic = self.step.decide, self.step.announce, self._heir, self._next_topic
        filed: list[Filed[Any]] = []
        announced: list[Item] = []
        for number, topic, _, event in items:
            try:
                decision = decide(event, facts)
                if decision is None:
                    continue
                inherited = None if heir is None else heir(decision)
                message = announce(decision) if inherited is None else None
            except Unreadable as unreadable:
                raise _Undecidable(Fault(number, "unreadable", str(unreadable))) from unreadable
            except Exception as failure:
                raise _Undecidable(Fault(number, "failed", f"{type(failure).__name__}: {failure}")) from failure
            filed.append(Filed(decision, topic, 0, number, None, message))
            if inherited is not None:
                announced.append(Item(number, next_topic, b"", inherited))
            elif message is not None:
                announced.append(Item(number, message.topic, message.value))
        return filed, announced


class Replay:
    """The path of a claim over books in memory. What is kept for each claim lies in a temporary file."""

    def __init__(self, policies: Policies) -> None:
        self._spill = spill = Spill()
        register = RegisterBooks()
        accounts = AccountBooks(spill.of(Answer), keeps_journals=False)
        self._decisions: Kept[Any, bytes] = spill.of(bytes)
        decisions = AdjudicationBooks(self._decisions, spill.of(Counter))
        self._adjudication = Stage(AdjudicationStep(decisions, policies), ADJUDICATED, lambda ruling: ruling.event)
        self._path = (
            Stage(RegisterStep(register)),
            Stage(CreditStep(accounts)),
            Stage(IntakeStep(IntakeBooks(spill.of(Number), spill.of(bytes)), None), ACCEPTED, lambda ruling: ruling.passed),
            Stage(EligibilityStep(register, policies), ELIGIBLE, lambda event: event),
            self._adjudication,
            Stage(AccountStep(accounts, policies, None)),
        )

    async def settle(self, chunk: Sequence[Item]) -> Replayed:
        """Settles lines in their order, among which no register line follows a submission (see ``chunks``)."""
        waiting: Sequence[Item] = chunk
        faults: list[Fault] = []
        decided: dict[int, Event] = {}
        for stage in self._path:
            topics = stage.step.topics
            mine = [item for item in waiting if item.topic in topics]
            if not mine:
                continue
            others = [item for item in waiting if item.topic not in topics]
            announced, aside = await stage.settle(mine)
            if stage is self._adjudication:
                decided = {item.number: item.event for item in announced}
            waiting = others + announced
            faults += aside
        return Replayed(sorted(waiting), sorted(faults), decided)

    def first(self, institution_id: str, claim_no: str) -> Event | None:
        """The claim or account use of a number, with its decision."""
        for kind in ("claim", "account_use"):
            value = self._decisions.get((institution_id, claim_no, kind, 0))
            if value is not None:
                return decode(value)
        return None


class _Typed(msgspec.Struct):
    type: str


_read_type = msgspec.json.Decoder(_Typed).decode


def item_of(number: int, line: bytes) -> Item:
    """A feed line with the topic that ``gongji feed send`` sends it to. What cannot be read goes where claims go."""
    try:
        kind = _read_type(line).type
    except UNREADABLE:
        kind = _type_of(line)
    return Item(number, f"register.{kind}" if kind in REGISTER_TYPES else SUBMITTED, line)


def _type_of(line: bytes) -> str:
    try:
        return str(read_object(line).get("type"))
    except Unreadable:  # whoever takes the line says what is wrong with it
        return ""


def chunks(items: Iterable[Item], size: int = CHUNK) -> Iterator[list[Item]]:
    """Lines in order, cut where there are enough of them and where register lines follow submissions."""
    chunk: list[Item] = []
    for item in items:
        if chunk and (len(chunk) >= size or chunk[-1].topic == SUBMITTED != item.topic):
            yield chunk
            chunk = []
        chunk.append(item)
    if chunk:
        yield chunk
