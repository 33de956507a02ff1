"""One batch of records on its way to decisions: read, held back behind poison, decided in offset order, filed."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from hashlib import blake2b
from typing import Any, Generic, TypeVar

from shared.errors import Unreadable
from shared.events import REJECTED
from shared.identity import part_of
from shared.runtime.lease import Advance, Lease, Place
from shared.runtime.quarantine import Poison, indexable, redrive_of
from shared.runtime.relay import Outgoing, dead_letter
from shared.runtime.step import Filed, Record, Step

D = TypeVar("D")

OURS = frozenset({"failed", "constraint"})  # our fault or our law's, not the sender's: a run of these stops the partition
_AFTER_ALL_ROWS = 1 << 62  # rank of a record that is no redrive: it came after every row there is


@dataclass(slots=True)
class Entry:
    """A record with what became of it: an event, or poison. ``verdict`` outlives a batch that is tried anew."""

    record: Record
    event: Any = None
    claim_key: str | None = None
    redrive: int | None = None
    verdict: Poison | None = None  # final: unreadable, or condemned by a failure
    behind: Poison | None = None  # for this try only: a predecessor is in quarantine

    @property
    def poison(self) -> Poison | None:
        return self.verdict or self.behind

    @property
    def place(self) -> Place:
        return (self.record.topic, self.record.partition)

    def condemn(self, reason: str, detail: str) -> None:
        """Sends the record to quarantine."""
        self.verdict = self.as_poison(reason, detail)

    def as_poison(self, reason: str, detail: str) -> Poison:
        """The record as a row of quarantine."""
        key = self.record.key or b""
        return Poison(self.record, reason, detail, self.claim_key, part_of(key.decode("utf-8", "replace")))


class Undecidable(Exception):
    """``decide`` raised for this entry: condemn it and decide the batch anew."""

    def __init__(self, entry: Entry, reason: str, detail: str) -> None:
        super().__init__(detail)
        self.entry = entry
        self.reason = reason
        self.detail = detail


@dataclass(slots=True)
class Batch(Generic[D]):
    """What a batch gives: rows to write, messages to announce, and how far each lease moves."""

    filed: list[Filed[D]] = field(default_factory=list)
    poison: list[tuple[Poison, int]] = field(default_factory=list)
    outgoing: list[Outgoing] = field(default_factory=list)
    advances: dict[Place, Advance] = field(default_factory=dict)
    redriven: list[int] = field(default_factory=list)


def digest(record: Record) -> bytes:
    """Names a record's content, so that a log that was changed behind our back is noticed."""
    return blake2b(record.value, digest_size=16, key=(record.key or b"")[:64]).digest()


def read(step: Step[Any, Any, Any], records: Sequence[Record]) -> list[Entry]:
    """Decodes each record on its own: one that cannot be read never spoils its neighbours."""
    entries = []
    for record in records:
        entry = Entry(record)
        entry.redrive = redrive_of(record) if record.headers else None
        try:
            entry.event = step.decode(record)
            key = step.key(entry.event)
            entry.claim_key = None if key is None else indexable(key)
        except Unreadable as unreadable:
            entry.condemn("unreadable", str(unreadable))
        except Exception as failure:  # noqa: BLE001 - whatever a decoder does, the record is kept and named
            entry.condemn("failed", f"{type(failure).__name__}: {failure}")
        entries.append(entry)
    return entries


def hold_back(entries: Sequence[Entry], held: dict[str, dict[int, int]]) -> None:
    """Sets aside what has a predecessor in quarantine: a reversal must not overtake its claim.

    ``held``: claim key -> {row id: rank}. A redriven record has the rank of its row and passes whatever came after it,
    in quarantine and in the batch. A second copy of it (an operator redrove twice) has none: it comes last.
    """
    blocking = {key: sorted(ranks.values()) for key, ranks in held.items()}
    tried: set[int] = set()
    for position, entry in enumerate(entries):
        entry.behind = None
        key = entry.claim_key
        if key is None:
            continue
        ranks = blocking.setdefault(key, [])
        own = held.get(key, {}).get(entry.redrive) if entry.redrive is not None and entry.redrive not in tried else None
        if own is None:
            own = _AFTER_ALL_ROWS + position
        else:
            ranks.remove(own)
        if entry.redrive is not None:
            tried.add(entry.redrive)
        if entry.verdict is None and any(rank < own for rank in ranks):
            entry.behind = entry.as_poison("behind", "an earlier record of this claim is in quarantine")
        if entry.poison is not None:
            ranks.append(own)


def decide(step: Step[Any, Any, D], facts: Any, entries: Sequence[Entry], leases: dict[Place, Lease]) -> Batch[D]:
    """Decides every entry in order. Raises Undecidable for the first that fails."""
    batch: Batch[D] = Batch()
    advances = batch.advances
    for place, lease in leases.items():
        advances[place] = Advance(lease.next_offset, lease.last_digest or b"", lease.out_seq)
    for entry in entries:
        record = entry.record
        by = advances[(record.topic, record.partition)]
        by.next_offset = record.offset + 1
        if entry.redrive is not None:
            batch.redriven.append(entry.redrive)
        poison = entry.poison
        if poison is not None:
            by.out_seq += 1
            by.quarantined += 1
            batch.poison.append((poison, by.out_seq))
            batch.outgoing.append(dead_letter(poison))
            continue
        _file(step, facts, entry, by, batch)
    for last in {entry.place: entry.record for entry in entries}.values():
        advances[(last.topic, last.partition)].last_digest = digest(last)
    return batch


def _file(step: Step[Any, Any, D], facts: Any, entry: Entry, by: Advance, batch: Batch[D]) -> None:
    record = entry.record
    try:
        decided = step.decide(entry.event, facts)
        decisions = decided if isinstance(decided, list) else [] if decided is None else [decided]
        messages = [step.announce(decision) for decision in decisions]
    except Unreadable as unreadable:
        raise Undecidable(entry, "unreadable", str(unreadable)) from unreadable
    except Exception as failure:
        raise Undecidable(entry, "failed", f"{type(failure).__name__}: {failure}") from failure
    if not decisions:
        by.repeated += 1
        return
    for decision, message in zip(decisions, messages, strict=True):
        seq = None
        if message is not None:
            if step.outbox is not None:
                by.out_seq += 1
                seq = by.out_seq
            batch.outgoing.append(Outgoing(message))
        batch.filed.append(Filed(decision, record.topic, record.partition, record.offset, seq, message))
    if messages[0] is not None and messages[0].topic == REJECTED:  # a record is counted once, whatever it gave
        by.rejected += 1
    else:
        by.decided += 1
