"""``gongji bench --bulk N``: what is done for a whole city at once, each beside the same rows by plain COPY (its floor).

N accounts credited for a month by the operator's command, through Kafka and the running services; the books audited; N members'
accumulators written to an empty Redis; a clearing window with N/2 obligations closed. The register, the accumulators and the
obligations are put into the tables as they would stand there: what is measured is the work on them. And N/10 claims of the same
day as the benchmark's replayed in one process, whose floor is the same lines parsed and written again.
"""

import asyncio
import json
import os
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final, NamedTuple

import asyncpg
import msgspec

from services.bench.calibrate import calibrate, calibrate_servers, machine
from services.bench.day import REGIONS, ZIPF
from services.bench.run import Tell
from services.bench.stage import Stage, stage
from services.ops.generate import generate
from shared.errors import Stop
from shared.runtime.service import prepare as prepare_servers

_REGION: Final = "130900"
_MONTH: Final = "2023-06"
_FIGURES: Final = {_REGION: {"average_pension_2021.enterprise": [{"from": "2022-01-01", "value": "3050.00"}]}}

# A quarter is retired, as in the yearbooks; the rest has bases between 3,000 and 8,000 yuan a month.
_MEMBERS: Final = """
insert into eligibility.member
select 'M' || lpad(n::text, 9, '0'), '130900', case when n % 4 = 0 then 'retired' else 'active' end, 'employee', 'enterprise',
    date '2020-01-01', null, '2023-06', 300000 + n % 500000, '{}', '[]'
from generate_series(1, $1::int) n
"""
_COUNTERS: Final = """
insert into adjudication.counter
select 'M' || lpad(n::text, 9, '0'), '130900:2023', name, n % 1024, n % 500000, null, 1 + n % 20
from generate_series(1, $1::int) n, unnest(array['deductible', 'pooled']) name
"""
_OBLIGATIONS: Final = """
with opened as (
    insert into crossregion.clearing_window (opened_at) values (now()) returning window_id
)
insert into crossregion.obligation
select 'H' || n % 500, 'C' || n, 'claim', 0, n % 1024, 'R' || n % 5, 'R' || 5 + n % 7, 1 + n % 90000, window_id,
    'claims.settled', n % 8, null, null, null, null
from generate_series(1, $1::int) n, opened
"""


class Work(NamedTuple):
    """A piece of bulk work: its command, the tables whose rows by COPY are its floor, and what it is done for so many of."""

    name: str
    command: tuple[str, ...]
    tables: tuple[str, ...]
    of: str


_CREDIT: Final = Work(
    "credit",
    ("account", "credit", "--region", _REGION, "--month", _MONTH, "--reason", "benchmark"),
    ("account.crediting", "account.journal", "account.posting", "account.balance"),
    "accounts",
)
_REBUILD: Final = Work("rebuild", ("counters", "rebuild"), ("adjudication.counter",), "members")
_CLOSE: Final = Work("clearing", ("clearing", "close", "--reason", "benchmark"), ("crossregion.obligation",), "obligations")
_REPLAY: Final = Work("replay", ("replay",), (), "claims")


def run(many: int, home: Path, tell: Tell) -> dict[str, Any]:
    """All of it. Raises Stop where the audit after the credits does not pass: then there is no figure."""
    begun, about, calibrated = time.strftime("%Y-%m-%d %H:%M %z"), machine(), calibrate()
    with stage(home / "bulk") as on:
        parameters = on.home / "parameters.yaml"
        parameters.write_text(json.dumps(_FIGURES), encoding="utf-8")
        on.extra["GONGJI_PARAMETERS"] = str(parameters)
        asyncio.run(prepare_servers(on.settings))
        calibrated |= asyncio.run(calibrate_servers(on.settings))
        tell(f"making up {many:,} members")
        asyncio.run(_fill(on, _MEMBERS, many))
        on.start()
        works = [_measured(on, _CREDIT, many, tell)]
        tell("audit")
        audit_s = on.audit()
        on.stop()
        for work, query, count in ((_REBUILD, _COUNTERS, many), (_CLOSE, _OBLIGATIONS, many // 2)):
            asyncio.run(_fill(on, query, count))
            works.append(_measured(on, work, count, tell))
        works.append(_replayed(on, many // 10, tell))
    figures = {"audit_of_credits_s": audit_s, "works": works, "audit_ok": True}
    return {"at": begun, "machine": about, "calibrate_ms": calibrated, **figures}


def rows(result: dict[str, Any]) -> list[tuple[str, str]]:
    """The figures as (name, value), for a table."""
    shown = [
        (f"{work['name']}: {name}", str(value)) for work in result["works"] for name, value in work.items() if name != "name"
    ]
    return [*shown, ("audit of the credits, s", str(result["audit_of_credits_s"])), ("audit_ok", str(result["audit_ok"]))]


def _measured(on: Stage, work: Work, count: int, tell: Tell) -> dict[str, Any]:
    """Seconds of a command from its start to its end, its memory, and its floor."""
    tell(f"{work.name}: {count:,} {work.of}")
    before = on.cpu()
    seconds, kib = _command(on, work.command)
    used = {process: round((after - before[process]) / count * 1e6, 1) for process, after in on.cpu().items()}
    floor = sum(asyncio.run(_copied(on, table)) for table in work.tables)
    tell(f"  {seconds:.1f} s; the same rows by COPY {floor:.1f} s")
    return _row(work, count, seconds, floor, kib) | {"cpu_us": used}


def _row(work: Work, count: int, seconds: float, floor: float, kib: int) -> dict[str, Any]:
    return {
        "name": work.name, work.of: count, "seconds": round(seconds, 1), "a_second": round(count / seconds),
        "floor_s": round(floor, 1), "command_mib": kib // 1024,
    }  # fmt: skip


def _replayed(on: Stage, claims: int, tell: Tell) -> dict[str, Any]:
    """Seconds of ``gongji replay`` over a day of so many claims and its register, of which the claims count."""
    tell(f"replay: {claims:,} claims")
    feed = on.home / "day.ndjson"
    lines = generate(claims, max(claims // 10, 100), REGIONS, 1, zipf=ZIPF)
    feed.write_bytes(b"".join(msgspec.json.encode(line) + b"\n" for line in lines))
    began = time.monotonic()
    for line in feed.read_bytes().splitlines():
        msgspec.json.encode(msgspec.json.decode(line))
    floor = time.monotonic() - began
    seconds, kib = _command(on, (*_REPLAY.command, str(feed)))
    tell(f"  {seconds:.1f} s; the same lines parsed and written again {floor:.1f} s")
    return _row(_REPLAY, claims, seconds, floor, kib)


def _command(on: Stage, words: Sequence[str]) -> tuple[float, int]:
    """Runs a command of ``gongji``. Returns seconds and the KiB it had resident at most. Raises Stop."""
    began = time.monotonic()
    with (on.home / "said").open("wb") as said:
        process = subprocess.Popen(  # noqa: S603 - our own command
            (sys.executable, "-m", "services", *words, "--json"), env=on.environment, stdout=said, stderr=said
        )
        _, status, used = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        words_of_it = (on.home / "said").read_text(encoding="utf-8")[-1000:]
        raise Stop(f"gongji {' '.join(words)} ended with {process.returncode}: {words_of_it}")
    return time.monotonic() - began, used.ru_maxrss


async def _fill(on: Stage, query: str, count: int) -> None:
    connection = await asyncpg.connect(on.settings.postgres)
    try:
        await connection.execute(query.replace("$1", str(count)))
        await connection.execute(f"vacuum analyze {query.partition('insert into ')[2].split()[0]}")
    finally:
        await connection.close()


async def _copied(on: Stage, table: str) -> float:
    """Seconds that COPY takes for the rows of a table, into one like it with the same indexes and checks."""
    schema, name = table.split(".")
    file = on.home / "rows"
    connection = await asyncpg.connect(on.settings.postgres)
    try:
        await connection.copy_from_table(name, schema_name=schema, output=file, format="binary")
        await connection.execute(f"create table public.floor (like {table} including all)")
        began = time.monotonic()
        await connection.copy_to_table("floor", schema_name="public", source=file, format="binary")
        seconds = time.monotonic() - began
        await connection.execute("drop table public.floor")
    finally:
        await connection.close()
    return seconds
