"""What was answered, read back for the counter: one outcome by its number, and an institution's own in a gapless order.

Read-only. It reads account's outcomes as ops does: services meet in shared words, or in SQL.
"""

import base64
import binascii
from collections.abc import Collection, Sequence
from typing import Any, Final, NamedTuple

import msgspec

from services.intake.number import Key
from shared.events import ADJUDICATED, SUBMITTED
from shared.identity import event_id
from shared.outcome import Outcome, decode

PAGE: Final = 500
_PAGE_BYTES: Final = 4_000_000  # an outcome with a reason for each of ten thousand lines has more than one
_LOOKED_THROUGH: Final = 200  # rejections of a partition, from the last on

# The first outcome, as a repeat gets it: a later revision states differences, and is among the institution's outcomes.
_FINAL: Final = """
    select kind, value from account.outcome
    where institution_id = $1 and claim_no = $2 and kind <> 'answer' and revision = 0
"""
_SUBMISSION: Final = "select kind, digest, reversed, closed from intake.submission where institution_id = $1 and claim_no = $2"
_REJECTION: Final = "select value from intake.rejection where event_id = $1"
# Rejections that bind no number are kept by their content: of an institution's latest, those that name the number are looked at.
_LATEST_REJECTIONS: Final = """
    select value from unnest($3::int[]) as asked (place)
    cross join lateral (
        select value from intake.outgoing
        where rejected_institution = $1 and source_partition = place
        order by seq desc limit $4
    ) as latest
    where position($2::bytea in value) > 0
"""
_DIGESTS: Final = """
    select institution_id, claim_no, digest from intake.submission
    join unnest($1::text[], $2::text[]) as asked (institution_id, claim_no) using (institution_id, claim_no)
"""
_READ: Final = "select next_offset from runtime.lease where service = 'intake' and topic = $1 and partition = $2"
# Sorted before it is cut: within a place nothing may be passed over. The last one is that which fills the bytes.
_AFTER: Final = """
    select place, seq, value from (
        select f.place, f.seq, t.value,
            sum(octet_length(t.value)) over (order by f.place, f.seq) - octet_length(t.value) as before
        from (
            select place, seq from unnest($2::int[], $3::bigint[]) as asked (place, after)
            cross join lateral (
                select seq from {table}
                where {own} and source_partition = place and seq > after and source_topic = $4
                order by seq limit $5
            ) as found
            order by place, seq limit $5
        ) as f
        cross join lateral (
            select value from {table} where (source_topic, source_partition, seq) = ($4, f.place, f.seq) offset 0
        ) as t
    ) as sized
    where before < $6
    order by place, seq
"""
_OUTCOMES: Final = _AFTER.format(table="account.outcome", own="institution_id = $1 and kind <> 'answer'")
_REJECTIONS: Final = _AFTER.format(table="intake.outgoing", own="rejected_institution = $1")


class Cursor(msgspec.Struct, frozen=True, array_like=True):
    """How far an institution has read, partition by partition: in account's outcomes, and in intake's rejections."""

    outcomes: tuple[int, ...]
    rejections: tuple[int, ...]

    @classmethod
    def start(cls, partitions: int) -> "Cursor":
        """Before the first outcome."""
        return cls((0,) * partitions, (0,) * partitions)

    @classmethod
    def read(cls, text: str, partitions: int) -> "Cursor":
        """Reads a cursor; partitions that were added since start from the beginning. Raises ValueError."""
        try:
            raw = base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
            given = msgspec.msgpack.decode(raw, type=cls)
        except (binascii.Error, msgspec.MsgspecError, UnicodeEncodeError) as fault:
            raise ValueError("not a cursor of this service") from fault
        if any(not 0 <= seq < 2**63 for seq in (*given.outcomes, *given.rejections)):
            raise ValueError("not a cursor of this service")
        return cls(*((*found, *(0,) * partitions)[:partitions] for found in (given.outcomes, given.rejections)))

    def written(self) -> str:
        """The cursor as it is given out."""
        return base64.urlsafe_b64encode(msgspec.msgpack.encode(self)).decode().rstrip("=")


class Page(NamedTuple):
    """Outcomes, the cursor behind them, and whether there are more already."""

    outcomes: list[bytes]
    next: Cursor
    more: bool


class Found(NamedTuple):
    """What stands under a number. ``value`` is None while the outcome is still to come."""

    value: bytes | None


class Answers:
    """Reads over a pool of read-only connections. Every method raises one of ``database.TROUBLE``."""

    def __init__(self, pool: Any) -> None:
        self._pool = pool

    async def find(self, institution_id: str, claim_no: str, kind: str) -> Found | None:
        """The first outcome of a number; ``kind`` is "claim" (an account use too) or "reversal". None: intake knows no such."""
        kinds = {"reversal"} if kind == "reversal" else {"claim", "account_use"}
        async with self._pool.acquire() as connection:
            for row in await connection.fetch(_FINAL, institution_id, claim_no):
                if row["kind"] in kinds:
                    return Found(row["value"])
            number = await connection.fetchrow(_SUBMISSION, institution_id, claim_no)
            if number is None or not (number["reversed"] if kind == "reversal" else number["kind"]):
                return None
            if number["closed"]:
                answered = "reversal" if kind == "reversal" else number["kind"]
                return Found(await connection.fetchval(_REJECTION, event_id(answered, institution_id, claim_no)))
            return Found(None)

    async def turned_away(self, institution_id: str, claim_no: str, kind: str, partitions: int) -> tuple[Outcome, bytes] | None:
        """What was last sent under a number that it did not bind, where that is not long ago, with the bytes of its outcome."""
        number = await self._pool.fetchrow(_SUBMISSION, institution_id, claim_no)
        if number is not None and (kind == "claim" or number["reversed"]):
            return None  # the number is used, by a reversal that came first
        named = b'_no":' + msgspec.json.encode(claim_no)  # of an account use: use_no
        places = list(range(partitions))
        rows = await self._pool.fetch(_LATEST_REJECTIONS, institution_id, named, places, _LOOKED_THROUGH)
        found = [(decode(row["value"]), row["value"]) for row in rows]
        same = [
            one
            for one in found
            if claim_no in (one[0].claim_no, one[0].use_no) and (one[0].kind == "reversal") == (kind == "reversal")
        ]
        return max(same, key=lambda one: str(one[0].settled_at), default=None)

    async def read_up_to(self, partition: int) -> int:
        """The offset up to which intake has applied a partition of ``claims.submitted``."""
        return int(await self._pool.fetchval(_READ, SUBMITTED, partition) or 0)

    async def rejection(self, identity: str) -> bytes | None:
        """A rejection that intake gave, by its id."""
        value: bytes | None = await self._pool.fetchval(_REJECTION, identity)
        return value

    async def digests(self, keys: Collection[Key]) -> dict[Key, str]:
        """The content each of these numbers is bound to."""
        if not keys:
            return {}
        institutions, numbers = zip(*keys, strict=True)
        rows = await self._pool.fetch(_DIGESTS, institutions, numbers)
        return {(row[0], row[1]): (row[2] or b"").hex() for row in rows}

    async def page(self, institution_id: str, after: Cursor, size: int = PAGE) -> Page:
        """An institution's outcomes behind a cursor: each once, none left out, whatever is being committed meanwhile."""
        values: list[bytes] = []
        positions = []
        left, room = size, _PAGE_BYTES
        for query, topic, reached in ((_OUTCOMES, ADJUDICATED, after.outcomes), (_REJECTIONS, SUBMITTED, after.rejections)):
            asked = (institution_id, list(range(len(reached))), list(reached), topic, left, room)
            rows = await self._pool.fetch(query, *asked) if left > 0 and room > 0 else []
            values += [row["value"] for row in rows]
            left, room = left - len(rows), room - sum(len(row["value"]) for row in rows)
            positions.append(_moved(reached, rows))
        return Page(values, Cursor(*positions), left <= 0 or room <= 0)


def _moved(reached: tuple[int, ...], rows: Sequence[Any]) -> tuple[int, ...]:
    now = list(reached)
    for row in rows:
        now[row["place"]] = max(now[row["place"]], row["seq"])
    return tuple(now)
