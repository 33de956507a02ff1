"""The sealer's SQL: what may be sealed, the chain, the roots. Never commits."""

from collections.abc import Iterable, Sequence
from typing import NamedTuple

import asyncpg

from services.account.seal import Block, Posted, Root, Tail

Tx = asyncpg.Connection

AT_MOST = 2_000  # postings a block: while they are read and hashed, claims of the same process wait
_LOCK = 0x5EA1  # one sealer at a time a database

# China has had no other offset since 1991 (shared.calendar), so no result depends on the server's zone data.
_DAY = "((j.booked_at at time zone 'utc') + interval '8 hours')::date::text"
_INSTANT = """to_char({} at time zone 'utc', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"')"""
_POSTED = f"""
    p.journal_id, p.line::int, p.debit, p.credit, p.amount, p.part,
    j.issuer, j.number, j.kind, j.revision, j.corrects, {_INSTANT.format("j.booked_at")} as booked_at
"""
_UNSEALED = f"""
    select coalesce({_DAY}, '') as day, {_POSTED}
    from account.posting p left join account.journal j using (journal_id)
    where (p.journal_id, p.line) > ($1, $2) and p.journal_id <= $3
    order by p.journal_id, p.line limit {AT_MOST}
"""  # noqa: S608 - put together from this module's own text
_BETWEEN = f"""
    select {_POSTED}
    from account.posting p left join account.journal j using (journal_id)
    where (p.journal_id, p.line) > ($1, $2) and (p.journal_id, p.line) <= ($3, $4)
    order by p.journal_id, p.line
"""  # noqa: S608
_HEADER = f"""
    number, day::text, algorithm, first_journal, first_line::int, last_journal, last_line::int, postings,
    encode(previous_hash, 'hex'), encode(merkle_root, 'hex'), {_INSTANT.format("sealed_at")}
"""


class Drawn(NamedTuple):
    """The journal number drawn last, and the transactions that held the sequence then: they may still book below it."""

    journal_id: int
    holders: frozenset[str]


class Kept(NamedTuple):
    """A block as the table has it."""

    block: Block
    hash: bytes
    leaves: tuple[bytes, ...]


async def alone(tx: Tx) -> bool:
    """Whether this transaction is the only sealer, until it ends."""
    return bool(await tx.fetchval("select pg_try_advisory_xact_lock($1)", _LOCK))


async def drawn(tx: Tx) -> Drawn:
    """See ``Drawn``. The number is read first: whoever draws a lower one afterwards does not exist."""
    journal_id = await tx.fetchval("select coalesce(pg_sequence_last_value('account.journal_number'), 0)")
    return Drawn(journal_id, await holders(tx))


async def holders(tx: Tx) -> frozenset[str]:
    """The transactions that have drawn a journal number and not ended: nextval locks the sequence weakly until then."""
    rows = await tx.fetch(
        "select distinct virtualtransaction from pg_locks where locktype = 'relation' and mode = 'RowExclusiveLock'"
        " and database = (select oid from pg_database where datname = current_database())"
        " and relation = 'account.journal_number'::regclass"
    )
    return frozenset(row[0] for row in rows)


async def tail(tx: Tx) -> Tail:
    """Where the chain ends."""
    row = await tx.fetchrow(
        "select number, day::text, last_journal, last_line::int, hash from account.block order by number desc limit 1"
    )
    return Tail(*row) if row else Tail()


async def now(tx: Tx) -> tuple[str, str]:
    """The instant and the day in Asia/Shanghai, by the clock that stamps journals."""
    row = await tx.fetchrow(f"select {_INSTANT.format('now()')}, ((now() at time zone 'utc') + interval '8 hours')::date::text")
    assert row is not None
    return row[0], row[1]


async def first_open_day(tx: Tx) -> str:
    """The day after the one closed last."""
    return str(await tx.fetchval("select coalesce((max(day) + 1)::text, '') from account.day_root where closes"))


async def unsealed(tx: Tx, after: Tail, up_to: int) -> list[tuple[str, Posted]]:
    """The next postings after the chain's end, up to a journal: their day of booking, and themselves."""
    rows = await tx.fetch(_UNSEALED, after.journal_id, after.line, up_to)
    return [(row[0], Posted(*tuple(row)[1:])) for row in rows]


async def waiting(tx: Tx, after: Tail) -> int:
    """How many postings are not sealed yet."""
    return int(
        await tx.fetchval(
            "select count(*) from account.posting where (journal_id, line) > ($1, $2)", after.journal_id, after.line
        )
    )


async def between(tx: Tx, after: Tail, block: Block) -> list[Posted]:
    """The postings of a block as they are now: after its predecessor's last, up to its own."""
    rows = await tx.fetch(_BETWEEN, after.journal_id, after.line, block.last_journal, block.last_line)
    return [Posted(*row) for row in rows]


async def append(tx: Tx, block: Block, digests: Sequence[bytes]) -> None:
    """Adds a block to the chain."""
    await tx.execute(
        "insert into account.block (number, day, algorithm, first_journal, first_line, last_journal, last_line, postings,"
        " previous_hash, merkle_root, sealed_at, hash, leaves) values ($1, $2::text::date, $3, $4, $5, $6, $7, $8,"
        " decode($9, 'hex'), decode($10, 'hex'), $11::text::timestamptz, $12, $13)",
        *block,
        block.hash,
        b"".join(digests),
    )


async def block(tx: Tx, number: int) -> Kept | None:
    """One block; None if there is none."""
    row = await tx.fetchrow(f"select {_HEADER}, hash, leaves from account.block where number = $1", number)  # noqa: S608
    return _kept(row) if row else None


async def blocks_of(tx: Tx, day: str) -> list[tuple[int, bytes]]:
    """(number, hash) of a day's blocks, in order."""
    rows = await tx.fetch("select number, hash from account.block where day = $1::text::date order by number", day)
    return [(row[0], row[1]) for row in rows]


async def days_to_close(tx: Tx, before: str) -> list[str]:
    """Days before this one that have blocks and no closing root."""
    rows = await tx.fetch(
        "select distinct b.day::text from account.block b where b.day < $1::text::date"
        " and not exists (select from account.day_root r where r.day = b.day and r.closes) order by 1",
        before,
    )
    return [row[0] for row in rows]


async def add_root(tx: Tx, made: Root, value: bytes) -> None:
    """Keeps a root, to be announced."""
    await tx.execute(
        "insert into account.day_root (day, last_block, closes, first_block, algorithm, root, value, made_at)"
        " values ($1::text::date, $2, $3, $4, $5, decode($6, 'hex'), $7, $8::text::timestamptz)",
        *(made.day, made.last_block, made.closes, made.first_block, made.algorithm, made.root, value, made.made_at),
    )


async def roots(tx: Tx, *, unannounced: bool = False) -> list[bytes]:
    """Every root as it is published, in order; or only those that were not announced yet."""
    only = (
        "where not exists (select from account.day_root_announced a"
        " where (a.day, a.last_block, a.closes) = (r.day, r.last_block, r.closes))"
    )
    rows = await tx.fetch(f"select value from account.day_root r {only * unannounced} order by day, last_block, closes")  # noqa: S608
    return [row[0] for row in rows]


async def kept_roots(tx: Tx) -> list[tuple[Root, bytes]]:
    """Every root: as the columns have it, and as it is published."""
    columns = f"day::text, algorithm, encode(root, 'hex'), first_block, last_block, closes, {_INSTANT.format('made_at')}, value"
    rows = await tx.fetch(f"select {columns} from account.day_root order by day, last_block, closes")  # noqa: S608
    return [(Root(**dict(zip(Root.__struct_fields__, row, strict=False))), row["value"]) for row in rows]


async def covering(tx: Tx, number: int) -> bytes | None:
    """The newest root over a block, as it is published; None while there is none."""
    value: bytes | None = await tx.fetchval(
        "select value from account.day_root where $1 between first_block and last_block"
        " order by last_block desc, closes desc limit 1",
        number,
    )
    return value


async def announced(tx: Tx, made: Iterable[Root]) -> None:
    """Remembers that these roots were published."""
    await tx.executemany(
        "insert into account.day_root_announced (day, last_block, closes) values ($1::text::date, $2, $3)",
        [(one.day, one.last_block, one.closes) for one in made],
    )


async def of_claim(tx: Tx, claim_no: str, institution_id: str | None) -> list[Posted]:
    """The postings of every journal of a claim or account use: what was booked, taken back, booked anew."""
    rows = await tx.fetch(
        f"select {_POSTED} from account.journal j join account.posting p using (journal_id)"  # noqa: S608
        " where j.number = $1 and ($2::text is null or j.issuer = $2) and j.kind in ('claim', 'reversal', 'account_use')"
        " order by p.journal_id, p.line",
        claim_no,
        institution_id,
    )
    return [Posted(*row) for row in rows]


async def block_over(tx: Tx, posting: Posted) -> int | None:
    """The number of the block a posting is in; None while it is not sealed."""
    number: int | None = await tx.fetchval(
        "select number from account.block where (last_journal, last_line) >= ($1, $2::smallint) order by number limit 1",
        posting.journal_id,
        posting.line,
    )
    return number


def _kept(row: asyncpg.Record) -> Kept:
    *header, stored, joined = tuple(row)
    size = len(stored) or 1
    return Kept(Block(*header), stored, tuple(joined[at : at + size] for at in range(0, len(joined), size)))
