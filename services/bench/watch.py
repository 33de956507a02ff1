"""Where the time goes: Postgres's statements, waits and slow plans, the parts of each worker, the broker's threads.

Postgres is started again with pg_stat_statements and auto_explain for it, and the services with a clock, after everything that is
measured: they cost no figure anything, and statements meet the tables that the run has filled.
"""

import asyncio
import signal
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from typing import Any, Final

import asyncpg

from deploy.local import servers as local
from services.bench import figures, plans, sampled
from services.bench.load import Prepared
from services.bench.stage import Stage

SLOW_MS: Final = 20
_SETTINGS: Final = {
    "shared_preload_libraries": "pg_stat_statements,auto_explain",
    "auto_explain.log_min_duration": f"{SLOW_MS}ms",
    "auto_explain.log_format": "json",
    "auto_explain.log_analyze": "off",  # a clock read for each row would be much of what is then seen
}
_EXTENSION: Final = "create extension if not exists pg_stat_statements;\n\n"
_HAS_IT: Final = "select exists (select from pg_available_extensions where name = 'pg_stat_statements')"
_TOLD: Final = 12  # statements, by their time
_PLANS: Final = 5
_THREADS: Final = 6
_SAMPLE_SECONDS: Final = 0.05

# What the services do; the benchmark itself asks under other roles.
_STATEMENTS: Final = """
select queryid, toplevel, query, calls, total_exec_time as ms from pg_stat_statements
where userid = 'gongji_service'::regrole and dbid = (select oid from pg_database where datname = current_database())
"""
_WAITS: Final = """
select coalesce(wait_event_type || ': ' || wait_event, 'running') from pg_stat_activity
where state <> 'idle' and application_name like 'gongji-%' and application_name <> 'gongji-bench'
    and datname = current_database()
"""


def watched(on: Stage, records: Sequence[Prepared], rate: float, tell: Callable[[str], None]) -> dict[str, Any] | None:
    """What was done for so many records at a rate; None where Postgres comes without the libraries that tell. Raises Stop."""
    if not asyncio.run(_asked(on, _HAS_IT))[0][0]:
        tell("this Postgres has no pg_stat_statements (contrib is not installed): nothing is profiled")
        return None
    on.stop()
    on.addresses = local.restart_postgres(on.home, _SETTINGS, _EXTENSION)
    plainly, on.module = on.module, ("services.bench.sampled",)
    on.start()
    seen = asyncio.run(_watch(on, records, rate))
    on.stop()
    seen["workers_us"] = sampled.gathered(on.home.glob("*.samples"), len(records))
    on.module = plainly
    on.start()
    return seen


async def _watch(on: Stage, records: Sequence[Prepared], rate: float) -> dict[str, Any]:
    log = local.log(on.home, "postgres")
    start, before = log.stat().st_size, await _statements(on)
    broker, waits = figures.ms_by_thread(on.addresses.pids["kafka"]), Counter[str]()
    for worker in on.workers.values():
        worker.send_signal(signal.SIGUSR2)
    sampling = asyncio.create_task(_sample(on, waits))
    try:
        await on.generate(records, rate)
        await on.drained()
    finally:
        sampling.cancel()
        with suppress(asyncio.CancelledError):
            await sampling
    after = await _statements(on)
    threads = figures.ms_by_thread(on.addresses.pids["kafka"]) - broker
    with log.open("rb") as file:
        file.seek(start)
        slow = plans.read(file.read().decode(errors="replace"))
    return {
        **_spent(before, after, len(records)),
        "waits": {name: round(count / waits.total(), 3) for name, count in waits.most_common()},
        "broker_us": {name: round(ms * 1000 / len(records), 1) for name, ms in threads.most_common(_THREADS)},
        "slow_ms": SLOW_MS,
        "slow_times": len(slow),
        "slow": plans.slowest(slow, _PLANS),
    }


_Statements = Mapping[tuple[int, bool], asyncpg.Record]


def _spent(before: _Statements, after: _Statements, claims: int) -> dict[str, Any]:
    """What was added, a claim: calls and µs of all statements, and those that took most."""
    told = []
    for key, row in after.items():
        was = before.get(key)
        calls, ms = (row[name] - (was[name] if was else 0) for name in ("calls", "ms"))
        if calls:
            told.append({"us": round(ms * 1000 / claims, 2), "calls": calls, "query": plans.shortened(row["query"])})
    told.sort(key=lambda one: one["us"], reverse=True)
    return {
        "claims": claims,
        "statements": round(sum(one["calls"] for one in told) / claims, 4),
        "statements_us": round(sum(one["us"] for one in told), 1),
        "most": told[:_TOLD],
    }


async def _statements(on: Stage) -> _Statements:
    return {(row["queryid"], row["toplevel"]): row for row in await _asked(on, _STATEMENTS)}


async def _asked(on: Stage, query: str) -> list[asyncpg.Record]:
    connection = await asyncpg.connect(on.settings.postgres)
    try:
        return list(await connection.fetch(query))
    finally:
        await connection.close()


async def _sample(on: Stage, waits: Counter[str]) -> None:
    """Looks again and again at what each session with work to do is waiting for, until it is cancelled."""
    connection = await asyncpg.connect(on.settings.postgres)
    try:
        while True:
            waits.update(row[0] for row in await connection.fetch(_WAITS))
            await asyncio.sleep(_SAMPLE_SECONDS)
    finally:
        await connection.close()
