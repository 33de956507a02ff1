"""A clearing window is paid (清算拨付): all its positions are booked as paid in one transaction, and once.

What a closed window says regions owe each other is crossregion's; that it was paid is account's. Money goes from each debtor to
each creditor as the window's matrix says, so that for every region the bank moves by the window's net.
"""

from typing import NamedTuple

from services.account import journals
from services.account.payment_store import Tx, journal
from services.account.store import PostgresStore, copy_rows, write_journals
from shared.errors import Stop
from shared.runtime.command import log_command, who


class Cleared(NamedTuple):
    """A position that was paid. ``amount``: fen from the place of insurance to the place of care; below zero, back."""

    debtor: str
    creditor: str
    amount: int


async def clear(tx: Tx, window_id: int, why: str) -> list[Cleared]:
    """Books that a closed window was paid; what was booked already is said again. Raises Stop, with nothing booked."""
    await tx.execute("select pg_advisory_xact_lock(hashtext('fund clear'), hashtext($1))", str(window_id))
    await _closed(tx, window_id)
    if before := await _positions(tx, "select debtor, creditor, amount from account.window_payment", window_id):
        return before
    positions = await _positions(tx, "select debtor, creditor, gross from crossregion.net_position", window_id)
    if not positions:
        raise Stop(f"nothing to pay: no region owes another anything by window {window_id}")
    booked = await _book(tx, window_id, positions, why)
    after = {"window": window_id, "positions": len(positions), "journals": booked}
    await log_command(tx, "fund clear", why, {"window": window_id, "paid": False}, after)
    return positions


async def _closed(tx: Tx, window_id: int) -> None:
    """Raises Stop for a window that is open, or is none."""
    row = await tx.fetchrow(
        "select bool_or(closed_at is not null) filter (where window_id = $1), max(window_id) filter (where closed_at is not null)"
        " from crossregion.clearing_window",
        window_id,
    )
    assert row is not None
    closed, last = row
    if closed is None:
        known = "no window is closed yet" if last is None else f"the last that is closed is {last}"
        raise Stop(f"there is no clearing window {window_id}; {known}")
    if not closed:
        raise Stop(f"window {window_id} is open, and what is owed by it may still change: close it first (gongji clearing close)")


async def _positions(tx: Tx, question: str, window_id: int) -> list[Cleared]:
    rows = await tx.fetch(f'{question} where window_id = $1 order by debtor collate "C", creditor collate "C"', window_id)
    return [Cleared(*row) for row in rows]


async def _book(tx: Tx, window_id: int, positions: list[Cleared], why: str) -> list[int]:
    """Writes journals, postings, and a row a position. Returns the journals' numbers."""
    owed = [one for one in positions if one.amount]
    numbers = await PostgresStore().journal_ids(tx, len(owed))
    booked = {
        one: journal(next(numbers), one.debtor, f"{one.creditor}/{window_id}", "clearing", journals.clearing(*one))
        for one in owed
    }  # fmt: skip
    await write_journals(tx, list(booked.values()))
    rows = [(window_id, *one, booked[one].journal_id if one in booked else None, who(), why) for one in positions]
    columns = ("window_id", "debtor", "creditor", "amount", "journal_id", "who", "reason")
    await copy_rows(tx, "window_payment", columns, rows)
    return [one.journal_id for one in booked.values()]
