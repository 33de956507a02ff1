"""Checks side by side on one snapshot: what works in Postgres, what works here, and for large books in other processes."""

import asyncio
import gc
from collections.abc import Awaitable, Iterable, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import ExitStack
from multiprocessing import get_context
from typing import Any, Final

import asyncpg
import uvloop

from services.ops.audit.check import UNREADABLE, Check, Family, Finding
from services.ops.audit.view import View
from shared.runtime.database import reader

APART_FROM: Final = 100_000  # decisions; a process of its own takes a second to start


async def in_lanes(
    view: View, dsn: str, asked: Sequence[Family], read: Sequence[Family], large: Sequence[Family]
) -> list[Finding]:
    """Everything, on the snapshot of the view's connection. ``read``, ``large``: what goes through rows in Python.

    Of books with many decisions each of the ``large`` has a process of its own; these must be functions of a module.
    """
    snapshot: str = await view.connection.fetchval("select pg_export_snapshot()")
    given = {name: value for name, value in vars(view).items() if name != "connection"}
    apart = view.decisions >= APART_FROM and bool(large)
    lanes: list[Awaitable[list[Finding]]] = [lane(asked, view)]
    with ExitStack() as stack:
        if apart:
            pool = stack.enter_context(ProcessPoolExecutor(len(large), mp_context=get_context("spawn")))
            loop, bare = asyncio.get_running_loop(), given | {"hot": {}}
            lanes += [loop.run_in_executor(pool, _in_a_process, dsn, snapshot, bare, family) for family in large]
        lanes.append(_beside(dsn, snapshot, given, read if apart else (*read, *large)))
        return [finding for found in await asyncio.gather(*lanes) for finding in found]


async def lane(families: Iterable[Family], view: View) -> list[Finding]:
    """One family after the other."""
    return [finding for family in families for finding in await _look(family, view)]


def _in_a_process(dsn: str, snapshot: str, given: dict[str, Any], family: Family) -> list[Finding]:
    gc.disable()  # what passes through, millions of rows, goes by its counts: there are no cycles to look for
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(_beside(dsn, snapshot, given, (family,)))


async def _beside(dsn: str, snapshot: str, given: dict[str, Any], families: Sequence[Family]) -> list[Finding]:
    """A lane with a session of its own; ``given``: the view without one."""
    async with reader(dsn) as connection, connection.transaction(isolation="repeatable_read", readonly=True):
        await connection.execute(f"set transaction snapshot '{snapshot}'")
        await enough_memory(connection)
        return await lane(families, View(connection, **given))


async def enough_memory(connection: asyncpg.Connection) -> None:
    """For the sorts and hashes of this transaction, whose lane is one of several: none asks for a second process in Postgres."""
    await connection.execute("set local work_mem = '128MB'")
    await connection.execute("set local hash_mem_multiplier = 4")  # room to group by hashing
    await connection.execute("set local max_parallel_workers_per_gather = 0")


async def _look(family: Family, view: View) -> Sequence[Finding]:
    """One family; what the books do not even let it read is a breach, and the others still look."""
    try:
        async with view.connection.transaction():
            return await family(view)
    except UNREADABLE as unreadable:
        name = getattr(family, "__name__", "checks")
        finding = Finding(Check("I16", f"readable: {name}", "账簿可读", "the books can be read", ()))
        finding.breach(name, f"{type(unreadable).__name__}: {unreadable}")
        return [finding]
