"""Obligations and clearing windows in Postgres: one statement a table for a whole batch."""

from collections.abc import Collection, Sequence
from datetime import datetime
from typing import Protocol

from services.crossregion.netting import Position, by_region
from services.crossregion.routing import Key, Obligation
from services.crossregion.windows import Window
from shared.errors import Retry, UsageError
from shared.runtime.step import Filed, Tx


class Store(Protocol):
    """What crossregion remembers. ``services.crossregion.memory`` is the same without a server."""

    async def known(self, tx: Tx, keys: Collection[Key]) -> dict[Key, int]:
        """Which of these obligations are filed, and of how many fen."""
        ...

    async def open_window(self, tx: Tx) -> int:
        """The open window, opened if none is; it cannot close before the transaction ends."""
        ...

    async def record(self, tx: Tx, filed: Sequence[Filed[Obligation]]) -> None:
        """Files obligations."""
        ...

    async def close(self, tx: Tx, now: datetime) -> Window:
        """Closes the open window once nobody is filing into it, and opens the next; who comes later waits."""
        ...

    async def window(self, tx: Tx, window_id: int | None = None) -> Window:
        """A window; without a number the open one, or the last. Raises UsageError if there is none."""
        ...

    async def obligations(self, tx: Tx, window_id: int) -> list[Obligation]:
        """Every obligation of a window, in order of its key: what its positions are made of."""
        ...

    async def unannounced(self, tx: Tx) -> list[int]:
        """Closed windows that were not announced yet."""
        ...

    async def announced(self, tx: Tx, window_ids: Sequence[int], now: datetime) -> None:
        """Notes that these windows were announced."""
        ...


_KNOWN = """
    select o.institution_id, o.claim_no, o.kind, o.revision, o.amount
    from unnest($1::text[], $2::text[], $3::text[], $4::int[]) as k (institution_id, claim_no, kind, revision)
    join crossregion.obligation o using (institution_id, claim_no, kind, revision)
"""
_COLUMNS = (
    *("institution_id", "claim_no", "kind", "revision", "debtor", "creditor", "amount", "window_id", "part"),
    *("source_topic", "source_partition", "seq", "target", "key", "value"),
)


class PostgresStore:
    """``Store`` over asyncpg. Never commits."""

    async def known(self, tx: Tx, keys: Collection[Key]) -> dict[Key, int]:
        """Which of these obligations are filed, and of how many fen."""
        if not keys:
            return {}
        rows = await tx.fetch(_KNOWN, *(list(column) for column in zip(*keys, strict=True)))
        return {(row[0], row[1], row[2], row[3]): row[4] for row in rows}

    async def open_window(self, tx: Tx) -> int:
        """The open window, opened if none is; locked in share, so that ``closing`` waits for us."""
        for _ in range(3):
            window_id: int | None = await tx.fetchval(
                "select window_id from crossregion.clearing_window where closed_at is null for share"
            )
            if window_id is not None:
                return window_id
            await tx.execute("insert into crossregion.clearing_window default values on conflict do nothing")
        raise Retry("clearing windows close faster than they can be found")

    async def record(self, tx: Tx, filed: Sequence[Filed[Obligation]]) -> None:
        """Files obligations."""
        rows = [
            (*o.key, o.debtor, o.creditor, o.amount, o.window_id, o.part, one.topic, one.partition, one.seq)
            + ((one.message.topic, one.message.key, one.message.value) if one.message else (None, None, None))
            for one in filed
            for o in (one.decision,)
        ]
        await tx.copy_records_to_table("obligation", schema_name="crossregion", columns=_COLUMNS, records=rows)

    async def close(self, tx: Tx, now: datetime) -> Window:
        """Closes the open window and opens the next.

        The table's lock queues behind those who file and before those who come later. Row locks alone would not do:
        an endless row of sharers could keep us out for ever.
        """
        await tx.execute("lock table crossregion.clearing_window in exclusive mode")
        window_id = await self.open_window(tx)
        positions = await _positions(tx, window_id)
        await tx.execute(
            "update crossregion.clearing_window set closed_at = greatest($2, opened_at) where window_id = $1",
            window_id,
            now,
        )
        await tx.execute("insert into crossregion.clearing_window (opened_at) values ($1)", now)
        await tx.executemany(
            "insert into crossregion.net_position values ($1, $2, $3, $4, $5)",
            [(window_id, *position) for position in positions],
        )
        await tx.executemany(
            "insert into crossregion.net_region (window_id, region, receivable, payable) values ($1, $2, $3, $4)",
            [(window_id, *net) for net in by_region(positions)],
        )
        return await self.window(tx, window_id)

    async def window(self, tx: Tx, window_id: int | None = None) -> Window:
        """A window; without a number the open one, or the last. Raises UsageError if there is none."""
        row = await tx.fetchrow(
            "select window_id, opened_at, closed_at from crossregion.clearing_window"
            " where $1::bigint is null or window_id = $1 order by closed_at nulls first, window_id desc limit 1",
            window_id,
        )
        if row is None:
            raise UsageError(f"there is no clearing window {'' if window_id is None else window_id}".strip())
        positions = await _positions(tx, row["window_id"])
        return Window(window_id=row["window_id"], opened_at=row["opened_at"], closed_at=row["closed_at"], positions=positions)

    async def obligations(self, tx: Tx, window_id: int) -> list[Obligation]:
        """Every obligation of a window, in order of its key."""
        rows = await tx.fetch(
            "select institution_id, claim_no, kind, revision, debtor, creditor, amount, window_id, part"
            " from crossregion.obligation where window_id = $1",
            window_id,
        )
        return sorted(Obligation(tuple(row[:4]), *row[4:]) for row in rows)

    async def unannounced(self, tx: Tx) -> list[int]:
        """Closed windows that were not announced yet, oldest first."""
        rows = await tx.fetch(
            "select window_id from crossregion.clearing_window"
            " where closed_at is not null and announced_at is null order by window_id"
        )
        return [row[0] for row in rows]

    async def announced(self, tx: Tx, window_ids: Sequence[int], now: datetime) -> None:
        """Notes that these windows were announced."""
        await tx.execute(
            "update crossregion.clearing_window set announced_at = greatest($2, closed_at)"
            " where window_id = any($1::bigint[]) and announced_at is null",
            list(window_ids),
            now,
        )


async def _positions(tx: Tx, window_id: int) -> tuple[Position, ...]:
    rows = await tx.fetch(
        "select debtor, creditor, sum(amount)::bigint, count(*) from crossregion.obligation"
        ' where window_id = $1 group by debtor, creditor order by debtor collate "C", creditor collate "C"',
        window_id,
    )
    return tuple(Position(*row) for row in rows)


async def paid_at(tx: Tx, window_id: int) -> datetime | None:
    """When account booked that a window was paid; None: it did not. Nothing of clearing rests on it, so no store has it."""
    at: datetime | None = await tx.fetchval("select max(paid_at) from account.window_payment where window_id = $1", window_id)
    return at
