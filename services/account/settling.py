"""Settling (结清): what is open between a region and a member is paid out or received, and leaves the work list.

Open is what a reimbursement or a revision put on ``member:<region>:<member>``, and every item of the work list. Each is settled
once, by a journal of its own; what comes later is open again.
"""

from collections.abc import Sequence
from typing import Any, Final, NamedTuple

from services.account import journals
from services.account.ledger import Journal, Posting
from services.account.store import PostgresStore, copy_rows, write_journals
from shared.errors import Stop
from shared.identity import part_of
from shared.money import yuan
from shared.runtime.command import log_command, who
from shared.runtime.database import Database

TO_MEMBER: Final = "owed_to_member"
BY_MEMBER: Final = "owed_by_member"

# From the postings, for the register forgets where somebody was insured when it puts a line right. Both halves go by an index
# of their own (0006_account.sql), which knows only these accounts; a member's id may have a colon in it.
_RUNNING: Final = """
    select whose[1] as region, whose[2] as member_id, sum(amount)::bigint as amount, max(journal_id) as last from (
        select regexp_match(credit, '^member:([^:]*):(.*)') as whose, amount, journal_id
        from account.posting where credit like 'member:%'
        union all
        select regexp_match(debit, '^member:([^:]*):(.*)'), -amount, journal_id
        from account.posting where debit like 'member:%'
    ) as sides
    where ($1::text is null or whose[2] = $1) and ($2::text is null or whose[1] = $2)
    group by whose having sum(amount) <> 0 order by whose
"""
_ITEMS: Final = """
    select w.journal_id, w.line, w.kind, w.region, w.amount, c.disposal
    from account.worklist w left join lateral (
        select disposal from account.closing where member_id = w.member_id
        order by region = w.region desc, number desc limit 1) as c on true
    where w.member_id = $1 and not exists (
        select from account.settling s where (s.item_journal, s.item_line) = (w.journal_id, w.line))
    order by w.journal_id, w.line
"""


class Open(NamedTuple):
    """One thing to be settled. ``amount``: fen to the member; below zero, from him."""

    kind: str
    region: str
    amount: int
    posting: Posting
    number: str
    item: tuple[int, int] | None = None  # of the work list


async def running(reader: Any, member_id: str | None, region: str | None) -> list[dict[str, Any]]:
    """What regions owe to and are owed by members outside their accounts."""
    rows = await reader.fetch(_RUNNING, member_id, region)
    return [
        {
            "region": row["region"],
            "member_id": row["member_id"],
            "kind": TO_MEMBER if row["amount"] > 0 else BY_MEMBER,
            "amount": yuan(abs(row["amount"])),
        }
        for row in rows
    ]


async def look_up(reader: Any, member_id: str) -> list[Open]:
    """Everything that is open with a member. Raises Stop where nothing is."""
    found = []
    for region, _, amount, last in await reader.fetch(_RUNNING, member_id, None):
        account = journals.member(region, member_id)
        kind, bank = (TO_MEMBER if amount > 0 else BY_MEMBER), journals.bank(region)
        posting = Posting(account, bank, amount) if amount > 0 else Posting(bank, account, -amount)
        found.append(Open(kind, region, amount, posting, f"{region}/{last}"))
    found += [_item(member_id, *row) for row in await reader.fetch(_ITEMS, member_id)]
    if not found:
        raise Stop(f"nothing is open with {member_id}: he owes nothing, and is owed nothing outside his account")
    return found


def _item(member_id: str, journal_id: int, line: int, kind: str, region: str, amount: int, disposal: str | None) -> Open:  # noqa: PLR0917
    """What came back to a closed account goes where its balance went; what was spent too much is received."""
    if kind == "overcredited":
        amount, posting = -amount, Posting(journals.bank(region), journals.recoverable(member_id), amount)
    else:
        posting = Posting(journals.closed_accounts(region), journals.left_to(disposal or "paid_out", region), amount)
    return Open(kind, region, amount, posting, f"{journal_id}/{line}", (journal_id, line))


async def carry_out(writer: Database, member_id: str, reason: str) -> list[Open]:
    """Settles everything that is open with a member, in one transaction. Raises Stop, with nothing booked; Retry."""
    async with writer.transaction() as tx:
        await tx.execute("select pg_advisory_xact_lock(hashtext('account settle'), hashtext($1))", member_id)
        found = await look_up(tx, member_id)
        numbers = await PostgresStore().journal_ids(tx, len(found))
        booked = [_journal(next(numbers), member_id, one) for one in found]
        await write_journals(tx, booked)
        await _record(tx, member_id, reason, list(zip(booked, found, strict=True)))
        before = {"member_id": member_id, "open": [[one.kind, one.region, yuan(one.amount)] for one in found]}
        after = {"member_id": member_id, "open": [], "journals": [journal.journal_id for journal in booked]}
        await log_command(tx, "account settle", reason, before, after)
    return found


async def _record(tx: Any, member_id: str, reason: str, settled: Sequence[tuple[Journal, Open]]) -> None:
    columns = ("journal_id", "member_id", "region", "part", "item_journal", "item_line", "amount", "who", "reason")
    rows = [
        (journal.journal_id, member_id, one.region, journal.part, *(one.item or (None, None)), one.amount, who(), reason)
        for journal, one in settled
    ]
    await copy_rows(tx, "settling", columns, rows)


def _journal(journal_id: int, member_id: str, one: Open) -> Journal:
    return Journal(
        journal_id=journal_id,
        issuer=member_id,
        number=one.number,
        kind="settling",
        revision=0,
        part=part_of(member_id),
        postings=(one.posting,),
    )
