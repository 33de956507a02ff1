"""Accounts as the command line shows and closes them."""

import asyncio
from collections.abc import Sequence
from datetime import date
from typing import Any

from rich.console import Console
from rich.table import Table

from services.account import account_statement, closings
from services.account import settling as settlings
from services.account.account_statement import Account
from services.account.closings import Wanted
from shared.errors import Retry, ServerMissing
from shared.money import yuan
from shared.policy import Policies
from shared.runtime.database import Database, reader
from shared.runtime.settings import Settings


def statement(settings: Settings, member_id: str, first: date | None, last: date | None) -> Account:
    """One snapshot of an account. Raises Stop, ServerMissing."""

    async def ask() -> Account:
        async with reader(settings.postgres) as connection, connection.transaction(isolation="repeatable_read"):
            return await account_statement.read(connection, member_id, first, last)

    return asyncio.run(ask())


def worklist(settings: Settings, region: str | None) -> list[dict[str, Any]]:
    """What a person must see to. Raises ServerMissing."""

    async def ask() -> list[dict[str, Any]]:
        async with reader(settings.postgres) as connection:
            return await account_statement.worklist(connection, None, region)

    return asyncio.run(ask())


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


def as_json(member_id: str, account: Account) -> dict[str, Any]:
    """The account as one object; money as decimal strings in yuan."""
    made = account.statement
    return {
        "member_id": member_id,
        "from": made.first and made.first.isoformat(),
        "to": made.last and made.last.isoformat(),
        "opening": yuan(made.opening),
        "entries": [
            {"day": one.day.isoformat(), "journal_id": one.journal_id, "line": one.line, "amount": yuan(one.amount)}
            | {"balance": yuan(one.balance), "other": one.other}
            | why
            for one, why in zip(made.entries, account.why, strict=True)
        ],
        "closing": yuan(made.closing),
        "closed": account.closing,
        "worklist": list(account.worklist),
    }


def table(console: Console, member_id: str, account: Account) -> None:
    """The account for people."""
    made = account.statement
    shown = Table(title=f"个人账户 personal account {member_id}", title_justify="left")
    for heading in ("day 日期", "reason 事由", "month 月份", "amount 发生额", "balance 余额"):
        shown.add_column(heading, justify="right" if "额" in heading else "left")
    shown.add_row(str(made.first or ""), "opening balance 期初余额", "", "", yuan(made.opening))
    for one, why in zip(made.entries, account.why, strict=True):
        further = [why.get(name) for name in ("credit_no", "reason", "institution_id", "claim_no", "case", "article")]
        text = f"{why['zh']} {why['en']} ({why['kind']})\n{' '.join(str(value) for value in further if value)}"
        shown.add_row(one.day.isoformat(), text, why.get("month", ""), yuan(one.amount), yuan(one.balance))
    shown.add_row(str(made.last or ""), "closing balance 期末余额", "", "", yuan(made.closing))
    console.print(shown, markup=False)
    if account.closing is not None:
        console.print(" ".join(str(value) for value in ("closed 已销户:", *account.closing.values())), markup=False)
    for row in account.worklist:
        console.print(" ".join(str(value) for value in ("to do 待处理:", *row.values()) if value is not None), markup=False)
