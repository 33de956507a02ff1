"""Eligibility's steps over memory: what they read, attach and pass on."""

from collections.abc import Sequence
from datetime import date
from typing import Any

import msgspec
import pytest
from eligibility_world import (
    BAZHONG,
    CANGZHOU,
    DAY,
    KASHGAR,
    POLICIES,
    claim,
    filing,
    finding,
    grant,
    member,
    on,
    pharmacy,
    place,
)

from services.eligibility.memory import MemoryStore
from services.eligibility.steps import EligibilityStep, RegisterStep
from shared import events
from shared.claim import AccountUse, Line, Reversal
from shared.errors import Unreadable
from shared.events import Event
from shared.identity import part_of
from shared.register import CatalogueItem, FamilyLink, InpatientStay, RegisterRecord
from shared.runtime.step import Filed, Record


class CountingStore(MemoryStore):
    """Counts what is asked: queries, not rows."""

    def __init__(self) -> None:
        super().__init__()
        self.asked: list[str] = []

    def __getattribute__(self, name: str) -> Any:
        if name in ("members", "institutions", "links", "filings", "stays", "items"):
            object.__getattribute__(self, "asked").append(name)
        return object.__getattribute__(self, name)


async def stocked(*records: RegisterRecord) -> CountingStore:
    store = CountingStore()
    await store.keep(None, records)
    return store


async def run(store: MemoryStore, batch: Sequence[Event]) -> list[Event]:
    """One batch through the step, as the loop does it, and off the wire again."""
    step = EligibilityStep(store, POLICIES)
    facts = await step.load(None, batch)
    decided = [step.decide(event, facts) for event in batch]
    announced = [step.announce(decision) for decision in decided]
    return [events.decode(message.value) for message in announced]


def event(kind: str = "claim", **content: Any) -> Event:
    member_id = content.pop("member_id", "M")
    plain: dict[str, Any] = {"event_id": "e", "institution_id": "H", "claim_no": "C1", "digest": "d"}
    return Event(kind=kind, member_id=member_id, accepted_at="2023-05-10T01:00:00.000Z", **(plain | content))


async def test_a_claim_travels_on_with_its_verdict_and_nothing_else_changed() -> None:
    store = await stocked(member(CANGZHOU), place(CANGZHOU))
    sent = event(claim=claim())
    (received,) = await run(store, [sent])
    assert received.verdict is not None
    assert finding(received.verdict) == ("open", None)
    assert msgspec.structs.replace(received, verdict=None) == sent


@pytest.mark.parametrize(
    "passed",
    [
        event("reversal", reversal=Reversal(claim_no="C1", institution_id="H", reversed_at=on(DAY), reason="wrong")),
        event("question", asks="claim", number=2),
    ],
)
async def test_reversals_and_questions_travel_on_as_they_are(passed: Event) -> None:
    assert await run(await stocked(), [passed]) == [passed]


async def test_a_purchase_gets_a_verdict() -> None:
    use = AccountUse(
        use_no="U",
        institution_id="H",
        member_id="M",
        purpose="drugs",
        amount=1,
        used_at=on(DAY),
        used_on=DAY,
        for_member="C",
    )
    store = await stocked(member(CANGZHOU), place(CANGZHOU), FamilyLink("M", "C", "child", DAY))
    (received,) = await run(store, [event("account_use", use=use)])
    assert received.verdict is not None
    assert received.verdict.account_open
    assert received.verdict.family_allowed


async def test_every_kind_of_row_reaches_the_verdict() -> None:
    far = "650100"
    store = await stocked(
        member(KASHGAR, qualifications=(grant("chronic:X"),)),
        member(KASHGAR, "S"),
        member(KASHGAR, "P"),
        member(BAZHONG, "O"),
        place(KASHGAR),
        place(far, "F"),
        pharmacy(KASHGAR, "R"),
        filing(far, "posted"),
        InpatientStay("S", "H", DAY),
        FamilyLink("P", "M", "spouse", DAY),
        FamilyLink("O", "M", "child", DAY),  # whose own row says that he is insured elsewhere
        CatalogueItem(KASHGAR, "A", "a", "乙", 100_000, date(2020, 1, 1)),
    )
    bill = (Line(line_no="1", code="A", quantity="1", unit_price="1", amount=100),)
    claims = [
        claim(claim_no="filed", institution_id="F"),
        claim(claim_no="stay", member_id="S"),
        claim(claim_no="prescribed", institution_id="R", prescribed_by="H"),
        claim(claim_no="chronic", benefit="chronic:X"),
        claim(claim_no="family", family_payer="P"),
        claim(claim_no="elsewhere", family_payer="O"),
        claim(claim_no="lines", lines=bill, amounts=None, total=100),
    ]
    batch = [event(claim=one, claim_no=one.claim_no, member_id=one.member_id) for one in claims]
    verdicts = {received.claim_no: received.verdict for received in await run(store, batch)}
    found = {name: finding(verdict)[0] for name, verdict in verdicts.items() if verdict is not None}
    assert found == dict.fromkeys(("filed", "prescribed", "chronic", "family", "elsewhere", "lines"), "open") | {
        "stay": "inpatient_stay"
    }
    family, elsewhere, lines = verdicts["family"], verdicts["elsewhere"], verdicts["lines"]
    assert family is not None
    assert family.family_allowed
    assert elsewhere is not None
    assert not elsewhere.family_allowed
    assert lines is not None
    assert lines.amounts is not None
    assert lines.amounts.pre_self_pay == 10


async def test_a_batch_asks_each_table_at_most_once_and_only_those_it_needs() -> None:
    store = await stocked(member(CANGZHOU), place(CANGZHOU))
    batch = [event(claim=claim(claim_no=str(n)), claim_no=str(n)) for n in range(50)]
    await run(store, batch)
    assert store.asked == ["members", "institutions", "stays"]
    store.asked.clear()
    reversal = Reversal(claim_no="C1", institution_id="H", reversed_at=on(DAY), reason="wrong")
    await run(store, [event("reversal", reversal=reversal)])
    assert store.asked == []


async def test_a_claim_announced_twice_is_announced_with_the_same_bytes() -> None:
    store = await stocked(member(CANGZHOU), place(CANGZHOU))
    step = EligibilityStep(store, POLICIES)
    sent = event(claim=claim())
    messages = []
    for _ in range(2):
        facts = await step.load(None, [sent])
        messages.append(step.announce(step.decide(sent, facts)))
    assert messages[0] == messages[1]
    assert messages[0].part == part_of("M")
    assert (messages[0].topic, messages[0].key) == (events.ELIGIBLE, b"M")


@pytest.mark.parametrize("value", [b"", b"{", b"{}", b"\xff", b"null", b'{"kind": 1}'])
def test_what_is_no_event_is_unreadable(value: bytes) -> None:
    step = EligibilityStep(MemoryStore(), POLICIES)
    with pytest.raises(Unreadable):
        step.decode(Record(events.ACCEPTED, 0, 0, 0, None, value))


def test_events_of_one_claim_hold_each_other_back() -> None:
    step = EligibilityStep(MemoryStore(), POLICIES)
    assert step.key(event(claim=claim())) == step.key(event("question", asks="claim", number=1))
    assert step.key(event(claim=claim())) != step.key(event(claim=claim(), claim_no="C2"))


async def test_a_register_topic_keeps_what_it_carries() -> None:
    store = MemoryStore()
    step = RegisterStep(store)
    value = b'{"type": "inpatient_stay", "member_id": "M", "institution_id": "H", "admitted_on": "2023-05-01"}'
    record = Record("register.inpatient_stay", 0, 7, 0, b"M", value)
    read = step.decode(record)
    await step.load(None, [read])
    decided = step.decide(read, None)
    assert step.announce(decided) is None
    await step.record(None, [Filed(decided, record.topic, 0, 7, None, None)])
    assert await store.stays(None, ["M"]) == [InpatientStay("M", "H", date(2023, 5, 1))]


def test_a_record_on_the_topic_of_another_type_is_unreadable() -> None:
    value = b'{"type": "member", "member_id": "M"}'
    with pytest.raises(Unreadable, match="inpatient_stay"):
        RegisterStep(MemoryStore()).decode(Record("register.inpatient_stay", 0, 0, 0, None, value))


def test_the_register_takes_every_type_but_money() -> None:
    carried = {topic.removeprefix("register.") for topic in RegisterStep.topics}
    assert set(events.REGISTER_TYPES) - carried == {"account_credit"}
