"""Intake's tables: one statement a table for a batch, the numbers locked in one order."""

from collections.abc import Collection, Mapping, Sequence
from typing import Any, Protocol

import msgspec

from services.intake.number import Key, Number
from shared import events
from shared.errors import Retry
from shared.events import Event
from shared.runtime.step import Filed, Message, Tx


class Ruling(msgspec.Struct, frozen=True, kw_only=True):
    """What intake decided on one record. ``number``: the state to write; None where the table already has it."""

    event_id: str
    part: int
    passed: Event | None = None  # on to eligibility; or else
    rejection: Message | None = None
    number: Number | None = None
    new_rejection: bool = False  # to be kept, so that a repeat gets the same bytes
    institution_id: str = ""  # of a rejection, where it is one that an institution can have

    @property
    def message(self) -> Message:
        """What is announced."""
        if self.rejection is not None:
            return self.rejection
        assert self.passed is not None
        return Message(events.ACCEPTED, self.part, self.passed.member_id.encode(), events.encode(self.passed))


class Store(Protocol):
    """What intake remembers."""

    async def open(self, tx: Tx, opening: Sequence[Number]) -> dict[Key, Number]:
        """Locks these numbers for the transaction; those nobody had are stored as given. Returns those that stood."""
        ...

    async def rejections(self, tx: Tx, event_ids: Collection[str]) -> dict[str, bytes]:
        """The outcomes already given under these ids."""
        ...

    async def unannounced(self, tx: Tx, events: Sequence[tuple[str, int]]) -> int:
        """How many of these events, (id, partition), are still to be announced by another partition than the one named."""
        ...

    async def record(self, tx: Tx, filed: Sequence[Filed[Ruling]]) -> None:
        """Writes changed numbers, new rejections, and the outbox. Raises Retry when a rejection was given meanwhile."""
        ...


_COLUMNS = "institution_id, claim_no, part, kind, digest, member_id, accepted_at, reversed, closed, questions"
_ARRAYS = (
    "unnest($1::text[], $2::text[], $3::int[], $4::text[], $5::bytea[], $6::text[],"
    " $7::timestamptz[], $8::bool[], $9::bool[], $10::int[])"
)

# Both statements take their rows in the order of the key ("C" collation, the columns' own), and no transaction
# inserts after it has locked: so two batches that meet in one number wait for each other, and never in a circle.
_OPEN = f"""
    insert into intake.submission ({_COLUMNS})
    select {_COLUMNS} from {_ARRAYS} as opening ({_COLUMNS})
    order by institution_id collate "C", claim_no collate "C"
    on conflict on constraint submission_pk do nothing
    returning institution_id, claim_no
"""  # noqa: S608 - the names are this module's own
_LOCK = f"""
    select {", ".join(f"s.{name}" for name in _COLUMNS.split(", "))}
    from intake.submission s
    join unnest($1::text[], $2::text[]) as asked (institution_id, claim_no) using (institution_id, claim_no)
    order by s.institution_id, s.claim_no
    for update of s
"""  # noqa: S608
_CHANGE = f"""
    update intake.submission s
    set part = c.part, kind = c.kind, digest = c.digest, member_id = c.member_id, accepted_at = c.accepted_at,
        reversed = c.reversed, closed = c.closed, questions = c.questions
    from {_ARRAYS} as c ({_COLUMNS})
    where s.institution_id = c.institution_id and s.claim_no = c.claim_no
"""  # noqa: S608
_REJECT = """
    insert into intake.rejection (event_id, part, value)
    select event_id, part, value from unnest($1::text[], $2::int[], $3::bytea[]) as r (event_id, part, value)
    order by event_id collate "C"
    on conflict on constraint rejection_pk do nothing
"""
# What each lease decided and has not relayed, by the outbox's key, and once: joined freely, a plan made after an ``analyze`` read
# the whole outbox for each batch with a reversal.
_UNANNOUNCED = """
    select decided.event_id, decided.source_partition
    from runtime.lease l
    cross join lateral (
        select event_id, source_partition from intake.outgoing
        where source_topic = l.topic and source_partition = l.partition and seq > l.relayed_seq offset 0
    ) as decided
    where l.service = 'intake' and (decided.event_id in (select unnest($1::text[]))) is true
"""
_OUTGOING = ("source_topic", "source_partition", "seq", "target", "part", "key", "value", "event_id", "rejected_institution")


class PostgresStore:
    """``Store`` over asyncpg. Never commits; the loop does."""

    async def open(self, tx: Tx, opening: Sequence[Number]) -> dict[Key, Number]:
        """Inserts what is new, then locks what stood: two statements at most."""
        if not opening:
            return {}
        opened = {(row[0], row[1]) for row in await tx.fetch(_OPEN, *_as_arrays(opening))}
        stood = [number.key for number in opening if number.key not in opened]
        if not stood:
            return {}
        institutions, numbers = zip(*stood, strict=True)
        return {number.key: number for number in map(_number, await tx.fetch(_LOCK, institutions, numbers))}

    async def rejections(self, tx: Tx, event_ids: Collection[str]) -> dict[str, bytes]:
        """The outcomes already given under these ids."""
        if not event_ids:
            return {}
        return dict(await tx.fetch("select event_id, value from intake.rejection where event_id = any($1::text[])", event_ids))

    async def unannounced(self, tx: Tx, events: Sequence[tuple[str, int]]) -> int:
        """Looks at what each lease has decided and not yet relayed: a few rows, by the outbox's own key."""
        asked: dict[str, set[int]] = {}
        for event_id, partition in events:
            asked.setdefault(event_id, set()).add(partition)
        decided = await tx.fetch(_UNANNOUNCED, list(asked))
        return sum(partition != where for event_id, where in decided for partition in asked[event_id])

    async def record(self, tx: Tx, filed: Sequence[Filed[Ruling]]) -> None:
        """Writes changed numbers, new rejections, and the outbox. Raises Retry when a rejection was given meanwhile."""
        changed = last_states(filed)
        if changed:
            await tx.execute(_CHANGE, *_as_arrays(changed))
        new = [(one.decision.event_id, one.message) for one in filed if one.message is not None and one.decision.new_rejection]
        if new:
            ids = [event_id for event_id, _ in new]
            parts = [message.part for _, message in new]
            done = await tx.execute(_REJECT, ids, parts, [message.value for _, message in new])
            if done != f"INSERT 0 {len(new)}":
                # Another partition gave this very rejection between our look and our write: its bytes stand.
                raise Retry("a rejection was given by another partition at the same time")
        rows = [(one.topic, one.partition, one.seq, *(one.message or ()), *_whose(one.decision)) for one in filed]
        await tx.copy_records_to_table("outgoing", schema_name="intake", records=rows, columns=_OUTGOING)


def _whose(ruling: Ruling) -> tuple[str, str | None]:
    """The message's id; and the institution that reads it among its outcomes, where it is a first rejection."""
    return ruling.event_id, (ruling.institution_id or None) if ruling.new_rejection else None


def last_states(filed: Sequence[Filed[Ruling]]) -> list[Number]:
    """The numbers a batch changed, each as the batch leaves it."""
    states = {number.key: number for one in filed if (number := one.decision.number) is not None}
    return list(states.values())


def _as_arrays(numbers: Sequence[Number]) -> tuple[list[object], ...]:
    rows = [
        (
            *(number.institution_id, number.claim_no, number.part, number.kind or None),
            bytes.fromhex(number.digest) if number.digest else None,
            *(number.member_id or None, number.accepted_at, number.reversed, number.closed, number.questions),
        )
        for number in numbers
    ]
    return tuple(list(column) for column in zip(*rows, strict=True))


def _number(row: Mapping[str, Any]) -> Number:
    values: dict[str, Any] = dict(row)
    values["digest"] = (values["digest"] or b"").hex()
    values["kind"] = values["kind"] or ""
    values["member_id"] = values["member_id"] or ""
    return Number(**values)
