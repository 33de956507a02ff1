"""``gongji clearing close | show``: the windows between regions, from the command line."""

import asyncio
import json
from collections.abc import Callable, Coroutine
from datetime import UTC, datetime
from typing import Annotated, Any, TypeVar

import typer
from rich.console import Console
from rich.table import Table

from services.crossregion.routing import Obligation
from services.crossregion.store import PostgresStore, paid_at
from services.crossregion.windows import Window, announcement, shown
from shared.calendar import stamp
from shared.errors import Retry, ServerMissing, UsageError
from shared.events import WINDOWS
from shared.money import yuan
from shared.runtime.command import log_command, stated
from shared.runtime.database import Database, reach, reader
from shared.runtime.producer import Producer
from shared.runtime.relay import Outgoing
from shared.runtime.settings import Settings

app = typer.Typer(name="clearing", help="What regions owe each other, by window.", no_args_is_help=True)

Json = Annotated[bool, typer.Option("--json", help="Print one JSON object.")]
T = TypeVar("T")


@app.command("close")
def close_window(
    why: Annotated[str, typer.Option("--reason", help="Why; kept with who and when.")] = "", *, as_json: Json = False
) -> None:
    """Close the open window, open the next, and announce what each region pays or receives."""
    reason = stated(why)
    closed = _run(lambda settings: _close(settings, reason))
    if as_json:
        typer.echo(json.dumps(shown(closed), ensure_ascii=False))
    else:
        _tables(closed)


@app.command()
def show(
    window: Annotated[int | None, typer.Argument(help="The open one unless given.")] = None,
    *,
    claims: Annotated[bool, typer.Option("--claims", help="Also every claim the figures are made of.")] = False,
    as_json: Json = False,
) -> None:
    """Show a window: who owes whom, what it comes to for each region, and whether that was paid (gongji fund clear)."""
    found, obligations, paid = _run(lambda settings: _read(settings, window))
    listed = [_line(one) for one in obligations] if claims else []
    if as_json:
        further = {"paid_at": stamp(paid) if paid else None} | ({"obligations": listed} if listed else {})
        typer.echo(json.dumps(shown(found) | further, ensure_ascii=False))
        return
    _tables(found, paid)
    for line in listed:
        typer.echo(" ".join(str(value) for value in line.values()))


async def _close(settings: Settings, reason: str) -> Window:
    """Closes in one transaction; announces after it, together with whatever an earlier run left unannounced."""
    await reach(settings.postgres)
    store = PostgresStore()
    database = Database(settings.postgres, role="gongji_service", name="gongji-clearing")
    producer = Producer(settings.kafka, {WINDOWS: 1})
    try:
        async with database.transaction() as tx:
            closed = await store.close(tx, datetime.now(UTC))
            nets = {net.region: yuan(net.net) for net in closed.nets}
            after = {"window": closed.window_id, "closed_at": stamp(closed.closed_at or datetime.now(UTC)), "nets": nets}
            await log_command(tx, "clearing close", reason, {"window": closed.window_id, "state": "open"}, after)
        async with database.transaction() as tx:
            due = await store.unannounced(tx)
            windows = [await store.window(tx, window_id) for window_id in due]
            await producer.send([Outgoing(announcement(window)) for window in windows])
            await store.announced(tx, due, datetime.now(UTC))
    finally:
        await producer.close()
        await database.close()
    return closed


async def _read(settings: Settings, window_id: int | None) -> tuple[Window, list[Obligation], datetime | None]:
    store = PostgresStore()
    async with reader(settings.postgres) as connection:
        window = await store.window(connection, window_id)
        obligations = await store.obligations(connection, window.window_id)
        return window, obligations, await paid_at(connection, window.window_id)


def _run(work: Callable[[Settings], Coroutine[Any, Any, T]]) -> T:
    try:
        return asyncio.run(work(Settings.load()))
    except UsageError as fault:
        _say(str(fault))
        raise typer.Exit(2) from fault
    except ServerMissing as missing:
        _say(str(missing))
        raise typer.Exit(3) from missing
    except Retry as trouble:
        _say(f"{trouble}; what was closed stays closed, and the next `gongji clearing close` announces it")
        raise typer.Exit(3) from trouble


def _tables(window: Window, paid: datetime | None = None) -> None:
    state = ", ".join(
        [f"{word} {at:%Y-%m-%d %H:%M:%S}" for word, at in (("closed", window.closed_at), ("paid", paid)) if at] or ["open"]
    )
    table = Table(title=f"Clearing window {window.window_id} ({state})")
    for heading in ("debtor 参保地", "creditor 就医地", "claims 笔数", "amount 金额"):
        table.add_column(heading, justify="right")
    for position in window.positions:
        table.add_row(position.debtor, position.creditor, str(position.claims), yuan(position.gross))
    nets = Table("region 地区", "receivable 应收", "payable 应付", "net 轧差")
    for net in window.nets:
        nets.add_row(net.region, yuan(net.receivable), yuan(net.payable), yuan(net.net))
    Console().print(table, nets)


def _line(one: Obligation) -> dict[str, object]:
    institution_id, claim_no, kind, revision = one.key
    return {
        "institution_id": institution_id,
        "claim_no": claim_no,
        "kind": kind,
        "revision": revision,
        "debtor": one.debtor,
        "creditor": one.creditor,
        "amount": yuan(one.amount),
    }


def _say(text: str) -> None:
    Console(stderr=True, highlight=False, markup=False, soft_wrap=True).print(text)
