"""Eligibility's two steps: one keeps the register, one attaches to each claim what the register and the law say.

Neither has a table per claim: a record delivered twice is announced twice, and the next service's inbox drops it.
"""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from typing import Final

import msgspec

from services.eligibility.coverage import Judge
from services.eligibility.register import Register
from services.eligibility.store import Store
from shared import events, register
from shared.errors import Unreadable
from shared.events import Event
from shared.identity import claim_key, part_of
from shared.policy import Policies
from shared.register import Institution, RegisterRecord
from shared.runtime.step import Filed, Message, Record, Tx
from shared.strict_json import UNREADABLE

_TOPIC_PREFIX: Final = "register."
_KEPT: Final = ("member", "institution", "family_link", "remote_filing", "inpatient_stay", "catalogue_item")


class RegisterStep:
    """Keeps what the ``register.*`` topics carry: a later record of an identity replaces the earlier one."""

    service = "eligibility"
    topics = tuple(_TOPIC_PREFIX + kind for kind in _KEPT)
    outbox = None

    def __init__(self, store: Store) -> None:
        self._store = store

    def decode(self, record: Record) -> RegisterRecord:
        """Raises Unreadable, naming each field at fault."""
        return register.read(record.value, record.topic.rpartition(".")[2])

    def key(self, _event: RegisterRecord) -> None:
        """A bad record holds nothing back: what follows it replaces it."""
        return

    async def load(self, _tx: Tx, _events: Sequence[RegisterRecord]) -> None:
        """Nothing: a record replaces, whatever was there."""
        return

    def decide(self, event: RegisterRecord, _facts: None) -> RegisterRecord:
        """The record as it is."""
        return event

    def announce(self, _decision: RegisterRecord) -> Message | None:
        """Nobody needs to know."""
        return None

    async def record(self, tx: Tx, filed: Sequence[Filed[RegisterRecord]]) -> None:
        """One statement a type."""
        await self._store.keep(tx, [row.decision for row in filed])


class EligibilityStep:
    """Attaches the verdict to claims and account uses; reversals and questions travel on as they are."""

    service = "eligibility"
    topics = (events.ACCEPTED,)
    outbox = None

    def __init__(self, store: Store, policies: Policies) -> None:
        self._store = store
        self._judge = Judge(policies)

    def decode(self, record: Record) -> Event:
        """Raises Unreadable for what is no event of ours."""
        try:
            return events.decode(record.value)
        except UNREADABLE as error:
            raise Unreadable(f"not an accepted event: {error}") from None

    def key(self, event: Event) -> str:
        """The claim's natural key."""
        return claim_key(event.institution_id, event.claim_no)

    async def load(self, tx: Tx, batch: Sequence[Event]) -> Register:
        """One query a table; filings only where somebody is away from home, items only where a bill has lines."""
        claims = [event.claim for event in batch if event.claim is not None]
        uses = [event.use for event in batch if event.use is not None]
        if not claims and not uses:
            return Register()
        patients = _distinct(claim.member_id for claim in claims)
        payers = (claim.family_payer for claim in claims)
        members = await self._store.members(tx, _distinct([*patients, *payers, *(use.member_id for use in uses)]))
        places = [place for claim in claims for place in (claim.institution_id, claim.prescribed_by)]
        institutions = await self._store.institutions(tx, _distinct([*places, *(use.institution_id for use in uses)]))
        away = len({row.region for row in members} | {row.region for row in institutions}) > 1
        pairs = [(claim.family_payer, claim.member_id) for claim in claims if claim.family_payer is not None]
        pairs += [(use.member_id, use.for_member) for use in uses if use.for_member is not None]
        codes = {(claim.institution_id, line.code) for claim in claims for line in claim.lines}
        items = _priced_there(codes, institutions) if codes else ()
        return Register(
            members=members,
            institutions=institutions,
            links=await self._store.links(tx, sorted(set(pairs))) if pairs else (),
            filings=await self._store.filings(tx, patients) if away else (),
            stays=await self._store.stays(tx, patients) if patients else (),
            items=await self._store.items(tx, items) if items else (),
        )

    def decide(self, event: Event, facts: Register) -> Event:
        """The event with its verdict."""
        if event.kind == "claim" and event.claim is not None:
            return msgspec.structs.replace(event, verdict=self._judge.claim(event.claim, facts))
        if event.kind == "account_use" and event.use is not None:
            return msgspec.structs.replace(event, verdict=self._judge.use(event.use, facts))
        return event

    def announce(self, decision: Event) -> Message:
        """For adjudication, on the member's part."""
        member_id = decision.member_id
        return Message(events.ELIGIBLE, part_of(member_id), member_id.encode(), events.encode(decision))

    async def record(self, _tx: Tx, _filed: Sequence[Filed[Event]]) -> None:
        """Nothing of its own: what it found travels in the event."""
        return


def _priced_there(codes: Iterable[tuple[str, str]], institutions: Iterable[Institution]) -> list[tuple[str, str]]:
    """(region, code) for each (institution, code): of every region that the institution ever was in."""
    regions: defaultdict[str, set[str]] = defaultdict(set)
    for row in institutions:
        regions[row.institution_id].add(row.region)
    return sorted({(region, code) for place, code in codes for region in regions[place]})


def _distinct(names: Iterable[str | None]) -> list[str]:
    return sorted({name for name in names if name is not None})
