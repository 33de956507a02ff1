"""Poison: records that cannot be read or decided. Kept with their original bytes, announced on ``claims.dead``.

The row is written in the transaction that moves the offset, so a record is either applied or here, never lost.
A record whose claim has a predecessor here is held behind it: a reversal must not overtake.
"""

import base64
import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from hashlib import blake2b

import asyncpg

from shared.runtime.step import Record

REDRIVE_HEADER = "gongji-redrive"  # carries the id of the quarantine row that is being tried again
_DETAIL_MAX = 2000
_KEY_MAX = 400  # characters of a claim's key that a B-tree's row certainly holds


@dataclass(frozen=True, slots=True)
class Poison:
    """One record to set aside. ``reason``: unreadable, failed (decide raised), constraint, behind."""

    record: Record
    reason: str
    detail: str
    claim_key: str | None
    part: int


_INSERT = """
insert into runtime.quarantine
    (service, topic, partition, record_offset, seq, part, claim_key, reason, detail, key, value, headers, attempts,
     first_failed_at, rank)
select $1, p.topic, p.partition, p.record_offset, p.seq, p.part, p.claim_key, p.reason, p.detail, p.key, p.value,
       p.headers::jsonb, coalesce(q.attempts + 1, 1), coalesce(q.first_failed_at, now()), coalesce(q.rank, q.id)
from unnest($2::text[], $3::int[], $4::bigint[], $5::bigint[], $6::int[], $7::text[], $8::text[], $9::text[],
            $10::bytea[], $11::bytea[], $12::text[], $13::bigint[])
    as p(topic, partition, record_offset, seq, part, claim_key, reason, detail, key, value, headers, redrive_of)
left join runtime.quarantine q on q.id = p.redrive_of
order by p.seq -- ids in the order of the records: the order of a claim's rows goes by them
"""
_HELD = """
select claim_key, id, coalesce(rank, id) as rank from runtime.quarantine
where service = $1 and state = 'held' and claim_key = any($2::text[])
"""
_GENUINE = """
select r.id from unnest($2::bigint[], $3::text[], $4::bytea[]) as r(id, topic, value)
where exists (
    select from runtime.quarantine q
    where q.id = r.id and q.topic = r.topic and q.value = r.value and q.service = $1 and q.state = 'held' offset 0
)
"""
_CLOSE = """
update runtime.quarantine set state = 'redriven', closed_at = now(), closed_why = 'redriven'
where id = any($1::bigint[]) and state = 'held'
"""


async def record(tx: asyncpg.Connection, service: str, rows: Sequence[tuple[Poison, int]], redriven: Collection[int]) -> None:
    """Writes poison with its sequence numbers, in the batch's transaction. ``redriven``: the rows this batch tries again."""
    if not rows:
        return
    poison = [p for p, _ in rows]
    await tx.execute(
        _INSERT,
        service,
        [p.record.topic for p in poison],
        [p.record.partition for p in poison],
        [p.record.offset for p in poison],
        [seq for _, seq in rows],
        [p.part for p in poison],
        [p.claim_key for p in poison],
        [p.reason for p in poison],
        [_storable(p.detail) for p in poison],
        [p.record.key for p in poison],
        [p.record.value for p in poison],
        [pack_headers(p.record.headers) for p in poison],
        [again if (again := redrive_of(p.record)) in redriven else None for p in poison],
    )


async def held(tx: asyncpg.Connection, service: str, keys: Sequence[str]) -> dict[str, dict[int, int]]:
    """Which of these claims have predecessors in quarantine: claim key -> {row id: its rank}."""
    if not keys:
        return {}
    rows = await tx.fetch(
        _HELD,
        service,
        keys,
    )
    ranks: dict[str, dict[int, int]] = {}
    for row in rows:
        ranks.setdefault(row["claim_key"], {})[row["id"]] = row["rank"]
    return ranks


async def genuine(tx: asyncpg.Connection, service: str, redrives: Mapping[int, Record]) -> set[int]:
    """Which of these rows are held and hold just these records: whoever writes to a topic can write a header."""
    rows = await tx.fetch(
        _GENUINE,
        service,
        list(redrives),
        [record.topic for record in redrives.values()],
        [record.value for record in redrives.values()],
    )
    return {row["id"] for row in rows}


async def close(tx: asyncpg.Connection, redriven: Sequence[int]) -> None:
    """Closes the rows whose records were tried again in this batch, whatever came of it: a new failure has its own row."""
    if redriven:
        await tx.execute(_CLOSE, redriven)


def redrive_of(record: Record) -> int | None:
    """The quarantine row that this record is a second try of, if it is one."""
    for name, value in record.headers:
        if name == REDRIVE_HEADER and value.isdigit() and len(value) < 19:
            return int(value)
    return None


def indexable(claim_key: str) -> str:
    """A claim's key as Postgres can store and index it. Keys that fall together would only wait for each other."""
    if len(claim_key) <= _KEY_MAX and _storable(claim_key) == claim_key:
        return claim_key
    return blake2b(claim_key.encode("utf-8", "surrogatepass"), digest_size=16).hexdigest()


def pack_headers(headers: Sequence[tuple[str, bytes]]) -> str:
    """Headers as they are kept: any bytes, in base64."""
    return json.dumps([[_storable(name), base64.b64encode(value or b"").decode()] for name, value in headers])


def unpack_headers(packed: str) -> list[tuple[str, bytes]]:
    """Headers as they were."""
    return [(name, base64.b64decode(value)) for name, value in json.loads(packed)]


def _storable(text: str) -> str:
    """Postgres text holds no NUL and no half surrogates."""
    return text[:_DETAIL_MAX].replace("\0", "\ufffd").encode("utf-8", "replace").decode()
