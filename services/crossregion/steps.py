"""Crossregion's step: an obligation for every settled outcome whose region of care is not the insured region."""

from collections.abc import Sequence
from dataclasses import dataclass

import msgspec

from services.crossregion.routing import Key, Obligation, Settled, obligation
from services.crossregion.store import Store
from shared.errors import Unreadable
from shared.events import OBLIGATIONS, SETTLED
from shared.identity import claim_key, event_id
from shared.money import yuan
from shared.runtime.step import Filed, Message, Record, Tx
from shared.strict_json import UNREADABLE

_decoder = msgspec.json.Decoder(Settled)


@dataclass(slots=True)
class Facts:
    """What a batch is decided on. ``window_id``: the open window; 0 while nothing of the batch needs one."""

    window_id: int
    filed: dict[Key, int]  # fen


class CrossregionStep:
    """Files what one region owes another into the open clearing window."""

    service = "crossregion"
    topics = (SETTLED,)
    outbox = "crossregion.obligation"

    def __init__(self, store: Store) -> None:
        self._store = store

    def decode(self, record: Record) -> Settled:
        """Reads what of an outcome concerns two regions. Raises Unreadable."""
        try:
            return _decoder.decode(record.value)
        except UNREADABLE as error:
            raise Unreadable(f"not an outcome of account: {error}") from error

    def key(self, event: Settled) -> str:
        """A reversal waits behind its claim."""
        return claim_key(event.institution_id, event.number)

    async def load(self, tx: Tx, events: Sequence[Settled]) -> Facts:
        """The open window and what is filed; nothing at all for a batch that stays at home."""
        keys = {key for event in events if event.remote for key in (event.key, *event.taken_back)}
        if not keys:
            return Facts(0, {})
        return Facts(await self._store.open_window(tx), await self._store.known(tx, keys))

    def decide(self, event: Settled, facts: Facts) -> Obligation | None:
        """None: care at home, or nothing but cash, or filed before."""
        if event.key in facts.filed:
            return None
        decided = obligation(event, facts.window_id, facts.filed)
        if decided is not None:
            facts.filed[decided.key] = decided.amount
        return decided

    def announce(self, decision: Obligation) -> Message:
        """The obligation, under its pair of regions; its part stays the member's."""
        institution_id, claim_no, kind, revision = decision.key
        value = {
            "type": "obligation",
            "window": decision.window_id,
            "debtor": decision.debtor,
            "creditor": decision.creditor,
            "amount": yuan(decision.amount),
            "kind": kind,
            "institution_id": institution_id,
            "claim_no": claim_no,
            "revision": revision,
            "event_id": event_id(kind, institution_id, claim_no, revision),
        }
        pair = f"{decision.debtor}:{decision.creditor}".encode()
        return Message(OBLIGATIONS, decision.part, pair, msgspec.json.encode(value))

    async def record(self, tx: Tx, filed: Sequence[Filed[Obligation]]) -> None:
        """Files the batch's obligations."""
        if filed:
            await self._store.record(tx, filed)
