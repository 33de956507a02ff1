"""``gongji serve``: services as processes. One name runs here; several, or ``all``, each in a process of its own."""

import asyncio
import contextlib
import logging
import signal
import sys
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Annotated

import typer
import uvloop

from services import pipeline
from services.adjudication.store import PostgresStore as AdjudicationBooks
from services.counter import counter
from services.intake.api_server import Door
from shared.errors import UsageError
from shared.events import SERVICES
from shared.policy import Policies
from shared.runtime.cache import Cache
from shared.runtime.database import Database, reach
from shared.runtime.ending import ended
from shared.runtime.listener import place_of
from shared.runtime.service import Service, prepare
from shared.runtime.settings import Settings
from shared.runtime.telemetry import log_to_stderr

log = logging.getLogger("gongji.serve")

_DRAIN_SECONDS = 60.0
_BACKOFF_SECONDS = (0.0, 0.5, 2.0, 5.0)  # after quick deaths in a row
_QUICK_SECONDS = 10.0


def serve(
    services: Annotated[list[str], typer.Argument(help=f"One or more of {', '.join(SERVICES)}; or all.")],
) -> None:
    """Run services until SIGTERM; `all` runs each as a process and restarts one that dies."""
    names = list(SERVICES) if services == ["all"] else services
    unknown = [name for name in names if name not in SERVICES]
    if unknown:
        raise UsageError(f"there is no service {unknown[0]!r}; there are {', '.join(SERVICES)}, and all")
    if len(names) == 1 and services != ["all"]:
        one(names[0])
    else:
        several(names)


def one(name: str) -> None:
    """Runs one service in this process until SIGTERM. Raises ServerMissing, Stop, UsageError."""
    settings = Settings.load()
    _look_at_doors([name])
    log_to_stderr(settings.log_level)
    policies = Policies.load(settings.policies, settings.parameters)
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(_one(name, settings, policies))


def _look_at_doors(names: Sequence[str]) -> None:
    """What is wrong with an address or a certificate is told before anything runs. Raises UsageError."""
    place_of("GONGJI_HTTP")
    if "intake" in names:
        Door.load()


async def _one(name: str, settings: Settings, policies: Policies) -> None:
    await reach(settings.postgres)
    cluster_id, incarnation = await prepare(settings)
    if name == "adjudication":
        await _keep_packs(settings, policies)
    cache = Cache(settings.redis, incarnation)
    if why := await cache.away():
        remedy = "start it (gongji servers up) or set GONGJI_REDIS"
        log.warning("redis is not there; settlement goes on without it", extra={"fields": {"why": why, "remedy": remedy}})
    wirings = pipeline.wirings(name, policies, cache, _now)
    chores = [asyncio.create_task(chore) for chore in pipeline.chores(name, settings)]
    try:
        beside = counter(settings, policies, cache) if name == "intake" else contextlib.nullcontext()
        await Service(name, settings, wirings, cluster_id).run(beside)
    finally:
        await ended(*chores)
        await cache.close()


async def _keep_packs(settings: Settings, policies: Policies) -> None:
    """Packs are stored by content hash before the first decision rests on them."""
    database = Database(settings.postgres, role="gongji_service", name="gongji-packs")
    async with database.transaction() as tx:
        await AdjudicationBooks().keep_packs(tx, policies.versions)
    await database.close()


def several(names: Sequence[str]) -> None:
    """Runs each service as a process and restarts one that dies, until SIGTERM. Raises ServerMissing, Stop, UsageError."""
    settings = Settings.load()
    Policies.load(settings.policies, settings.parameters)  # a wrong pack is told once, not by every process
    _look_at_doors(names)
    asyncio.run(_several(names, settings))


async def _several(names: Sequence[str], settings: Settings) -> None:
    await reach(settings.postgres)
    await prepare(settings)
    over = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, over.set)
    async with asyncio.TaskGroup() as group:
        for name in names:
            group.create_task(_keep_alive(name, over))


async def _keep_alive(name: str, over: asyncio.Event) -> None:
    quick_deaths = 0
    while not over.is_set():
        started = time.monotonic()
        process = await asyncio.create_subprocess_exec(sys.executable, "-m", "services", "serve", name)
        died, told = asyncio.create_task(process.wait()), asyncio.create_task(over.wait())
        try:
            await asyncio.wait({died, told}, return_when=asyncio.FIRST_COMPLETED)
        finally:  # also where another service cannot be kept alive: none stays behind without anybody who restarts it
            await ended(told)
            if not died.done():
                await _drain(process)
            await died
        if over.is_set():
            return
        quick_deaths = quick_deaths + 1 if time.monotonic() - started < _QUICK_SECONDS else 0
        wait = _BACKOFF_SECONDS[min(quick_deaths, len(_BACKOFF_SECONDS) - 1)]
        typer.echo(f"gongji: {name} died ({process.returncode}); starting it again in {wait:g} s", err=True)
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(over.wait(), max(wait, 0.01))


async def _drain(process: asyncio.subprocess.Process) -> None:
    with contextlib.suppress(ProcessLookupError):
        process.terminate()
    try:
        await asyncio.wait_for(process.wait(), _DRAIN_SECONDS)
    except TimeoutError:
        process.kill()
        await process.wait()


def _now() -> datetime:
    return datetime.now(UTC)
