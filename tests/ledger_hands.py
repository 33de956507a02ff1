"""For tests of the ledger: journals put into the books by hand, as a service would, and commands killed while they book."""

import asyncio
import os
import signal
import sys
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


async def wait_for_lock(connection: asyncpg.Connection, table: str) -> None:
    """Waits until somebody stands at a table of account that another has locked."""
    for _ in range(600):
        if await connection.fetchval(
            f"select count(*) from pg_locks where not granted and relation = 'account.{table}'::regclass"
        ):
            return
        await asyncio.sleep(0.1)
    raise AssertionError(f"nobody came to account.{table}")


async def killed_before(table: str, command: Sequence[str], connection: asyncpg.Connection, dsn: str) -> None:
    """Kills a command of ``gongji fund`` where it is about to write to a table, and ends its session as the server would."""
    blocker = await asyncpg.connect(dsn)
    async with blocker.transaction():
        await blocker.execute(f"lock table account.{table} in share mode")
        killed = await asyncio.create_subprocess_exec(sys.executable, *command, env=os.environ)
        await wait_for_lock(connection, table)
        killed.send_signal(signal.SIGKILL)
        await killed.wait()
        await connection.execute(
            "select pg_terminate_backend(pid) from pg_stat_activity where application_name = 'gongji-fund'"
            " and datname = current_database()"
        )
    await blocker.close()
