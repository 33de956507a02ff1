"""``gongji account credit | trueup | close | open | settle | show | worklist``: personal accounts, from the command line."""

import json
from datetime import date, datetime
from typing import Annotated, Any, get_args

import typer

from services.account import cli_runs, cli_shown
from services.account.closings import Wanted
from services.account.commands import MONTHLY, TRUE_UP
from services.account.entitlement import Month
from services.account.openings import Wanted as OpeningWanted
from shared.calendar import SHANGHAI, read_date
from shared.errors import Stop, UsageError
from shared.policy.leaving import Case, Disposal
from shared.runtime.command import stated
from shared.runtime.settings import Settings

app = typer.Typer(
    name="account", help="Personal accounts: monthly credits, differences, closing, statements.", no_args_is_help=True
)

Json = Annotated[bool, typer.Option("--json", help="JSON, one object a line.")]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Show what would be booked; book nothing.")]
Why = Annotated[str, typer.Option("--reason", help="Why; kept with who and when. Needed unless --dry-run.")]
Region = Annotated[str, typer.Option(help="Division code of the region.")]
_EARLIEST = Month.of("2000-01")  # before every text

MemberId = Annotated[str, typer.Argument(metavar="MEMBER", help="The member's id.")]


@app.command()
def credit(
    region: Region,
    month: Annotated[str, typer.Option(help="The month to credit, e.g. 2023-05.")],
    reason: Why = "",
    *,
    dry_run: DryRun = False,
    as_json: Json = False,
) -> None:
    """Credit every member of a region for a month, by the region's formulas; once, however often it is commanded."""
    why = reason if dry_run else stated(reason)
    asked = cli_runs.Command(MONTHLY, region, (_month(month, "--month"),), why)
    cli_runs.run(Settings.load(), asked, dry_run=dry_run, as_json=as_json)


@app.command()
def trueup(
    region: Region,
    reason: Why = "",
    first: Annotated[str | None, typer.Option("--from", help="First month; the first that was credited unless given.")] = None,
    last: Annotated[str | None, typer.Option("--to", help="Last month; the last that was credited unless given.")] = None,
    *,
    dry_run: DryRun = False,
    as_json: Json = False,
) -> None:
    """Book what credited months come to now, less what was booked for them: after a new average, base, status or payment."""
    why = reason if dry_run else stated(reason)
    span = (_EARLIEST if first is None else _month(first, "--from"), _month(last, "--to") if last else _month_of(_today()))
    cli_runs.run(Settings.load(), cli_runs.Command(TRUE_UP, region, span, why), dry_run=dry_run, as_json=as_json)


@app.command()
def close(
    member: MemberId,
    case: Annotated[str, typer.Option(help=f"One of {', '.join(get_args(Case))}.")],
    reason: Why = "",
    to: Annotated[str | None, typer.Option(help=f"Of several ways an article names: {', '.join(get_args(Disposal))}.")] = None,
    on: Annotated[str | None, typer.Option(help="The day of the case; today unless given.")] = None,
    *,
    dry_run: DryRun = False,
    as_json: Json = False,
) -> None:
    """Close an account as the city's article lets: its balance goes along, is paid out, or goes to the heirs."""
    why = reason if dry_run else stated(reason)
    if case not in get_args(Case):
        raise UsageError(f"--case: {case!r} is none of {', '.join(get_args(Case))}")
    if to is not None and to not in get_args(Disposal):
        raise UsageError(f"--to: {to!r} is none of {', '.join(get_args(Disposal))}")
    day = _day(on, "--on") or _today()
    if day > _today():
        raise Stop(f"{day} has not come: an account is closed for what has happened")
    done = cli_shown.closing(Settings.load(), Wanted(member, case, day, to), why, dry_run=dry_run)
    if as_json:
        _print(done)
    else:
        what = "would be" if dry_run else "is"
        typer.echo(f"the account {what} closed: {done['amount']} {done['to']} ({done['article']})")


@app.command(name="open")
def open_(
    member: MemberId,
    reason: Why = "",
    *,
    bring: Annotated[bool, typer.Option("--bring", help="With what went along; given again, with what came late.")] = False,
    dry_run: DryRun = False,
    as_json: Json = False,
) -> None:
    """Open an account again, of who left and is insured anew: in another region, or after a gap. A month's credit does it too."""
    why = reason if dry_run else stated(reason)
    done = cli_shown.opening(Settings.load(), OpeningWanted(member, _today(), bring), why, dry_run=dry_run)
    if as_json:
        _print(done)
    else:
        what = "would be" if dry_run else "is"
        typer.echo(f"the account {what} open in {done['region']}, with {done['brought']} brought along")


@app.command()
def show(
    member: MemberId,
    first: Annotated[str | None, typer.Option("--from", help="First day of booking, e.g. 2023-06-01.")] = None,
    last: Annotated[str | None, typer.Option("--to", help="Last day of booking.")] = None,
    *,
    as_json: Json = False,
) -> None:
    """Show an account: opening balance, every entry with its reason and month, closing balance."""
    wanted = cli_shown.Shown(member, _day(first, "--from"), _day(last, "--to"))
    cli_shown.statement(Settings.load(), wanted, as_json=as_json)


@app.command()
def worklist(region: Annotated[str | None, typer.Option(help="Only of this region.")] = None, *, as_json: Json = False) -> None:
    """What a person must see to: money that came late for closed accounts, credits that cannot be taken back."""
    rows = cli_shown.worklist(Settings.load(), region)
    for row in rows:
        if as_json:
            _print(row)
        else:
            typer.echo(" ".join(str(value) for value in row.values() if value is not None))


@app.command()
def settle(member: MemberId, reason: Why = "", *, dry_run: DryRun = False, as_json: Json = False) -> None:
    """Pay out or receive what is open with a member (reimbursements, revisions, the work list), and book it."""
    why = reason if dry_run else stated(reason)
    for row in cli_shown.settling(Settings.load(), member, why, dry_run=dry_run):
        if as_json:
            _print(row)
        else:
            what = "to be settled" if dry_run else "settled"
            typer.echo(f"{what}: {row['kind']} {row['region']} {row['amount']}")


def _month_of(day: date) -> Month:
    return Month.of(f"{day:%Y-%m}")


def _month(text: str, option: str) -> Month:
    """A month that has begun. Raises UsageError, Stop."""
    try:
        month = Month.of(text)
    except ValueError as error:
        raise UsageError(f"{option}: not a month like 2023-05: {text[:20]!r}") from error
    if month.first > _today():
        raise Stop(f"{text} has not begun: a month is credited when it has come; nothing is booked")
    return month


def _day(text: str | None, option: str) -> date | None:
    try:
        return None if text is None else read_date(text)
    except ValueError as error:
        raise UsageError(f"{option}: {error}") from error


def _today() -> date:
    return datetime.now(SHANGHAI).date()


def _print(document: dict[str, Any]) -> None:
    typer.echo(json.dumps(document, ensure_ascii=False, default=str))
