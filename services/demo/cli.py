"""``gongji demo``: the stage. Whatever it starts it also ends, unless it is asked to keep it; what it finds it leaves."""

import asyncio
import json
import secrets
import subprocess
import sys
from contextlib import ExitStack
from typing import Annotated, Any, Final

import typer
from rich.console import Console

from deploy.local import servers as local
from services.demo import day, show, summary
from services.demo.day import Asked, Feed, Ran
from services.demo.month import Month
from services.demo.watch import Line
from services.demo.workers import Workers
from services.interruption import deafen, interruptible
from shared.errors import Stop, UsageError
from shared.policy import Policies
from shared.runtime.database import reader
from shared.runtime.settings import Settings, given, home_directory, shown

_NAMES: Final = ("GONGJI_KAFKA", "GONGJI_POSTGRES", "GONGJI_REDIS")
_SEEDS: Final = 1 << 16  # as many as the generator tells apart


def demo(
    claims: Annotated[int, typer.Option(min=1, help="Claim numbers; repeats, reversals and the like come on top.")] = 20_000,
    members: Annotated[int | None, typer.Option(min=1, help="A quarter of the claims unless given.")] = None,
    seed: Annotated[int | None, typer.Option(min=0, max=_SEEDS - 1, help="A day not yet in these books unless given.")] = None,
    rate: Annotated[float | None, typer.Option(min=1, help="Submissions a second; as fast as it goes unless given.")] = None,
    *,
    month: Annotated[
        bool, typer.Option("--month", help="Also credit accounts, pay institutions and regions, seal the ledger, prove a claim.")
    ] = False,
    chaos: Annotated[bool, typer.Option("--chaos", help="Kill a worker of each service on the way.")] = False,
    keep: Annotated[bool, typer.Option("--keep", help="Leave servers and services running.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the summary as one JSON object.")] = False,
) -> None:
    """Settle a made-up day of claims on real servers with the real services, and audit the books."""
    console = Console(stderr=True, highlight=False)
    with interruptible(), ExitStack() as stage:
        settings = _servers(stage, console)
        policies = Policies.load(settings.policies, settings.parameters)
        regions = policies.regions
        number = secrets.randbelow(_SEEDS) if seed is None else seed
        asked = Asked(claims, max(members or claims // 4, len(regions)), number, rate, chaos, month)
        workers, ran, told = _run(stage, console, settings, regions=regions, asked=asked, fresh=seed is None)
        came_of_it = asyncio.run(_read(settings, ran))
        audit = _audit(console)
        if keep:
            stage.pop_all()
        else:
            console.print("stopping what was started")
    names = {region: (pack.name.zh, pack.name.en) for region, pack in policies.packs.items()}
    show.tables(console, came_of_it, ran, audit, names)
    for sentence in told.sentences() if told else ():
        console.print(sentence, soft_wrap=True, markup=False)
    passed = bool(audit["ok"]) and came_of_it.records.add_up and came_of_it.records.taken >= ran.submitted
    if keep:
        _say_how_to_stop(console, settings, workers)
    if as_json:
        further = {"month": [one._asdict() for one in told.told]} if told else {}
        typer.echo(json.dumps({"ok": passed, **show.document(came_of_it, ran, audit, names), **further}, ensure_ascii=False))
    if not passed:
        raise typer.Exit(1)


def _run(
    stage: ExitStack, console: Console, settings: Settings, *, regions: tuple[str, ...], asked: Asked, fresh: bool
) -> tuple[Workers, Ran, Month | None]:
    """Starts the services, writes a day (with `fresh` one that these books do not have), and runs it."""
    line = Line(console)
    stage.callback(line.end)
    directory = settings.home / "demo" / secrets.token_hex(4)
    directory.mkdir(parents=True)
    line.say(f"services: starting; log in {directory / 'services.log'}")
    workers = stage.enter_context(Workers(directory / "services.log"))
    stage.callback(deafen)  # the first thing at the end: from now on nothing interrupts the stopping
    feed = Feed(directory)
    line.show("making up a day")
    feed.write(asked, regions)
    line.show("waiting for the services")
    workers.wait_until_ready()
    while fresh and asyncio.run(day.is_known(settings, feed.first_member())):
        asked = asked._replace(seed=(asked.seed + 1) % _SEEDS)
        feed.write(asked, regions)
    line.say(f"services: ready; the day of seed {asked.seed} is in {directory}")
    month = Month(settings, regions, directory, line) if asked.month else None
    ran = asyncio.run(day.run(settings, feed, asked, workers, line, between=month.credit if month else None))
    if month is not None:
        month.close(asyncio.run(_a_claim(settings)))
    line.end()
    return workers, ran, month


def _servers(stage: ExitStack, console: Console) -> Settings:
    """The servers of the environment, or local ones, stopped at the end if they did not run before.

    Raises UsageError when the environment names only some, ServerMissing for a program that is not installed.
    """
    named = [name for name in _NAMES if given(name)]
    if named and len(named) < len(_NAMES):
        raise UsageError(f"the environment names {' and '.join(named)}; name all of {', '.join(_NAMES)}, or none")
    home = home_directory()
    found = local.status(home)
    if not named and (found is None or found.dead):
        console.print(f"servers: starting in {home}", soft_wrap=True)
        stage.callback(local.down, home)
        local.up(home)
    return Settings.load()


async def _a_claim(settings: Settings) -> tuple[str, str]:
    """A claim to prove: one that a family account paid for, if there is one."""
    async with reader(settings.postgres) as connection:
        row = await connection.fetchrow(
            "select institution_id, claim_no from account.outcome where kind = 'claim' and journal_id is not null"
            " order by family_account > 0 desc, settled_at desc limit 1"
        )
    if row is None:
        raise Stop("no claim of the day has a journal that could be proved")
    return row["institution_id"], row["claim_no"]


async def _read(settings: Settings, ran: Ran) -> summary.Summary:
    async with reader(settings.postgres) as connection:
        return await summary.read(connection, ran.before, ran.after)


def _audit(console: Console) -> dict[str, Any]:
    """What ``gongji audit`` finds; what it says where it finds no answer."""
    with console.status("auditing the books"):
        command = (sys.executable, "-m", "services", "audit", "--json")
        done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)  # noqa: S603
    try:
        found: dict[str, Any] = json.loads(done.stdout)
    except ValueError:
        return {"ok": False, "checks": [], "said": done.stderr.strip()}
    return found | {"ok": found.get("ok") is True and done.returncode == 0}


def _say_how_to_stop(console: Console, settings: Settings, workers: Workers) -> None:
    for name, where in (
        ("kafka", settings.kafka),
        ("postgres", shown(settings.postgres)),
        ("redis", shown(settings.redis)),
        ("log", str(workers.log)),
        ("to stop", f"kill {workers.pid}; gongji servers down"),
    ):
        console.print(f"{name:<9} {where}", soft_wrap=True, markup=False)
