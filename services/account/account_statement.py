"""A member's account for people: the statement of its postings, each with the month and the reason it was booked for."""

from collections.abc import Sequence
from datetime import date
from typing import Any, NamedTuple

from services.account import journals, settling
from services.account.statement import REASONS, Entry, Statement, statement
from shared.errors import Stop
from shared.money import yuan

_CREDITINGS = """
    select c.journal_id, c.line, c.month, c.basis, c.article, r.kind from account.crediting as c
    join account.credit_run as r using (run_id) where c.member_id = $1 order by c.journal_id, c.line
"""
_CREDITS = "select journal_id, month, reason from account.credit where member_id = $1 and journal_id is not null"
_WORKLIST = """
    select region, member_id, kind, amount, institution_id, claim_no, journal_id, noted_at from account.worklist
    where ($1::text is null or member_id = $1) and ($2::text is null or region = $2) and not exists (
        select from account.settling as s where (s.item_journal, s.item_line) = (worklist.journal_id, worklist.line))
    order by noted_at, journal_id, line
"""


class Account(NamedTuple):
    """A member's account over a span of days. ``why``: for each entry month, reason and article."""

    statement: Statement
    why: Sequence[dict[str, Any]]
    closing: dict[str, Any] | None
    worklist: Sequence[dict[str, Any]]


async def read(tx: Any, member_id: str, first: date | None, last: date | None) -> Account:
    """The account of a member. Raises Stop for one that nobody knows."""
    known = await tx.fetchval(
        "select exists (select from account.balance where member_id = $1)"
        " or exists (select from eligibility.member where member_id = $1)",
        member_id,
    )
    if not known:
        raise Stop("there is no such member: neither an account nor a line in the register")
    found = await statement(tx, journals.personal(member_id), first, last)
    creditings = [dict(row) for row in await tx.fetch(_CREDITINGS, member_id)]
    credits_ = {row["journal_id"]: row for row in await tx.fetch(_CREDITS, member_id)}
    why = [_why(entry, creditings, credits_) for entry in found.entries]
    closing = await tx.fetchrow(
        "select leaving, disposal, article, amount, closed_on from account.closing where member_id = $1", member_id
    )
    shown = None
    if closing is not None:
        shown = dict(closing) | {"amount": yuan(closing["amount"]), "closed_on": closing["closed_on"].isoformat()}
    return Account(found, why, shown, await worklist(tx, member_id, None))


async def worklist(tx: Any, member_id: str | None, region: str | None) -> list[dict[str, Any]]:
    """What a person must see to: of one member, of one region, or all; what is owed to and by members too."""
    rows = await tx.fetch(_WORKLIST, member_id, region)
    items = [dict(row) | {"amount": yuan(row["amount"]), "noted_at": row["noted_at"].isoformat()} for row in rows]
    return items + await settling.running(tx, member_id, region)


def _why(entry: Entry, creditings: Sequence[dict[str, Any]], credits_: dict[int, Any]) -> dict[str, Any]:
    zh, en = REASONS[entry.kind]
    shown: dict[str, Any] = {"kind": entry.kind, "zh": zh, "en": en}
    if entry.kind == "crediting":
        rows = [row for row in creditings if row["journal_id"] == entry.journal_id and row["line"] <= entry.line]
        row = rows[-1]
        if entry.other.startswith("interest:"):  # article and base of the row are the credit's
            return shown | {"kind": "interest", "month": row["month"], "zh": "个人账户利息", "en": "interest"}
        shown |= {"kind": row["kind"], "month": row["month"], "article": row["article"]}
        if row["basis"] is not None:
            shown["basis"] = yuan(row["basis"])
    elif entry.kind == "credit":
        row = credits_[entry.journal_id]
        shown |= {"month": row["month"], "credit_no": entry.number, "reason": row["reason"]}
    elif entry.kind == "closing":
        shown["case"] = entry.number
    else:
        shown |= {"institution_id": entry.issuer, "claim_no": entry.number}
    return shown
