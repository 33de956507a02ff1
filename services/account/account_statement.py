"""A member's account for people: the statement of its postings, each with the month and the reason it was booked for.

Entries are read a page at a time, however many there are.
"""

from collections.abc import AsyncIterator, Sequence
from datetime import date
from typing import Any, NamedTuple

from services.account import journals, settling
from services.account.openings import went_along
from services.account.statement import PAGE, REASONS, Entry, Opened, entries, opened
from shared.errors import Stop
from shared.money import yuan

_CREDITINGS = """
    select c.journal_id, c.line, c.month, c.basis, c.article, c.title, r.kind from account.crediting as c
    join account.credit_run as r using (run_id) where c.member_id = $1 order by c.journal_id, c.line
"""
_CREDITS = "select credit_no, month, reason from account.credit where member_id = $1 and credit_no = any($2)"
_CLOSING = """
    select leaving, disposal, article, amount, closed_on from account.closing join account.balance using (member_id)
    where member_id = $1 and closed order by number desc limit 1
"""
_WORKLIST = """
    select region, member_id, kind, amount, institution_id, claim_no, journal_id, noted_at from account.worklist
    where ($1::text is null or member_id = $1) and ($2::text is null or region = $2) and not exists (
        select from account.settling as s where (s.item_journal, s.item_line) = (worklist.journal_id, worklist.line))
    order by noted_at, journal_id, line
"""


class Account(NamedTuple):
    """A member's account over a span of days, but for its entries. ``closing``: why and where to it was closed, if it is.

    ``along``: what went along when it was closed, or came late and was settled, and was not brought anywhere yet.
    """

    begun: Opened
    closing: dict[str, Any] | None
    along: Sequence[dict[str, Any]]
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
    begun = await opened(tx, journals.personal(member_id), first, last)
    closing = await tx.fetchrow(_CLOSING, member_id)
    shown = None
    if closing is not None:
        shown = dict(closing) | {"amount": yuan(closing["amount"]), "closed_on": closing["closed_on"].isoformat()}
    along = [{"region": region, "amount": yuan(amount)} for region, amount in await went_along(tx, member_id)]
    return Account(begun, shown, along, await worklist(tx, member_id, None))


async def explained(tx: Any, member_id: str, begun: Opened) -> AsyncIterator[tuple[Entry, dict[str, Any]]]:
    """The account's entries, each with why: month, reason and article."""
    creditings: dict[int, list[dict[str, Any]]] = {}  # as many as there are months, not as there are entries
    for row in await tx.fetch(_CREDITINGS, member_id):
        creditings.setdefault(row["journal_id"], []).append(dict(row))
    page: list[Entry] = []
    async for entry in entries(tx, begun):
        page.append(entry)
        if len(page) >= PAGE:
            for one in await _page(tx, member_id, page, creditings):
                yield one
            page.clear()
    for one in await _page(tx, member_id, page, creditings):
        yield one


_Explained = list[tuple[Entry, dict[str, Any]]]


async def _page(tx: Any, member_id: str, page: Sequence[Entry], creditings: dict[int, list[dict[str, Any]]]) -> _Explained:
    numbers = [entry.number for entry in page if entry.kind == "credit"]
    credits_ = {row["credit_no"]: row for row in await tx.fetch(_CREDITS, member_id, numbers)} if numbers else {}
    return [(entry, _why(entry, creditings.get(entry.journal_id, ()), credits_)) for entry in page]


async def worklist(tx: Any, member_id: str | None, region: str | None) -> list[dict[str, Any]]:
    """What a person must see to: of one member, of one region, or all; what is owed to and by members too."""
    rows = await tx.fetch(_WORKLIST, member_id, region)
    items = [dict(row) | {"amount": yuan(row["amount"]), "noted_at": row["noted_at"].isoformat()} for row in rows]
    return items + await settling.running(tx, member_id, region)


def _why(entry: Entry, creditings: Sequence[dict[str, Any]], credits_: dict[str, Any]) -> dict[str, Any]:
    zh, en = REASONS[entry.kind]
    shown: dict[str, Any] = {"kind": entry.kind, "zh": zh, "en": en}
    if entry.kind == "crediting":
        row = [row for row in creditings if row["line"] <= entry.line][-1]
        if entry.other.startswith("interest:"):  # article and base of the row are the credit's
            return shown | {"kind": "interest", "month": row["month"], "zh": "个人账户利息", "en": "interest"}
        shown |= {"kind": row["kind"], "month": row["month"], "article": row["article"]}
        if row["title"]:
            shown["supplement"] = row["title"]
        if row["basis"] is not None:
            shown["basis"] = yuan(row["basis"])
    elif entry.kind == "credit":
        row = credits_[entry.number]
        shown |= {"month": row["month"], "credit_no": entry.number, "reason": row["reason"]}
    elif entry.kind == "closing":
        shown["case"] = entry.number.partition("/")[0]
    elif entry.kind == "opening":
        shown["from_region"] = entry.other.partition(":")[2]
    else:
        shown |= {"institution_id": entry.issuer, "claim_no": entry.number}
    return shown
