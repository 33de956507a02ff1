"""``gongji fund pay | release | repaid | clear | status | show``: institutions and other regions paid; a year's budget."""

import json
import re
from decimal import Decimal, InvalidOperation
from typing import Annotated

import typer
from rich.table import Table

from services.account import payment_run, repayment, window_payment
from services.account.fund_session import answered, booked, loaded, reason_given
from services.account.ledger_cli import From, To, day, wide
from services.account.payment import Paid, Released
from services.account.payment_run import Asked, MonthSoFar, Status
from services.account.statement import overview
from services.account.window_payment import Cleared
from shared.errors import Stop, UsageError
from shared.money import fen, yuan
from shared.runtime.settings import Settings

app = typer.Typer(name="fund", help="Paying institutions and other regions; the funds of a region.", no_args_is_help=True)

Region = Annotated[str, typer.Option(help="Division code of the region.")]
Year = Annotated[int, typer.Option(help="The year, e.g. 2023.", min=2000, max=9998)]
Json = Annotated[bool, typer.Option("--json", help="JSON, one object a line.")]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Show what would be booked; book nothing.")]
Why = Annotated[str, typer.Option("--reason", help="Why; kept with who and when. Needed unless --dry-run.")]
_TRIED = " (dry run: nothing is booked 试算)"


@app.command()
def pay(
    region: Region,
    month: Annotated[str, typer.Option(help="A month that is over, e.g. 2023-05.")],
    reason: Why = "",
    *,
    dry_run: DryRun = False,
    as_json: Json = False,
) -> None:
    """Pay a region's institutions for a month: once, and again the same answer."""
    asked = Asked(region, _month(month), reason_given(reason, dry_run=dry_run))
    settings, policies = loaded()
    paid: list[Paid] = booked(settings, lambda tx: payment_run.pay(tx, policies, asked), dry_run=dry_run)
    if as_json:
        for one in paid:
            typer.echo(json.dumps({"region": region, "month": month} | _line(one), ensure_ascii=False))
        return
    title = f"{region} {month}{_TRIED if dry_run else ''}"
    table = Table(title=title, title_justify="left")
    for heading in (
        "institution 机构",
        "incurred 发生",
        "due 应付",
        "paid 支付",
        "retained 考核金",
        "other 其他",
        "carried 结转",
    ):
        table.add_column(heading, justify="left" if "机构" in heading else "right")
    for one in paid:
        table.add_row(one.institution_id, *(yuan(amount) for amount in one[1:]))
    table.add_row("合计 total", *(yuan(sum(amounts)) for amounts in list(zip(*paid, strict=True))[1:]), style="bold")
    wide().print(table)


def _month(text: str) -> str:
    """Raises UsageError."""
    if not re.fullmatch(r"[0-9]{4}-(0[1-9]|1[0-2])", text, re.ASCII) or text < "0001":
        raise UsageError(f"--month: {text!r} is no month like 2023-05")
    return text


def _line(one: Paid) -> dict[str, object]:
    amounts: dict[str, object] = {name: yuan(amount) for name, amount in one._asdict().items() if name != "institution_id"}
    return {"institution_id": one.institution_id} | amounts | {"transferred": yuan(one.paid + one.other)}


@app.command()
def release(
    region: Region,
    year: Year,
    result: Annotated[
        list[str], typer.Option(help="The assessment: percent for all, e.g. 100, or INSTITUTION=PERCENT; may be repeated.")
    ],
    reason: Why = "",
    *,
    dry_run: DryRun = False,
    as_json: Json = False,
) -> None:
    """Release what was kept of a year, by the assessment's result; the rest stays with the fund."""
    results, everybody = _results(result)
    asked = (region, year, reason_given(reason, dry_run=dry_run))
    settings, policies = loaded()
    made: list[Released] = booked(
        settings, lambda tx: payment_run.release(tx, policies, asked, results, everybody), dry_run=dry_run
    )
    if as_json:
        for one in made:
            amounts = {name: yuan(getattr(one, name)) for name in ("retained", "released", "forfeited")}
            typer.echo(
                json.dumps({"institution_id": one.institution_id, "result": str(one.result)} | amounts, ensure_ascii=False)
            )
        return
    table = Table(
        "institution 机构", "retained 考核金", "result 考核结果 %", "released 支付", "forfeited 留存", title=f"{region} {year}"
    )
    for one in made:
        table.add_row(one.institution_id, yuan(one.retained), str(one.result), yuan(one.released), yuan(one.forfeited))
    wide().print(table)


def _results(given: list[str]) -> tuple[dict[str, Decimal], Decimal | None]:
    """Raises UsageError for what is no percentage, or said twice."""
    results: dict[str, Decimal] = {}
    for text in given:
        name, _, percent = text.rpartition("=")
        try:
            value = Decimal(percent)
        except InvalidOperation:
            value = Decimal(-1)
        if not value.is_finite() or not 0 <= value <= 100:
            raise UsageError(f"--result {text!r}: a percentage from 0 to 100, or INSTITUTION=PERCENT")
        if name in results:
            raise UsageError(f"--result: {name or 'the result for all'} is given twice")
        results[name] = value
    return {name: value for name, value in results.items() if name}, results.get("")


@app.command()
def repaid(
    region: Region,
    institution: Annotated[str, typer.Option(help="Who paid back.")],
    month: Annotated[str, typer.Option(help="A paid month, whose payment carries forward what was paid back, e.g. 2023-05.")],
    amount: Annotated[str, typer.Option(help="What was received, in yuan. Needed unless --dry-run, which says it.")] = "",
    reason: Why = "",
    *,
    dry_run: DryRun = False,
    as_json: Json = False,
) -> None:
    """Book what an institution paid back instead of having it held against its next months: once, and again the same answer."""
    why = reason_given(reason, dry_run=dry_run)
    try:
        received = None if dry_run and not amount else fen(amount)
    except ValueError as error:
        raise UsageError(f"--amount: {error}") from error
    asked = repayment.Asked(region, _month(month), institution, received, why)
    settings, policies = loaded()
    made: int = booked(settings, lambda tx: repayment.repay(tx, policies, asked), dry_run=dry_run)
    if as_json:
        told = {"region": region, "month": month, "institution_id": institution, "amount": yuan(made)}
        typer.echo(json.dumps(told, ensure_ascii=False))
    else:
        typer.echo(f"{region} {month} {institution} 退款 repaid: {yuan(made)}{_TRIED if dry_run else ''}")


@app.command()
def clear(
    window: Annotated[int, typer.Option(help="A clearing window that is closed.", min=1, max=10**18)],
    reason: Why = "",
    *,
    dry_run: DryRun = False,
    as_json: Json = False,
) -> None:
    """Book that regions paid each other what they owe by a closed window: all of it, once, and again the same answer."""
    why, settings = reason_given(reason, dry_run=dry_run), Settings.load()
    made: list[Cleared] = booked(settings, lambda tx: window_payment.clear(tx, window, why), dry_run=dry_run)
    if as_json:
        for one in made:
            typer.echo(json.dumps({"window": window} | one._asdict() | {"amount": yuan(one.amount)}))
        return
    table = Table(title=f"window {window}{_TRIED if dry_run else ''}", title_justify="left")
    for heading in ("debtor 参保地", "creditor 就医地", "amount 金额"):
        table.add_column(heading, justify="right")
    for one in made:
        table.add_row(one.debtor, one.creditor, yuan(one.amount))
    wide().print(table)


@app.command()
def status(region: Region, year: Year, *, as_json: Json = False) -> None:
    """Show how a year's budget is used up, month by month, and where it is going."""
    settings, policies = loaded()
    found = answered(settings, lambda tx: payment_run.status(tx, policies, region, year))
    if as_json:
        typer.echo(json.dumps({"region": region, "year": year} | _status(found), ensure_ascii=False))
        return
    table = Table(title=f"{region} {year} ({found.rule})", title_justify="left")
    for heading in (
        "month 月份",
        "",
        "allocatable 可分配",
        "incurred 发生",
        "due 应付",
        "paid 支付",
        "retained 考核金",
        "left 余额",
    ):
        table.add_column(heading, justify="right" if " " in heading and "月份" not in heading else "left")
    for one in found.months:
        table.add_row(one.month, one.state, *("" if amount is None else yuan(amount) for amount in one[2:]))
    wide().print(table)
    if found.forecast is not None:
        gone = f"used up in month {found.forecast.exhausted_in}" if found.forecast.exhausted_in else "not used up"
        typer.echo(f"forecast 预测: cost {yuan(found.forecast.cost)}, left {yuan(found.forecast.left)}, {gone}")


def _status(found: Status) -> dict[str, object]:
    budget = found.budget and {name: yuan(amount) for name, amount in found.budget._asdict().items()}
    going = found.forecast and {
        "cost": yuan(found.forecast.cost),
        "left": yuan(found.forecast.left),
        "exhausted_in": found.forecast.exhausted_in,
    }
    return {"rule": found.rule, "budget": budget, "months": [_month_line(one) for one in found.months], "forecast": going}


def _month_line(one: MonthSoFar) -> dict[str, object]:
    return {name: yuan(value) if isinstance(value, int) else value for name, value in one._asdict().items()}


@app.command()
def show(region: Region, first: From = None, last: To = None, *, as_json: Json = False) -> None:
    """Show every account of a region: opening balance, what was debited and credited, closing balance."""
    if not re.fullmatch(r"[0-9]{6}", region, re.ASCII):
        raise UsageError(f"--region: {region!r} is no division code of six digits")
    settings, policies = loaded()
    found = answered(settings, lambda tx: overview(tx, region, day(first, "--from"), day(last, "--to")))
    if not found and not policies.serves(region):
        known = ", ".join(policies.regions)
        raise Stop(f"nothing was ever booked of region {region}, and there is no policy pack for it; there are {known}")
    if as_json:
        for one in found:
            amounts = {name: yuan(getattr(one, name)) for name in ("opening", "debits", "credits", "closing")}
            words = {"zh": one.row.zh, "en": one.row.en, "grows": one.row.side}
            typer.echo(json.dumps({"account": one.account} | words | amounts, ensure_ascii=False))
        return
    table = Table("account 科目", "", "opening 期初", "debits 借方", "credits 贷方", "closing 期末", title=region)
    for one in found:
        amounts_shown = (yuan(amount) for amount in (one.opening, one.debits, one.credits, one.closing))
        table.add_row(one.account, f"{one.row.zh} {one.row.en}", *amounts_shown)
    wide().print(table)
