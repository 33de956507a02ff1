"""Accounts as the command line shows and closes them."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from datetime import date
from typing import Any, NamedTuple

from rich.console import Console
from rich.table import Table

from services.account import account_statement, closings, openings, printed
from services.account import settling as settlings
from services.account.account_statement import Account
from services.account.closings import Wanted
from services.account.openings import Wanted as OpeningWanted
from services.account.statement import Entry
from shared.errors import Retry, ServerMissing, UsageError
from shared.money import yuan
from shared.policy import Policies
from shared.runtime.database import Database, reader
from shared.runtime.settings import Settings


class Shown(NamedTuple):
    """Whose account is shown, over which days of booking."""

    member_id: str
    first: date | None
    last: date | None


def statement(settings: Settings, wanted: Shown, *, as_json: bool) -> None:
    """Prints one snapshot of an account, entry by entry. Raises Stop, ServerMissing."""

    async def ask() -> None:
        async with reader(settings.postgres) as connection, connection.transaction(isolation="repeatable_read"):
            account = await account_statement.read(connection, *wanted)
            entries = account_statement.explained(connection, wanted.member_id, account.begun)
            await (_as_json if as_json else _as_table)(wanted.member_id, account, entries)

    asyncio.run(ask())


def worklist(settings: Settings, region: str | None) -> list[dict[str, Any]]:
    """What a person must see to. Raises ServerMissing; UsageError for a region that nobody knows."""

    async def ask() -> list[dict[str, Any]]:
        async with reader(settings.postgres) as connection:
            return await account_statement.worklist(connection, None, region)

    found = asyncio.run(ask())
    policies = Policies.load(settings.policies)
    if region is not None and not found and not policies.serves(region):  # what is open of one that was served once is shown
        raise UsageError(f"--region: {region!r} is none of {', '.join(policies.regions)}")
    return found


def closing(settings: Settings, wanted: Wanted, reason: str, *, dry_run: bool) -> dict[str, Any]:
    """Closes an account, or says what that would do. Raises Stop, with nothing booked; ServerMissing."""
    policies = Policies.load(settings.policies, settings.parameters)

    async def act() -> dict[str, Any]:
        async with reader(settings.postgres) as connection:
            leaver = await closings.look_up(connection, policies, wanted)
            amount = await closings.balance(connection, wanted.member_id)
        if not dry_run:
            writer = Database(settings.postgres, role="gongji_service", name="gongji-account")
            try:
                amount = (await closings.carry_out(writer, leaver, reason)).amount
            finally:
                await writer.close()
        return {
            "member_id": wanted.member_id,
            "region": leaver.asked.region,
            "case": wanted.case,
            "closed_on": wanted.day.isoformat(),
            "amount": yuan(amount),
            "to": leaver.choice.disposal,
            "article": leaver.choice.article,
            "dry_run": dry_run,
        }

    try:
        return asyncio.run(act())
    except Retry as trouble:
        remedy = f"{trouble}; look with `gongji account show` whether it is closed, and give the command again if not"
        raise ServerMissing("postgres", remedy) from trouble


def opening(settings: Settings, wanted: OpeningWanted, reason: str, *, dry_run: bool) -> dict[str, Any]:
    """Opens an account anew, or says what that would do. Raises Stop, with nothing booked; ServerMissing."""
    policies = Policies.load(settings.policies, settings.parameters)

    async def act() -> openings.Found:
        if dry_run:
            async with reader(settings.postgres) as connection:
                return await openings.look_up(connection, policies, wanted)
        writer = Database(settings.postgres, role="gongji_service", name="gongji-account")
        try:
            return await openings.carry_out(writer, policies, wanted, reason)
        finally:
            await writer.close()

    try:
        found = asyncio.run(act())
    except Retry as trouble:
        remedy = f"{trouble}; look with `gongji account show` whether it is open, and give the command again if not"
        raise ServerMissing("postgres", remedy) from trouble
    return {"member_id": wanted.member_id, "region": found.region, "brought": yuan(found.amount), "dry_run": dry_run}


def settling(settings: Settings, member_id: str, reason: str, *, dry_run: bool) -> list[dict[str, Any]]:
    """Settles what is open with a member, or says what that would be. Raises Stop, with nothing booked; ServerMissing."""

    async def act() -> Sequence[settlings.Open]:
        if dry_run:
            async with reader(settings.postgres) as connection:
                return await settlings.look_up(connection, member_id)
        writer = Database(settings.postgres, role="gongji_service", name="gongji-account")
        try:
            return await settlings.carry_out(writer, member_id, reason)
        finally:
            await writer.close()

    try:
        found = asyncio.run(act())
    except Retry as trouble:
        remedy = f"{trouble}; give the command again when it answers: what is settled is not open any more"
        raise ServerMissing("postgres", remedy) from trouble
    return [
        {"member_id": member_id, "region": one.region, "kind": one.kind, "amount": yuan(one.amount), "dry_run": dry_run}
        for one in found
    ]


Explained = AsyncIterator[tuple[Entry, dict[str, Any]]]


async def _as_json(member_id: str, account: Account, entries: Explained) -> None:
    """The account as one object; money as decimal strings in yuan."""
    begun = account.begun
    head = {"member_id": member_id, "from": begun.first and begun.first.isoformat(), "to": begun.last and begun.last.isoformat()}
    shown = (
        (
            one.balance,
            {"day": one.day.isoformat(), "journal_id": one.journal_id, "line": one.line, "amount": yuan(one.amount)}
            | {"balance": yuan(one.balance), "other": one.other}
            | why,
        )
        async for one, why in entries
    )
    await printed.as_json(head, begun.opening, shown)
    printed.close_json({"closed": account.closing, "along": list(account.along), "worklist": list(account.worklist)})


async def _as_table(member_id: str, account: Account, entries: Explained) -> None:
    """The account for people."""
    console = Console()
    await printed.as_table(console, lambda: _table(member_id), _rows(account, entries))
    if account.closing is not None:
        console.print(" ".join(str(value) for value in ("closed 已销户:", *account.closing.values())), markup=False)
    for row in account.along:
        console.print(" ".join(("went along, not brought 随同转出未转入:", *row.values())), markup=False)
    for row in account.worklist:
        console.print(" ".join(str(value) for value in ("to do 待处理:", *row.values()) if value is not None), markup=False)


def _table(member_id: str) -> Table:
    shown = Table(title=f"个人账户 personal account {member_id}", title_justify="left")
    for heading in ("day 日期", "reason 事由", "month 月份", "amount 发生额", "balance 余额"):
        shown.add_column(heading, justify="right" if "额" in heading else "left")
    return shown


async def _rows(account: Account, entries: Explained) -> AsyncIterator[tuple[str, ...]]:
    begun, balance = account.begun, account.begun.opening
    yield (str(begun.first or ""), "opening balance 期初余额", "", "", yuan(balance))
    async for one, why in entries:
        balance = one.balance
        further = [why.get(name) for name in ("credit_no", "reason", "institution_id", "claim_no", "case", "article")]
        text = f"{why['zh']} {why['en']} ({why['kind']})\n{' '.join(str(value) for value in further if value)}"
        yield (one.day.isoformat(), text, why.get("month", ""), yuan(one.amount), yuan(balance))
    yield (str(begun.last or ""), "closing balance 期末余额", "", "", yuan(balance))
