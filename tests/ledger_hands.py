"""Journals put into the books by hand, as a service would book them, for tests of seals, statements and payments."""

from collections.abc import Sequence
from datetime import datetime

import asyncpg

from shared.identity import part_of

Transfer = tuple[str, str, int]
SOME: Sequence[Transfer] = (("fund:440800:pooled", "payable:H1", 6_000), ("personal:M1", "payable:H1", 4_000))


async def book(
    connection: asyncpg.Connection,
    number: str,
    transfers: Sequence[Transfer] = SOME,
    *,
    issuer: str = "H1",
    kind: str = "claim",
    booked_at: datetime | None = None,
    journal_id: int | None = None,
) -> int:
    """Books one journal, under a number that was drawn before or a new one; returns its number."""
    journal_id = journal_id or int(await connection.fetchval("select nextval('account.journal_number')"))
    await connection.execute(
        "insert into account.journal (journal_id, issuer, number, kind, revision, part, booked_at)"
        " values ($1, $2, $3, $4, 0, $5, coalesce($6, now()))",
        *(journal_id, issuer, number, kind, part_of("M1"), booked_at),
    )
    await connection.executemany(
        "insert into account.posting (journal_id, line, debit, credit, amount, part) values ($1, $2, $3, $4, $5, $6)",
        [(journal_id, line, *transfer, part_of("M1")) for line, transfer in enumerate(transfers, 1)],
    )
    return journal_id
