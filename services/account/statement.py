"""An account's statement: opening balance, every entry with its reason, closing balance; read from the postings alone.

An account may have millions of postings: they are read as they are shown, so many at a time.
"""

import re
from collections.abc import AsyncIterator, Sequence
from datetime import date
from typing import Any, Final, NamedTuple

from services.account.chart import CHART, ChartRow
from services.account.seal_store import Tx
from shared.errors import Stop

REASONS: Final = {
    "claim": ("医疗费用结算", "a claim settled"),
    "reversal": ("撤销结算", "a settlement taken back"),
    "account_use": ("个人账户消费", "a purchase from an account"),
    "credit": ("个人账户划入（登记）", "a credit of the register"),
    "crediting": ("个人账户按月计入", "a month's credit, or its true-up"),
    "closing": ("个人账户销户", "an account closed"),
    "opening": ("随同转移的余额转入重新开立的账户", "what went along, brought to the account opened anew"),
    "settling": ("与参保人结清", "settled with a member"),
    "payment": ("支付医药机构", "an institution paid"),
    "repayment": ("医药机构退款", "an institution paid back"),
    "clearing": ("异地清算拨付", "what regions owe each other by a window, paid"),
    "release": ("年度考核金清算", "the year's retention released"),
}

PAGE: Final = 1000  # entries that are held at a time

_DAY = "((j.booked_at at time zone 'utc') + interval '8 hours')::date"
# Personal accounts and those of members have indexes of their own (0006_account.sql): ``like`` tells the planner of which.
_INDEXED = ("personal:", "member:")
_SIDES = f"""
    select p.journal_id, p.line, p.amount, p.credit as other, 'debit' as side,
        {_DAY} as day, j.kind, j.issuer, j.number, j.corrects
    from account.posting p join account.journal j using (journal_id) where p.debit = $1 {{of_debit}}
    union all
    select p.journal_id, p.line, p.amount, p.debit, 'credit', {_DAY}, j.kind, j.issuer, j.number, j.corrects
    from account.posting p join account.journal j using (journal_id) where p.credit = $1 {{of_credit}}
"""  # noqa: S608 - put together from this module's own text


class Entry(NamedTuple):
    """One posting, seen from the account. ``amount`` (fen): above zero where it makes the balance grow."""

    journal_id: int
    line: int
    day: date
    kind: str
    issuer: str
    number: str
    corrects: int | None
    other: str
    amount: int
    balance: int


class Opened(NamedTuple):
    """A statement before its first entry. Fen; balances as they grow on the account's side of the chart."""

    account: str
    row: ChartRow
    first: date | None
    last: date | None
    opening: int


class Statement(NamedTuple):
    """A whole statement."""

    opened: Opened
    entries: Sequence[Entry]
    closing: int


def chart_row(account: str) -> ChartRow:
    """The row of the chart that an account belongs to. Raises Stop for a name that is none."""
    for row in CHART:
        if re.fullmatch(re.sub("<[a-z]+>", "[^:]+", row.pattern), account):
            return row
    raise Stop(f"{account!r} is no account; `gongji ledger chart` lists how accounts are named")


async def opened(tx: Tx, account: str, first: date | None, last: date | None) -> Opened:
    """Begins a statement over days of booking (Asia/Shanghai), both included.

    Raises Stop for what is no account. One to which nothing was ever booked has an empty statement.
    """
    row = chart_row(account)
    if first is not None and last is not None and last < first:
        raise Stop(f"the statement would end on {last}, before it begins on {first}")
    opening = 0
    if first is not None:
        question = f"select coalesce(sum({_grows(row)}), 0)::bigint from ({_sides(account)}) as s where day < $2"  # noqa: S608
        opening = int(await tx.fetchval(question, account, first))
    return Opened(account, row, first, last, opening)


def entries_sql(begun: Opened) -> str:
    """The question for the entries: of an account ($1), between two days of booking ($2, $3)."""
    return (
        "select journal_id, line, day, kind, issuer, number, corrects, other,"  # noqa: S608
        f" {_grows(begun.row)} as amount from ({_sides(begun.account)}) as s"
        " where day between $2 and $3 order by journal_id, line"
    )


async def entries(tx: Tx, begun: Opened) -> AsyncIterator[Entry]:
    """The entries, in the order in which they were booked. In a transaction, which gives one snapshot of them."""
    span = (begun.first or date.min, begun.last or date.max)
    balance = begun.opening
    async for one in tx.cursor(entries_sql(begun), begun.account, *span, prefetch=PAGE):
        balance += one["amount"]
        yield Entry(**dict(one), balance=balance)


async def statement(tx: Tx, account: str, first: date | None, last: date | None) -> Statement:
    """A whole statement in memory: for accounts that are known to be short. Raises Stop, as ``opened`` does."""
    async with tx.transaction():
        begun = await opened(tx, account, first, last)
        found = [one async for one in entries(tx, begun)]
    return Statement(begun, found, found[-1].balance if found else begun.opening)


def _sides(account: str) -> str:
    kind = next((prefix for prefix in _INDEXED if account.startswith(prefix)), "")
    likes = {side: f"and p.{side} like '{kind}%'" if kind else "" for side in ("debit", "credit")}
    return _SIDES.format(of_debit=likes["debit"], of_credit=likes["credit"])


def _grows(row: ChartRow) -> str:
    return f"case side when '{row.side}' then amount else -amount end"


async def ever_booked(tx: Tx, account: str) -> bool:
    """Whether anything was ever booked to an account: where nothing was, its name is more likely a slip of the pen."""
    found = await tx.fetchval(
        "select exists (select from account.posting where debit = $1) or exists (select from account.posting where credit = $1)",
        account,
    )
    return bool(found)


class Moved(NamedTuple):
    """An account over a span of days: fen, as the balance grows on its side."""

    account: str
    row: ChartRow
    opening: int
    debits: int
    credits: int
    closing: int


async def overview(tx: Tx, region: str, first: date | None, last: date | None) -> list[Moved]:
    """Every account of a region (its funds, what it owes and is owed, what it paid and keeps), over days of booking."""
    rows: Sequence[Any] = await tx.fetch(
        f"""
        select account, coalesce(sum(amount) filter (where day < $2), 0)::bigint as before,
            coalesce(sum(amount) filter (where side = 'debit' and day between $2 and $3), 0)::bigint as debits,
            coalesce(-sum(amount) filter (where side = 'credit' and day between $2 and $3), 0)::bigint as credits
        from (
            select p.debit as account, p.amount, 'debit' as side, {_DAY} as day
            from account.posting p join account.journal j using (journal_id)
            union all
            select p.credit, -p.amount, 'credit', {_DAY} from account.posting p join account.journal j using (journal_id)
        ) as sides
        where account ~ $1 and day <= $3
        group by account order by account collate "C"
        """,  # noqa: S608
        f"^(?!personal:|payable:|recoverable:|member:)[a-z_]+:{region}(:|$)",
        first or date.min,
        last or date.max,
    )
    return [_moved(*tuple(row)) for row in rows]


def _moved(account: str, before: int, debits: int, credits_: int) -> Moved:
    row = chart_row(account)
    sign = 1 if row.side == "debit" else -1
    return Moved(account, row, sign * before, debits, credits_, sign * (before + debits - credits_))
