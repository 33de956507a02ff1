"""The books of crediting and closing in Postgres, beside those of settlement: one statement a table for a whole batch."""

from collections.abc import Collection, Sequence
from typing import Protocol

from services.account.crediting import Booked, CreditedKey, Sheet
from services.account.leaving import Closing, Opening
from services.account.store import PostgresStore, Store, copy_rows, move, write_journals, write_todo
from shared.errors import Stop
from shared.identity import part_of
from shared.runtime.step import Tx


class CreditingStore(Store, Protocol):
    """What crediting and closing remember. ``services.account.crediting_memory`` is the same without a server."""

    async def booked(self, tx: Tx, keys: Collection[CreditedKey]) -> dict[CreditedKey, Booked]:
        """What these months have in the books; the members' accounts are locked."""
        ...

    async def record_sheets(self, tx: Tx, sheets: Sequence[Sheet]) -> None:
        """Writes credits, journals, postings and the work list, and moves the balances."""
        ...

    async def record_closing(self, tx: Tx, closing: Closing) -> None:
        """Empties and closes an account that is locked."""
        ...


# ``offset 0`` keeps each look-up to the key, also on a table that has no statistics yet (as in the register's store).
_BOOKED = """
    select k.member_id, k.region, k.month, k.title, sum(c.amount)::bigint, max(c.run_id),
        (array_agg(c.source order by c.run_id desc))[1], min(c.journal_id)
    from unnest($1::text[], $2::text[], $3::text[], $4::text[]) as k (member_id, region, month, title)
    cross join lateral (
        select amount, run_id, source, journal_id from account.crediting as r
        where r.member_id = k.member_id and r.region = k.region and r.month = k.month
            and r.title = k.title offset 0
    ) as c
    group by 1, 2, 3, 4
"""
_CREDIT = (
    *("member_id", "region", "month", "run_id", "part", "amount", "recoverable", "interest", "basis", "source", "article"),
    *("journal_id", "line", "late", "title"),
)
_CLOSE = "update account.balance set balance = 0, version = version + 1, closed = true where member_id = $1 and not closed"
_CLOSED = """
    insert into account.closing (member_id, part, region, leaving, disposal, article, amount, closed_on, journal_id, number)
    values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)
"""
_OPEN = """
    update account.balance b set closed = false, version = version + 1 from unnest($1::text[]) as m (member_id)
    where b.member_id = m.member_id and b.closed
"""


class PostgresCreditingStore(PostgresStore):
    """``CreditingStore`` over asyncpg. Never commits."""

    async def booked(self, tx: Tx, keys: Collection[CreditedKey]) -> dict[CreditedKey, Booked]:
        """What these months have in the books."""
        if not keys:
            return {}
        rows = await tx.fetch(_BOOKED, *(list(column) for column in zip(*keys, strict=True)))
        return {(row[0], row[1], row[2], row[3]): Booked(*row[4:]) for row in map(tuple, rows)}

    async def record_sheets(self, tx: Tx, sheets: Sequence[Sheet]) -> None:
        """Writes credits, journals, postings and the work list, and moves the balances."""
        rows, todo = [], []
        moved: dict[str, int] = {}
        await open_anew(tx, [(sheet.journal.journal_id, account) for sheet in sheets for account in sheet.opened])
        for piece, journal, booked, items, _ in sheets:
            number = journal.journal_id
            for c in booked:
                fixed = (c.member_id, piece.region, c.month, piece.run, c.part, c.amount, c.recoverable, c.interest)
                rows.append((*fixed, c.basis, c.source, c.article, number, c.line, c.late, c.title))
                moved[c.member_id] = moved.get(c.member_id, 0) + c.amount + c.recoverable + c.interest - c.late
            todo += [(number, *item[:4], part_of(item.member_id), item.amount, None, None) for item in items]
        await copy_rows(tx, "crediting", _CREDIT, rows)
        await write_journals(tx, [sheet.journal for sheet in sheets])
        await write_todo(tx, todo)
        await move(tx, moved)

    async def record_closing(self, tx: Tx, closing: Closing) -> None:
        """Empties and closes an account that is locked. Raises Stop if it is closed already."""
        member_id, part, region, case, (disposal, article), amount, day, journal, closed_at = closing
        if await tx.execute(_CLOSE, member_id) != "UPDATE 1":
            raise Stop("the account is closed already, or was not opened and locked")
        await write_journals(tx, [journal])
        number = journal.journal_id if journal else None
        await tx.execute(_CLOSED, member_id, part, region, case, disposal, article, amount, day, number, closed_at)


async def open_anew(tx: Tx, opened: Sequence[tuple[int, Opening]]) -> None:
    """Opens accounts that are closed and locked, each by the ledger's number. Raises Stop for one that is open."""
    if not opened:
        return
    await write_openings(tx, opened)
    if await tx.execute(_OPEN, [opening.member_id for _, opening in opened]) != f"UPDATE {len(opened)}":
        raise Stop("an account that was to be opened anew is open, or was not locked")


async def write_openings(tx: Tx, opened: Sequence[tuple[int, Opening]]) -> None:
    """What is told of openings: of an account that a credit opened already, that its balance came after it."""
    columns = ("member_id", "part", "region", "amount", "number")
    await copy_rows(tx, "opening", columns, [(*opening, number) for number, opening in opened])
