"""``gongji ledger chart | seal | prove | verify | check | statement``: the ledger for accountants, auditors and outsiders."""

import asyncio
import json
import re
from collections.abc import AsyncIterator, Callable, Coroutine, Sequence
from datetime import date
from pathlib import Path
from typing import Annotated, Any, TypeVar

import msgspec
import typer
from rich.console import Console
from rich.table import Table

from services.account import printed, seal_check, seal_proof, sealer
from services.account.chart import CHART, ENTRIES
from services.account.seal import Posted
from services.account.seal_store import Tx
from services.account.statement import REASONS, Entry, Opened, chart_row, entries, ever_booked, opened
from shared.calendar import read_date
from shared.errors import Retry, ServerMissing, Stop, UsageError
from shared.money import yuan
from shared.runtime.database import reach, reader
from shared.runtime.settings import Settings, home_directory

app = typer.Typer(name="ledger", help="The ledger: its chart, seals, proofs and statements.", no_args_is_help=True)

Json = Annotated[bool, typer.Option("--json", help="Print one JSON object.")]
From = Annotated[str | None, typer.Option("--from", help="First day of booking, e.g. 2023-06-01.")]
To = Annotated[str | None, typer.Option("--to", help="Last day of booking.")]
T = TypeVar("T")

_COLUMNS = 12 * 12
_HEX = re.compile(r"[0-9a-f]+")


@app.command()
def chart(*, as_json: Json = False) -> None:
    """Print the chart of accounts, and which transfers (debit -> credit) each happening gives."""
    if as_json:
        accounts = [row._asdict() for row in CHART]
        typer.echo(json.dumps({"accounts": accounts, "entries": [row._asdict() for row in ENTRIES]}, ensure_ascii=False))
        return
    accounts_table = Table("account 科目", "grows on 余额方向", "", title="Chart of accounts 会计科目", title_justify="left")
    for row in CHART:
        accounts_table.add_row(row.pattern, {"debit": "debit 借", "credit": "credit 贷"}[row.side], f"{row.zh}\n{row.en}")
    booked = Table("what happens 业务", "debit -> credit 借 -> 贷", "", title="Journals 分录", title_justify="left")
    for entry in ENTRIES:
        booked.add_row(entry.happening, "\n".join(entry.transfers), f"{entry.zh}\n{entry.en}")
    wide().print(accounts_table, booked)


@app.command("seal")
def seal_now(*, as_json: Json = False) -> None:
    """Seal what is booked, close the days that are over, and publish a root over today's blocks so far."""
    done = asyncio.run(_seal(Settings.load()))
    if as_json:
        told = {"blocks": done.blocks, "postings": done.postings, "held_up": done.held_up}
        typer.echo(json.dumps(told | {"roots": [msgspec.to_builtins(one) for one in done.roots]}))
    else:
        typer.echo(f"{done.postings} postings sealed in {done.blocks} blocks")
        for one in done.roots:
            typer.echo(f"{one.day} {one.algorithm} root {one.root} (blocks {one.first_block} to {one.last_block})")
    if done.held_up:
        raise Stop("a transaction that drew a journal number does not end, so nothing was sealed; try again")


async def _seal(settings: Settings) -> sealer.Sealed:
    await reach(settings.postgres)
    one = sealer.Sealer(settings)
    try:
        return await one.turn(root_now=True)
    except Retry as trouble:
        raise ServerMissing("postgres or kafka", f"{trouble}; what was sealed stays sealed, run it again") from trouble
    finally:
        await one.close()


@app.command()
def prove(
    claim_no: Annotated[str, typer.Argument(help="The claim's number, or the account use's.")],
    *,
    institution: Annotated[str | None, typer.Option(help="Whose number, if several institutions used it.")] = None,
    out: Annotated[Path | None, typer.Option(help="A file; unless given, stdout.")] = None,
) -> None:
    """Write a proof that the claim's postings are under a published root; anybody can verify it offline."""
    settings = Settings.load()
    try:
        proof = _asked(settings, lambda tx: seal_proof.prove(tx, claim_no, institution))
    except seal_proof.NotYet:  # booked a moment ago: seal, publish, and prove then
        asyncio.run(_seal(settings))
        proof = _asked(settings, lambda tx: seal_proof.prove(tx, claim_no, institution))
    text = msgspec.json.format(msgspec.json.encode(proof), indent=1).decode()
    if out is None:
        typer.echo(text)
    else:
        out.write_text(text + "\n", encoding="utf-8")
        _say(f"{out}: {len(proof.postings)} postings of {claim_no}, under {', '.join(one.root for one in proof.roots)}")


@app.command()
def verify(
    file: Annotated[Path, typer.Argument(help="What `gongji ledger prove` wrote.")],
    *,
    root: Annotated[
        list[str] | None,
        typer.Option(help="A published root: its hex digits, or a file of roots. Unless given: $GONGJI_HOME/roots."),
    ] = None,
    as_json: Json = False,
) -> None:
    """Verify a proof with nothing but itself and the published root; exit 1 if it does not hold."""
    try:
        proof = seal_proof.read(file.read_bytes())
    except OSError as error:
        raise UsageError(f"{file}: {error.strerror}") from error
    except ValueError as error:
        raise Stop(f"{file} is no proof: {error}") from error
    faults = seal_proof.faults(proof, _published(root))
    postings = [Posted(*one.posting) for one in proof.postings] if not faults else []
    if as_json:
        told = {"ok": not faults, "faults": faults, "claim_no": proof.claim_no, "institution_id": proof.institution_id}
        told["postings"] = [_transfer(posting) for posting in postings]
        typer.echo(json.dumps(told, ensure_ascii=False))
    else:
        for posting in postings:
            typer.echo(f"{posting.kind} {posting.booked_at} {posting.debit} -> {posting.credit} {yuan(posting.amount)}")
        for fault in faults:
            typer.echo(f"does not hold: {fault}")
        typer.echo(f"the proof of {proof.claim_no} {'does not hold 证明不成立' if faults else 'holds 证明成立'}")
    if faults:
        raise typer.Exit(1)


def _transfer(posting: Posted) -> dict[str, object]:
    return posting._asdict() | {"amount": yuan(posting.amount)}


def _published(given: list[str] | None) -> set[str]:
    if given is None:
        found = seal_proof.roots_in(b"\n".join(sealer.published(home_directory() / "roots")))
        if not found:
            raise UsageError("no published root: give --root, or set GONGJI_HOME to where roots/ is")
        return found
    roots: set[str] = set()
    for one in given:
        if _HEX.fullmatch(one.lower()):
            roots.add(one.lower())
            continue
        try:
            roots |= seal_proof.roots_in(Path(one).read_bytes())
        except OSError as error:
            raise UsageError(f"--root {one}: neither hex digits nor a file: {error.strerror}") from error
    return roots


@app.command()
def check(*, as_json: Json = False) -> None:
    """Read every block again; name each posting, block or root that is not what was sealed or published; exit 1 on any."""
    settings = Settings.load()
    published = sealer.published(settings.home / "roots")
    found = _asked(settings, lambda tx: seal_check.check(tx, published))
    if as_json:
        faults = [fault._asdict() for fault in found.faults]
        typer.echo(json.dumps(found._asdict() | {"faults": faults, "ok": not faults}, ensure_ascii=False))
    else:
        for fault in found.faults:
            typer.echo(f"{fault.name}: {fault.what}")
        verdict = f"{len(found.faults)} faults 发现不符" if found.faults else "as sealed 与封存一致"
        typer.echo(f"{found.blocks} blocks, {found.postings} postings: {verdict}; {found.waiting} postings are not sealed yet")
    if found.faults:
        raise typer.Exit(1)


@app.command("statement")
def show_statement(
    account: Annotated[str, typer.Argument(help="As in the chart, e.g. payable:H44080001.")],
    *,
    first: From = None,
    last: To = None,
    as_json: Json = False,
) -> None:
    """Show an account: opening balance, each entry with its reason, closing balance."""
    span = (day(first, "--from"), day(last, "--to"))
    _asked(Settings.load(), lambda tx: _print_statement(tx, account, *span, as_json=as_json))


async def _print_statement(tx: Tx, account: str, first: date | None, last: date | None, *, as_json: bool) -> None:
    if chart_row(account) and not await ever_booked(tx, account):
        raise Stop(f"nothing was ever booked to {account}: nobody knows it")
    begun = await opened(tx, account, first, last)
    if as_json:
        head: dict[str, Any] = {"account": begun.account, "zh": begun.row.zh, "en": begun.row.en, "grows": begun.row.side}
        head |= {"from": begun.first and begun.first.isoformat(), "to": begun.last and begun.last.isoformat()}
        await printed.as_json(head, begun.opening, ((one.balance, _entry(one)) async for one in entries(tx, begun)))
        printed.close_json({})
    else:
        await printed.as_table(wide(), lambda: _table(begun), _rows(tx, begun))


def _table(begun: Opened) -> Table:
    table = Table(title=f"{begun.account} {begun.row.zh} {begun.row.en}", title_justify="left")
    for heading in ("day 日期", "journal 凭证", "reason 事由", "other side 对方科目", "amount 发生额", "balance 余额"):
        table.add_column(heading, justify="right" if "额" in heading else "left")
    return table


async def _rows(tx: Tx, begun: Opened) -> AsyncIterator[Sequence[str]]:
    balance = begun.opening
    yield (str(begun.first or ""), "", "opening balance 期初余额", "", "", yuan(balance))
    async for one in entries(tx, begun):
        balance = one.balance
        reason = f"{' '.join(REASONS.get(one.kind, (one.kind,)))}\n{one.issuer}/{one.number}"
        yield (str(one.day), str(one.journal_id), reason, one.other, yuan(one.amount), yuan(balance))
    yield (str(begun.last or ""), "", "closing balance 期末余额", "", "", yuan(balance))


def _entry(one: Entry) -> dict[str, object]:
    zh, en = REASONS.get(one.kind, (one.kind, one.kind))
    amounts = {"amount": yuan(one.amount), "balance": yuan(one.balance), "day": one.day.isoformat()}
    return one._asdict() | amounts | {"reason": {"zh": zh, "en": en}}


def wide() -> Console:
    """A console on which no amount is cut short, also where there is no terminal."""
    return Console(width=max(Console().width, _COLUMNS), markup=False)


def day(text: str | None, option: str) -> date | None:
    """A day given on the command line. Raises UsageError."""
    try:
        return None if text is None else read_date(text)
    except ValueError as error:
        raise UsageError(f"{option}: {error}") from error


def _asked(settings: Settings, question: Callable[[Tx], Coroutine[Any, Any, T]]) -> T:
    """What one snapshot of the books answers."""

    async def ask() -> T:
        async with reader(settings.postgres) as connection, connection.transaction(isolation="repeatable_read"):
            return await question(connection)

    return asyncio.run(ask())


def _say(text: str) -> None:
    Console(stderr=True, highlight=False, markup=False, soft_wrap=True).print(text)
