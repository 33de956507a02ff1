"""Runs from the command line: a bar while they go, a summary when they are done, or the list of what they would book."""

import asyncio
import json
import sys
import time
from collections.abc import Iterator
from contextlib import AsyncExitStack, contextmanager
from typing import Any, NamedTuple

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from services.account import plan as plans
from services.account.commands import COMMANDS, MONTHLY
from services.account.crediting import interest_since
from services.account.entitlement import Due, Month, Scale
from services.account.plan import Planned
from services.account.runs import Asked, Came, Looked, Runs, due, months_credited, rates_credited
from services.account.waiting import Bookings
from shared.errors import Retry, ServerMissing, Stop
from shared.money import yuan
from shared.policy import Policies
from shared.runtime.database import Database, reader
from shared.runtime.producer import Producer
from shared.runtime.settings import Settings

_EVERY = 1000  # members between two movements of the bar


class Command(NamedTuple):
    """What is commanded. ``span``: the month; of a true-up the first and the last."""

    kind: str
    region: str
    span: tuple[Month, ...]
    reason: str


def run(settings: Settings, command: Command, *, dry_run: bool, as_json: bool) -> None:
    """Carries a command out, or only shows it. Raises Stop, ServerMissing, UsageError."""
    policies = Policies.load(settings.policies, settings.parameters)
    if not policies.serves(command.region):
        raise Stop(f"region {command.region} is not served here; there are {', '.join(policies.regions)}")
    if command.kind == MONTHLY:  # before any server is asked
        Scale.of(policies, command.region, command.span[0])
    try:
        came = asyncio.run(_run(settings, policies, command, dry_run=dry_run, as_json=as_json))
    except Retry as trouble:
        remedy = f"{trouble}; give the command again when it answers: what is booked is not booked twice"
        raise ServerMissing("postgres or kafka", remedy) from trouble
    _summary(command, came, dry_run=dry_run, as_json=as_json)


async def _run(settings: Settings, policies: Policies, command: Command, *, dry_run: bool, as_json: bool) -> Came:
    from shared.runtime.service import prepare  # noqa: PLC0415 - the shell takes half a second to import

    await prepare(settings)
    async with AsyncExitStack() as opened:
        connection = await opened.enter_async_context(reader(settings.postgres))
        await opened.enter_async_context(connection.transaction(isolation="repeatable_read"))
        scales = await _scales(connection, policies, command)
        rates = () if command.kind == MONTHLY else await rates_credited(connection, command.region)
        asked = Asked(command.kind, command.region, scales, command.reason, rates)
        many = await plans.members(connection, command.region) * len(scales)
        looked, tell = opened.enter_context(_bar(many))
        if dry_run:
            return await _show(connection, asked, looked, as_json=as_json)
        writer = Database(settings.postgres, role="gongji_service", name="gongji-account")
        opened.push_async_callback(writer.close)
        producer = Producer(settings.kafka, {COMMANDS: settings.partitions})
        opened.push_async_callback(producer.close)
        bookings = Bookings(settings.kafka, writer, settings.partitions, tell)
        await bookings.begin()
        return await Runs(connection, writer, producer, settings.partitions).carry_out(asked, bookings, looked)


async def _scales(connection: Any, policies: Policies, command: Command) -> tuple[Scale, ...]:
    """The months' scales; of a true-up those of every month that was credited. Raises Stop."""
    if command.kind == MONTHLY:
        return (Scale.of(policies, command.region, command.span[0]),)
    months = await months_credited(connection, command.region, command.span[0].text, command.span[-1].text)
    if not months:
        raise Stop(f"no month of {command.region} was credited in that span; `gongji account credit` comes first")
    return tuple(Scale.of(policies, command.region, Month.of(month)) for month in months)


async def _show(connection: Any, asked: Asked, looked: Looked, *, as_json: bool) -> Came:
    """The list of what would be booked, on stdout, one line a member and month."""
    came = Came()
    began = time.monotonic()
    async for scale, planned in due(connection, asked, came, looked):
        came.note(planned)
        line = _line(scale, planned, monthly=asked.kind == MONTHLY)
        text = json.dumps(line, ensure_ascii=False) if as_json else " ".join(str(value) for value in line.values())
        sys.stdout.write(f"{text}\n")
    came.seconds = time.monotonic() - began
    return came


def _line(scale: Scale, planned: Planned, *, monthly: bool) -> dict[str, Any]:
    known = planned.due if isinstance(planned.due, Due) else None
    shown: dict[str, Any] = {"member_id": planned.member_id, "month": scale.month.text}
    if planned.title:
        shown["supplement"] = planned.title
    if monthly:
        shown["amount"] = yuan(planned.amount)
    else:
        shown |= {"booked": yuan(planned.booked or 0), "due": yuan(planned.amount), "difference": yuan(planned.difference)}
        if interest := interest_since(planned.difference, planned.since_ppm):
            shown["interest"] = yuan(interest)
    if known is not None and known.basis is not None:
        shown["basis"] = yuan(known.basis)
    return shown | {"article": known.article if known else scale.article, **({} if known else {"why": planned.due})}


def _summary(command: Command, came: Came, *, dry_run: bool, as_json: bool) -> None:
    rate = came.entries / max(came.seconds, 0.001)
    if as_json and not dry_run:
        document = {
            "run": came.run, "kind": command.kind, "region": command.region, "accounts": came.entries,
            "amount": yuan(came.amount), "taken_back": yuan(came.taken_back), "left_out": dict(came.left_out),
            "seconds": round(came.seconds, 2), "accounts_per_second": round(rate),
        }  # fmt: skip
        typer.echo(json.dumps(document, ensure_ascii=False))
    console = Console(stderr=True, highlight=False, markup=False, soft_wrap=True)
    what = "would be booked" if dry_run else f"booked by run {came.run}"
    back = f", {yuan(came.taken_back)} taken back" if came.taken_back else ""
    console.print(
        f"{command.region}: {came.entries} credits {what}, {yuan(came.amount)} yuan{back};"
        f" {came.seconds:.1f} s, {rate:,.0f} accounts/s"
    )
    for why, count in sorted(came.left_out.items()):
        console.print(f"  {count} left out: {why}")


@contextmanager
def _bar(many: int) -> Iterator[tuple[Looked, Any]]:
    """Two movements: members looked at, and pieces booked."""
    console = Console(stderr=True)
    with Progress(
        TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(),
        console=console, transient=True, disable=not console.is_terminal,
    ) as progress:  # fmt: skip
        members = progress.add_task("members 参保人", total=many)
        pieces = progress.add_task("pieces booked 已入账", total=None)
        seen = 0

        def looked(more: int) -> None:
            nonlocal seen
            seen += more
            if seen % _EVERY == 0:
                progress.update(members, completed=seen)

        yield looked, lambda done, of: progress.update(pieces, completed=done, total=of)
