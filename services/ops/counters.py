"""``gongji counters rebuild``: Redis filled from Postgres after it was lost, so that the counter need not ask member by member.

Nobody has to: what Redis lacks is read from Postgres. Safe while the system works: a counter that is there already in a higher
version stays.
"""

import asyncio
import json
import time
from typing import Annotated, Any, Final

import asyncpg
import typer
from rich.console import Console

from shared.errors import ServerMissing, Stop
from shared.runtime.cache import Cache, Hot
from shared.runtime.database import reader
from shared.runtime.settings import Settings

app = typer.Typer(name="counters", help="The accumulators that Redis shows.", no_args_is_help=True)

_PAGE: Final = 20_000  # counters in memory at a time
_COUNTERS: Final = "select member_id, period, name, used, version from adjudication.counter"


@app.callback()
def group() -> None:
    """Keeps ``rebuild`` a subcommand, though it is the only one."""


@app.command()
def rebuild(*, as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False) -> None:
    """Write every accumulator of Postgres to Redis, unless Redis has a newer one."""
    began = time.monotonic()
    counters = asyncio.run(_rebuild(Settings.load()))
    seconds = time.monotonic() - began
    if as_json:
        typer.echo(json.dumps({"counters": counters, "seconds": round(seconds, 2)}))
    console = Console(stderr=True, highlight=False, markup=False)
    console.print(f"{counters:,} counters in Redis as in Postgres; {seconds:.1f} s")


async def _rebuild(settings: Settings) -> int:
    """Returns how many counters were written or found newer. Raises ServerMissing, Stop."""
    async with reader(settings.postgres) as connection:
        incarnation = await connection.fetchval("select incarnation::text from runtime.deployment")
        if incarnation is None:
            raise Stop("these books belong to no deployment yet; `gongji serve all` begins one")
        cache = Cache(settings.redis, incarnation)
        try:
            return await _copied(connection, cache)
        except Cache.TROUBLE as trouble:
            raise ServerMissing("redis", f"{trouble}; give the command again when it answers") from trouble
        finally:
            await cache.close()


async def _copied(connection: Any, cache: Cache) -> int:
    """Reads the next page while Redis takes this one."""
    written = 0
    async with connection.transaction(isolation="repeatable_read"):
        cursor = await connection.cursor(_COUNTERS)
        page: list[asyncpg.Record] = await cursor.fetch(_PAGE)
        while page:
            written += len(page)
            _, page = await asyncio.gather(cache.write([Hot(*row) for row in page]), cursor.fetch(_PAGE))
    return written
