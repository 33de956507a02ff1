"""Adjudication's part of the path: ``claims.eligible`` in, ``claims.adjudicated`` out, one decision a claim."""

from collections.abc import Sequence
from dataclasses import dataclass, field

import msgspec

from services.adjudication import engine, year
from services.adjudication.counters import CounterKey, Counters
from services.adjudication.decision import rejected, reversed_
from services.adjudication.store import ClaimKey, InboxKey, Ruling, Store, whose
from shared.claim import Claim
from shared.errors import Unreadable
from shared.events import ADJUDICATED, ELIGIBLE, Decision, Event, Verdict, decode, encode
from shared.identity import claim_key, part_of
from shared.policy import Policies, Version
from shared.reasons import reason
from shared.runtime.step import Filed, Message, Record, Tx
from shared.strict_json import UNREADABLE


@dataclass(slots=True)
class Facts:
    """What a batch is decided on; ``decide`` keeps it up to date as it goes."""

    known: set[InboxKey]
    counters: Counters
    originals: dict[ClaimKey, Event] = field(default_factory=dict)  # decided claims that are, or may be, reversed
    standing: dict[tuple[str, str], list[ClaimKey]] = field(default_factory=dict)  # (member, city's period), oldest first
    histories: dict[str, list[Event]] = field(default_factory=dict)  # of members with a year to be worked out again
    prepared: dict[InboxKey, engine.Prepared] = field(default_factory=dict)  # claims that funds may pay by accumulators


class AdjudicationStep:
    """Thin: the engine decides, the store keeps."""

    service = "adjudication"
    topics = (ELIGIBLE,)
    outbox = "adjudication.decision"

    def __init__(self, store: Store, policies: Policies) -> None:
        self._store = store
        self._policies = policies
        self._latest_first = any(_latest_first(version) for version in policies.versions)

    def decode(self, record: Record) -> Event:
        """Raises Unreadable: what eligibility announced is an event, anything else is a stranger's."""
        try:
            return decode(record.value)
        except UNREADABLE as error:
            raise Unreadable(f"not an event: {error}") from error

    def key(self, event: Event) -> str:
        """The claim's natural key."""
        return claim_key(event.institution_id, event.claim_no)

    async def load(self, tx: Tx, events: Sequence[Event]) -> Facts:
        """The inbox, the claims to be reversed, and every accumulator that may move, locked in key order."""
        reversals = [event for event in events if event.kind == "reversal"]
        wanted = [_claim(event) for event in reversals]
        inbox = [event.inbox_key for event in events]
        known, stored = await self._store.known(tx, inbox, wanted)
        originals = {claim: decode(value) for claim, value in stored.items()}
        prepared = self._prepared([(key, event) for key, event in zip(inbox, events, strict=True) if key not in known])
        keys = [key for one in prepared.values() for key in one.keys]
        for original in originals.values():
            if original.claim is not None and original.decision is not None:
                keys += engine.reversal_keys(original.claim, original.decision)
        histories = await self._histories(tx, events, known, keys)
        counters = Counters(await self._store.counters(tx, keys))
        facts = Facts(known, counters, originals, histories=histories, prepared=prepared)
        if self._latest_first and reversals:
            members = sorted({event.member_id for event in reversals})
            for member, period, claim in await self._store.standing(tx, members):
                facts.standing.setdefault((member, period), []).append(claim)
        return facts

    def _prepared(self, events: Sequence[tuple[InboxKey, Event]]) -> dict[InboxKey, engine.Prepared]:
        """What the first event of each key is decided by, where funds may pay by accumulators."""
        found: dict[InboxKey, engine.Prepared] = {}
        for key, event in events:
            if event.claim is not None and event.verdict is not None and key not in found:
                one = engine.prepare(event.claim, event.verdict, self._version(event))
                if one is not None:
                    found[key] = one
        return found

    async def _histories(
        self, tx: Tx, events: Sequence[Event], known: set[InboxKey], keys: list[CounterKey]
    ) -> dict[str, list[Event]]:
        """All that was decided for members whose year is to be worked out again; their accumulators are added to ``keys``."""
        commands = [event for event in events if event.rework is not None and event.inbox_key not in known]
        histories: dict[str, list[Event]] = {event.member_id: [] for event in commands}
        if commands:
            for member_id, value in await self._store.history(tx, sorted(histories)):
                histories[member_id].append(decode(value))
        for command in commands:
            assert command.rework is not None
            keys += year.keys(histories[command.member_id], command.rework, self._version_of)
        return histories

    def decide(self, event: Event, facts: Facts) -> Ruling | list[Ruling] | None:
        """The first event of a key wins; a later one is dropped. Raises ValueError for a reversal without its claim."""
        key = event.inbox_key
        if key in facts.known:
            return None
        facts.known.add(key)
        if event.kind in {"claim", "reversal"}:
            ruling = self._claim(event, facts, key) if event.kind == "claim" else self._reversal(event, facts)
            if event.member_id in facts.histories:
                facts.histories[event.member_id].append(ruling.event)
            return ruling
        if event.rework is not None:
            return self._again(event, facts)
        if event.kind == "account_use":
            ruling = Ruling(msgspec.structs.replace(event, decision=_account_use(event)))
            facts.originals[_claim(event)] = ruling.event
            return ruling
        return Ruling(event)  # a question: passes on, behind what it asks about

    def announce(self, decision: Ruling) -> Message | None:
        """The event with its decision, to the member's partition. A command ends here: its revisions are announced."""
        event = decision.event
        if event.rework is not None:
            return None
        return Message(ADJUDICATED, part_of(event.member_id), event.member_id.encode(), encode(event))

    async def record(self, tx: Tx, filed: Sequence[Filed[Ruling]]) -> None:
        """Decisions and accumulators, one statement each."""
        await self._store.record(tx, filed)

    def _claim(self, event: Event, facts: Facts, key: InboxKey) -> Ruling:
        claim, verdict = event.claim, event.verdict
        if claim is None or verdict is None:
            raise ValueError("a claim's event carries the claim and eligibility's verdict")
        version = self._version(event)
        decision = engine.decide(claim, verdict, version, facts.counters, prepared=facts.prepared.get(key))
        decided = msgspec.structs.replace(event, decision=decision)
        facts.originals[_claim(event)] = decided
        latest_first = decision.outcome == "settled" and version is not None and _latest_first(version)
        if latest_first:
            facts.standing.setdefault(whose(decided), []).append(_claim(event))
        return Ruling(decided, facts.counters.take_changes(), latest_first)

    def _again(self, command: Event, facts: Facts) -> list[Ruling]:
        """The command with what it came to, then each claim's next revision."""
        assert command.rework is not None
        past = facts.histories[command.member_id]
        try:
            revisions, changes = year.work_out(command, past, facts.counters, self._version_of)
        except year.Unworkable as unworkable:
            return [Ruling(_answered(command, refused=str(unworkable)))]
        for event in revisions:
            facts.originals[_claim(event)] = event
        past += revisions
        used = tuple((key.period, key.name, counter.used) for key, counter in changes)
        return [Ruling(_answered(command, used=used), changes), *map(Ruling, revisions)]

    def _reversal(self, event: Event, facts: Facts) -> Ruling:
        original = facts.originals.get(_claim(event))
        if original is None or original.decision is None:
            raise ValueError("a reversal arrived whose claim was never decided here")
        if original.claim is None:  # an account use: no fund, no accumulator
            return Ruling(msgspec.structs.replace(event, decision=reversed_(original.decision, {}, {})))
        standing = facts.standing.get(whose(original), [])
        if _claim(event) in standing:
            if standing[-1] != _claim(event):
                institution_id, claim_no = standing[-1]
                why = reason("later_claim_stands", zh=claim_no, en=f"{claim_no} at {institution_id}")
                return Ruling(msgspec.structs.replace(event, decision=rejected(why)))
            standing.pop()
        decision = engine.reverse(original.claim, original.decision, facts.counters)
        decided = msgspec.structs.replace(event, claim=original.claim, decision=decision, revised=original.revision)
        return Ruling(decided, facts.counters.take_changes())

    def _version(self, event: Event) -> Version | None:
        assert event.claim is not None
        assert event.verdict is not None
        return self._version_of(event.verdict, event.claim)

    def _version_of(self, verdict: Verdict, claim: Claim) -> Version | None:
        return self._policies.on(verdict.region, claim.visited_on)


def _claim(event: Event) -> ClaimKey:
    return event.institution_id, event.claim_no


def _answered(command: Event, *, used: tuple[tuple[str, str, int], ...] = (), refused: str = "") -> Event:
    assert command.rework is not None
    return msgspec.structs.replace(command, rework=msgspec.structs.replace(command.rework, used=used, refused=refused))


def _latest_first(version: Version) -> bool:
    return version.benefits.reversal.rule == "latest_first"


def _account_use(event: Event) -> Decision:
    """No fund takes part in an account use: its whole amount is the person's own."""
    if event.verdict is not None and event.verdict.rejection is not None:
        return rejected(event.verdict.rejection, event.verdict.articles)
    if event.use is None:
        raise ValueError("an account use's event carries the use")
    return Decision(outcome="settled", total=event.use.amount, own_paid=event.use.amount)
