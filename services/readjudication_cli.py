"""``gongji claim readjudicate | due``: a person's year after a late change of the register or of prices."""

import asyncio
import json
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Annotated, Any, Final

import typer
from rich.console import Console
from rich.table import Table

from services.account.sums import told
from services.readjudication import Changed, Planned, Years, command
from shared.errors import Retry, ServerMissing, Stop
from shared.events import ELIGIBLE, decode, encode
from shared.identity import part_of
from shared.money import yuan
from shared.outcome import decode as decode_outcome
from shared.policy import Policies
from shared.runtime.command import add_outcome, log_command, stated
from shared.runtime.database import Database, reader
from shared.runtime.points import reach
from shared.runtime.producer import Producer
from shared.runtime.relay import Outgoing
from shared.runtime.settings import Settings
from shared.runtime.step import Message

_LOOK_SECONDS: Final = 0.1
_STALLED_SECONDS: Final = 60.0
_FUNDS: Final = ("pooled", "large_expense", "civil_servant", "veterans")
_SHOWN: Final = (
    *("own_paid", "over_limit", "pre_self_pay", "in_scope", "deductible"),
    *_FUNDS,
    "account",
    "family_account",
    "cash",
)

_CARRIED_OUT: Final = """
    select d.ordinal, d.value from adjudication.decision d
    where (d.institution_id, d.claim_no, d.kind, d.revision) = ('', $1, 'readjudication', $2)
"""
_ON_ITS_WAY: Final = """
    select count(*) from adjudication.decision d left join account.outcome o using (institution_id, claim_no, kind, revision)
    where d.member_id = $1 and d.kind = 'claim' and d.revision > 0 and o.kind is null
"""
_REVISIONS: Final = """
    select d.value, o.value as answer from adjudication.decision d
    join account.outcome o using (institution_id, claim_no, kind, revision)
    where d.member_id = $1 and d.kind = 'claim' and d.revision > 0 and d.ordinal > $2 order by d.ordinal
"""

Json = Annotated[bool, typer.Option("--json", help="JSON, one object a line.")]
Year = Annotated[int, typer.Option(help="The year of the visits, e.g. 2023.")]


def readjudicate(
    member: Annotated[str, typer.Argument(metavar="MEMBER", help="The member's id.")],
    year: Year,
    reason: Annotated[str, typer.Option("--reason", help="Why; kept with who and when. Needed unless --dry-run.")] = "",
    *,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show what would be booked; book nothing.")] = False,
    as_json: Json = False,
) -> None:
    """Work a member's year out again by today's register and prices, and book only the differences, each tied to its claim."""
    why = reason if dry_run else stated(reason)
    try:
        planned = asyncio.run(_act(Settings.load(), member, year, why, dry_run=dry_run))
    except Retry as trouble:
        remedy = f"{trouble}; give the command again when it answers: what is booked is not booked twice"
        raise ServerMissing("postgres or kafka", remedy) from trouble
    if as_json:
        for one in planned.changed:
            typer.echo(json.dumps(line(one), ensure_ascii=False))
        typer.echo(json.dumps(total(planned, dry_run=dry_run), ensure_ascii=False))
    else:
        _table(planned, year, dry_run=dry_run)


def due(year: Year, *, as_json: Json = False) -> None:
    """List the members whose year would come out otherwise by today's register and prices. Exit 1 if there are any."""
    found = asyncio.run(_due(Settings.load(), year, as_json=as_json))
    Console(stderr=True).print(f"{year}: {found} members due 参保人需重新核算")
    if found:
        raise typer.Exit(1)


async def _act(settings: Settings, member_id: str, year: int, why: str, *, dry_run: bool) -> Planned:
    policies = Policies.load(settings.policies, settings.parameters)
    async with _snapshot(settings) as tx:
        [planned] = await Years(policies).plan(tx, [member_id], year)
    if planned.refused:
        raise Stop(f"nothing is booked: {planned.refused}")
    if not planned.rework.reviewed:
        raise Stop(f"nothing of {member_id} is settled for visits of {year}")
    return planned if dry_run or not planned.changed else await _book(settings, planned, why)


async def _due(settings: Settings, year: int, *, as_json: bool) -> int:
    found = 0
    async with _snapshot(settings) as tx:
        async for planned in Years(Policies.load(settings.policies, settings.parameters)).due(tx, year):
            found += 1
            row = total(planned, dry_run=True) | ({"refused": planned.refused} if planned.refused else {})
            typer.echo(json.dumps(row, ensure_ascii=False) if as_json else " ".join(str(value) for value in row.values()))
    return found


@asynccontextmanager
async def _snapshot(settings: Settings) -> AsyncIterator[Any]:
    async with reader(settings.postgres) as connection, connection.transaction(isolation="repeatable_read", readonly=True):
        yield connection


async def _book(settings: Settings, planned: Planned, why: str) -> Planned:
    """Writes the command down, sends it on the member's path, and returns what was booked once all of it is."""
    writer = Database(settings.postgres, role="gongji_service", name="gongji-readjudicate")
    producer = Producer(settings.kafka, {ELIGIBLE: settings.partitions})
    member_id, year = planned.member_id, planned.rework.year
    before = {"member_id": member_id, "year": year, "funds": _funds(planned.changed, "replaces")}
    after = {"member_id": member_id, "year": year, "funds": _funds(planned.changed, "decision"), "net": yuan(planned.net)}
    try:
        async with writer.transaction() as tx:
            number = await log_command(tx, "claim readjudicate", why, before, after)
        reach("after_commit")
        event = command(member_id, planned.rework, number, datetime.now(UTC))
        await producer.send([Outgoing(Message(ELIGIBLE, part_of(member_id), member_id.encode(), encode(event)))])
        reach("after_announce")
        booked = await _booked(writer, planned, number, event.claim_no)
        async with writer.transaction() as tx:
            await add_outcome(tx, number, {"claims": len(booked.changed), "net": yuan(booked.net)})
    finally:
        await producer.close()
        await writer.close()
    return booked


def _funds(changed: Sequence[Changed], which: str) -> str:
    return yuan(sum(getattr(one.event, which).fund_total for one in changed))


async def _booked(database: Database, planned: Planned, number: int, name: str) -> Planned:
    """Waits until the command is carried out and every revision has its outcome. Raises Stop where it was refused."""
    deadline = time.monotonic() + _STALLED_SECONDS
    while True:
        async with database.transaction() as tx:
            done = await tx.fetchrow(_CARRIED_OUT, name, number)
            if done is not None and not await tx.fetchval(_ON_ITS_WAY, planned.member_id):
                rows = await tx.fetch(_REVISIONS, planned.member_id, done["ordinal"])
                break
        if time.monotonic() > deadline:
            again = f"gongji claim readjudicate {planned.member_id} --year {planned.rework.year} --dry-run"
            remedy = f"no answer in {_STALLED_SECONDS:.0f} s; `gongji serve all` carries out what was sent; look with `{again}`"
            raise ServerMissing("adjudication and account", remedy)
        await asyncio.sleep(_LOOK_SECONDS)
    carried_out = decode(done["value"])
    assert carried_out.rework is not None
    if carried_out.rework.refused:
        raise Stop(f"nothing is booked: {carried_out.rework.refused}")
    revisions = [(decode(row["value"]), decode_outcome(row["answer"])) for row in rows]
    mine = [(event, answer) for event, answer in revisions if event.accepted_at == carried_out.accepted_at]
    return planned._replace(changed=tuple(Changed(event, told(answer)) for event, answer in mine))


def line(one: Changed) -> dict[str, Any]:
    """A claim's difference: from what to what the funds pay, and what changes for whom. Yuan."""
    event, change = one
    assert event.decision is not None
    assert event.replaces is not None
    changed = {name: yuan(amount) for name in _SHOWN if (amount := getattr(change, name))}
    return {
        "institution_id": event.institution_id,
        "claim_no": event.claim_no,
        "revision": event.revision,
        "visited_on": event.claim.visited_on.isoformat() if event.claim else None,
        "fund_total": {"from": yuan(event.replaces.fund_total), "to": yuan(event.decision.fund_total)},
        "differences": changed,
        "reasons": [why.code for why in event.decision.reasons],
    }


def total(planned: Planned, *, dry_run: bool) -> dict[str, Any]:
    """The person's side of it. ``net``: to receive; below zero, to pay."""
    return {
        "member_id": planned.member_id,
        "year": planned.rework.year,
        "claims": len(planned.changed),
        "net": yuan(planned.net),
        "account": yuan(-sum(one.change.account for one in planned.changed)),
        "family_account": yuan(-sum(one.change.family_account for one in planned.changed)),
        "dry_run": dry_run,
    }


def _table(planned: Planned, year: int, *, dry_run: bool) -> None:
    console = Console()
    shown = Table(title=f"{planned.member_id} {year}: 重新核算 worked out again", title_justify="left")
    for heading in ("claim 结算", "visit 就诊", "funds 基金", "differences 差额", "reasons 原因"):
        shown.add_column(heading, overflow="fold")
    for one in planned.changed:
        row = line(one)
        funds = f"{row['fund_total']['from']} → {row['fund_total']['to']}"
        differences = " ".join(f"{name} {amount}" for name, amount in row["differences"].items())
        name = f"{row['institution_id']}/{row['claim_no']}#{row['revision']}"
        shown.add_row(name, str(row["visited_on"]), funds, differences, " ".join(row["reasons"]))
    if planned.changed:
        console.print(shown)
    what = "would be booked 将入账" if dry_run else "booked 已入账"
    whose = "to receive 应退参保人" if planned.net >= 0 else "to pay 应由参保人退还"
    console.print(f"{len(planned.changed)} differences {what}; net {yuan(abs(planned.net))} {whose}", markup=False)
