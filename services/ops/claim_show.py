"""``gongji claim show``: one claim's journey through the books, from its number to what was posted and owed."""

import asyncio
import json
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Annotated, Any, Final

import asyncpg
import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from shared.calendar import stamp
from shared.identity import claim_key
from shared.money import yuan
from shared.outcome import decode
from shared.runtime.database import reader
from shared.runtime.settings import Settings

_WHOSE: Final = """
    select institution_id from intake.submission where claim_no = $1
    union select institution_id from account.outcome where claim_no = $1
    union select split_part(substr(claim_key, strpos(claim_key, ':') + 1), ':', 1) from runtime.quarantine
        where right(claim_key, length($1) + 1) = ':' || $1
    order by 1
"""
_SUBMISSION: Final = """
    select kind, member_id, part, accepted_at, reversed, closed, questions, encode(digest, 'hex') as digest
    from intake.submission where (institution_id, claim_no) = ($1, $2)
"""
# Rejections of intake are kept by their id alone, which only their content gives: they are looked for by their bytes.
_TURNED_AWAY: Final = """
    select value from intake.rejection
    where (position(convert_to('"claim_no":' || to_json($1::text)::text, 'utf8') in value) > 0
            or position(convert_to('"use_no":' || to_json($1::text)::text, 'utf8') in value) > 0)
"""
_REJECTIONS: Final = (
    _TURNED_AWAY + "and position(convert_to('\"institution_id\":' || to_json($2::text)::text, 'utf8') in value) > 0"
)
_DECISIONS: Final = """
    select kind, revision, outcome, period, visited_on, total, deductible, pooled, large_expense, civil_servant, veterans,
        pack_hash, source_topic || '/' || source_partition || '#' || seq as announced_as
    from adjudication.decision where (institution_id, claim_no) = ($1, $2) order by ordinal
"""
_OUTCOMES: Final = """
    select kind, revision, outcome, settled_at, journal_id, target,
        source_topic || '/' || source_partition || '#' || seq as announced_as, value
    from account.outcome where (institution_id, claim_no) = ($1, $2) order by settled_at, source_partition, seq
"""
_POSTINGS: Final = """
    select j.kind, p.journal_id, j.corrects, j.booked_at, p.line, p.debit, p.credit, p.amount
    from account.outcome o join account.journal j using (journal_id) join account.posting p using (journal_id)
    where (o.institution_id, o.claim_no) = ($1, $2) order by p.journal_id, p.line
"""
_OBLIGATIONS: Final = """
    select b.kind, b.debtor, b.creditor, b.amount, b.window_id, w.opened_at, w.closed_at
    from crossregion.obligation b join crossregion.clearing_window w using (window_id)
    where (b.institution_id, b.claim_no) = ($1, $2) order by b.kind
"""
_QUARANTINE: Final = """
    select id, service, topic || '/' || partition || '@' || record_offset as place, reason, detail, state, attempts,
        first_failed_at, last_failed_at, closed_at, closed_why
    from runtime.quarantine where claim_key = $1 order by id
"""
_MONEY: Final = frozenset(
    {"total", "deductible", "pooled", "large_expense", "civil_servant", "veterans", "amount"},
)
_HEADINGS: Final = {
    "submission": "受理 submission",
    "rejections": "受理拒收 rejected by intake",
    "decisions": "核算 decisions",
    "outcomes": "结果 outcomes",
    "postings": "分录 postings",
    "obligations": "异地清算 obligations",
    "quarantine": "隔离 quarantine",
}


def show(
    claim_no: Annotated[str, typer.Argument(help="The institution's number of the claim or account use.")],
    institution: Annotated[str | None, typer.Option(help="Whose number it is, where several have it.", metavar="ID")] = None,
    *,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Show a claim's journey: number, decisions, outcomes, postings, obligation, quarantine."""
    whose, journey = asyncio.run(_find(claim_no, institution))
    if journey is None:
        _say(
            f"several institutions have a {claim_no}: say which with --institution" if whose else f"nobody has sent a {claim_no}"
        )
        for one in whose:
            typer.echo(one)
        raise typer.Exit(1)
    if journey["rejections"] and not (journey["submission"] or journey["quarantine"]):
        _say(f"no claim stands under {claim_no}: what was sent was rejected, and does not bind the number, which is still free")
    if as_json:
        typer.echo(json.dumps(journey, ensure_ascii=False))
    else:
        _print(journey)


async def _find(claim_no: str, institution: str | None) -> tuple[list[str], dict[str, Any] | None]:
    """Whose number it is, and its journey if it is one institution's."""
    async with reader(Settings.load().postgres) as connection, connection.transaction(isolation="repeatable_read", readonly=True):
        whose = [row[0] for row in await connection.fetch(_WHOSE, claim_no)]
        if not whose or (institution and institution not in whose):
            turned_away = [decode(row["value"]).institution_id for row in await connection.fetch(_TURNED_AWAY, claim_no)]
            whose = sorted({*whose, *turned_away})
        if institution is not None:
            whose = [one for one in whose if one == institution]
        if len(whose) != 1:
            return whose, None
        return whose, await _journey(connection, whose[0], claim_no)


async def _journey(connection: asyncpg.Connection, institution_id: str, claim_no: str) -> dict[str, Any]:
    async def rows(query: str) -> list[dict[str, Any]]:
        return [_plain(row) for row in await connection.fetch(query, institution_id, claim_no)]

    outcomes = await connection.fetch(_OUTCOMES, institution_id, claim_no)
    rejections = await connection.fetch(_REJECTIONS, claim_no, institution_id)
    return {
        "institution_id": institution_id,
        "claim_no": claim_no,
        "submission": await rows(_SUBMISSION),
        "rejections": [_answer(row["value"]) for row in rejections],
        "decisions": await rows(_DECISIONS),
        "outcomes": [
            _plain({name: value for name, value in row.items() if name != "value"}) | _answer(row["value"]) for row in outcomes
        ],
        "postings": await rows(_POSTINGS),
        "obligations": await rows(_OBLIGATIONS),
        "quarantine": [_plain(row) for row in await connection.fetch(_QUARANTINE, claim_key(institution_id, claim_no))],
    }


def _answer(value: bytes) -> dict[str, Any]:
    """What of an outcome's bytes a reader of the journey wants."""
    said = decode(value)
    return {
        "event_id": said.event_id,
        "total": said.total,
        "fund_total": said.fund_total,
        "account": said.account,
        "family_account": said.family_account,
        "cash": said.cash,
        "account_balance": said.account_balance,
        "reasons": [f"{one.code} {one.zh} {one.en}" + (f" [{one.article}]" if one.article else "") for one in said.reasons],
    }


def _plain(row: Mapping[str, Any] | asyncpg.Record) -> dict[str, Any]:
    """A row for people: money in yuan, instants and dates as text."""
    return {name: yuan(value) if name in _MONEY and value is not None else _text(value) for name, value in row.items()}


def _text(value: Any) -> Any:
    if isinstance(value, datetime):
        return stamp(value)
    return value if value is None or isinstance(value, int | str | bool) else str(value)


def _print(journey: Mapping[str, Any]) -> None:
    console = Console()
    console.print(f"{journey['institution_id']} / {journey['claim_no']}", markup=False)
    for name, heading in _HEADINGS.items():
        if name == "postings" and journey[name]:
            console.print(_postings(journey[name], heading))
            continue
        for number, row in enumerate(journey[name]):
            table = Table(title=heading if number == 0 else None, title_justify="left", show_header=False)
            for field, value in row.items():
                if value not in (None, [], ""):
                    table.add_row(
                        field,
                        escape("\n".join(value) if isinstance(value, Sequence) and not isinstance(value, str) else str(value)),
                    )
            console.print(table)


def _postings(rows: Sequence[Mapping[str, Any]], heading: str) -> Table:
    table = Table("凭证 journal", "借 debit", "贷 credit", title=heading, title_justify="left")
    table.add_column("金额 amount", justify="right")
    for row in rows:
        corrects = f" (corrects {row['corrects']})" if row["corrects"] else ""
        table.add_row(f"{row['journal_id']} {row['kind']}{corrects}", row["debit"], row["credit"], row["amount"])
    return table


def _say(text: str) -> None:
    Console(stderr=True, highlight=False, markup=False, soft_wrap=True).print(text)
