"""Waiting for a condition itself, instead of a pause that hopes for it."""

import asyncio
import time
from collections.abc import Callable

import asyncpg

_STUCK = "select count(*) from pg_stat_activity where wait_event_type = 'Lock' and datname = current_database()"


async def until_sessions_wait(dsn: str, count: int = 1) -> None:
    """Returns once so many sessions of this database wait for a lock. Raises TimeoutError after 10 s."""
    looking = await asyncpg.connect(dsn)
    try:
        async with asyncio.timeout(10):
            while await looking.fetchval(_STUCK) < count:  # noqa: ASYNC110 - Postgres tells nobody who begins to wait
                await asyncio.sleep(0.02)
    finally:
        await looking.close()


def eventually(holds: Callable[[], bool], *, seconds: float = 300) -> bool:
    """Whether it holds within so many seconds."""
    deadline = time.monotonic() + seconds
    while not holds():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.1)
    return True
