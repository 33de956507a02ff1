"""The benchmark's course: warm up, steady load, backlog, audit; then the two floors on stages of their own."""

import asyncio
import os
import platform
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final, NamedTuple

import asyncpg
import msgspec

from services.bench import figures, pipes
from services.bench.load import Prepared, prepare
from services.bench.stage import Stage, stage
from services.ops.generate import generate
from shared.errors import Stop
from shared.events import REGISTER_TYPES, REJECTED, SETTLED
from shared.runtime.service import prepare as prepare_servers

_WARM_UP_SECONDS: Final = 5
_REGIONS: Final = ("130900", "440800", "511900", "653100", "420300")

Tell = Callable[[str], None]


class Asked(NamedTuple):
    """What to run. ``rate`` in submissions a second."""

    rate: float
    minutes: float
    backlog: int
    members: int
    seed: int
    floors: bool


class Feed(NamedTuple):
    """A made-up feed, ready to be sent."""

    register: list[dict[str, Any]]
    steady: list[Prepared]
    backlog: list[Prepared]
    warm_up: list[Prepared]


def make_feed(asked: Asked, partitions: int) -> Feed:
    """A day of the generator's, cut into warm-up, steady load and backlog."""
    warm, steady = int(asked.rate * _WARM_UP_SECONDS), int(asked.rate * asked.minutes * 60)
    wanted = warm + steady + asked.backlog
    register: list[dict[str, Any]] = []
    day: list[dict[str, Any] | bytes] = []
    for line in generate(wanted, asked.members, _REGIONS, asked.seed):
        is_register = isinstance(line, dict) and line["type"] in REGISTER_TYPES
        (register if is_register else day).append(line)  # type: ignore[arg-type]
    records = prepare(day[:wanted], partitions)
    return Feed(register, records[warm : warm + steady], records[warm + steady :], records[:warm])


def run(asked: Asked, home: Path, tell: Tell) -> dict[str, Any]:
    """Everything, in order. Raises Stop where the audit does not pass: then there is no figure."""
    tell(f"making up {asked.members:,} members and their day")
    calibrated = calibrate()
    with stage(home / "real") as real:
        feed = make_feed(asked, real.settings.partitions)
        asyncio.run(prepare_servers(real.settings))
        result, outcomes = _real(real, feed, asked, tell)
        cargoes = asyncio.run(_cargoes(real, len(feed.backlog))) if asked.floors else {}
    result["calibrate_ms"] = calibrated
    del outcomes
    if asked.floors:
        with stage(home / "canned", ("services.bench.canned",)) as canned:
            asyncio.run(prepare_servers(canned.settings))
            result["canned_rate"] = round(_canned(canned, feed, tell), 1)
        with stage(home / "pipes") as bare:
            asyncio.run(prepare_servers(bare.settings))
            result["pipes_rate"] = round(_pipes(bare, feed.backlog, cargoes, tell), 1)
        result["ratio_canned"] = round(result["drain_rate"] / result["canned_rate"], 3)
        result["ratio_pipes"] = round(result["drain_rate"] / result["pipes_rate"], 3)
    return result


def _real(real: Stage, feed: Feed, asked: Asked, tell: Tell) -> tuple[dict[str, Any], list[figures.Seen]]:
    real.start()
    asyncio.run(real.register(feed.register))
    tell("warming up")
    asyncio.run(real.generate(feed.warm_up, asked.rate))
    asyncio.run(real.drained())
    tell(f"steady load: {asked.rate:g}/s for {asked.minutes:g} min")
    cpu, books = real.cpu(), asyncio.run(real.database())
    start = asyncio.run(real.generate(feed.steady, asked.rate))
    asyncio.run(real.drained())
    used = {name: seconds - cpu[name] for name, seconds in real.cpu().items()}
    books_after = asyncio.run(real.database())
    steady = asyncio.run(real.outcomes())
    in_steady = [seen for seen in steady if seen.timestamp_ms >= start * 1000]
    latencies = figures.latencies_ms(feed.steady, start, asked.rate, in_steady)
    tell(f"backlog: {len(feed.backlog):,}")
    drain_rate = _drain(real, feed.backlog)
    outcomes = asyncio.run(real.outcomes())
    tell("audit")
    if not real.audit_ok():
        raise Stop("the audit does not pass: there is no figure")
    count = len(feed.steady)
    return {
        "machine": machine(),
        "settings": {"partitions": real.settings.partitions, "batch_max": real.settings.batch_max},
        "asked": asked._asdict(),
        "steady_rate": round(figures.rate_of(seen.timestamp_ms for seen in in_steady), 1),
        **{f"p{name}_ms": round(figures.percentile(latencies, share), 1) for name, share in _SHARES.items()},
        "drain_rate": round(drain_rate, 1),
        "cpu_us": {name: round(seconds / count * 1e6, 1) for name, seconds in used.items()},
        "transactions_per_claim": round((books_after["transactions"] - books["transactions"]) / count, 3),
        "wal_bytes_per_claim": round((books_after["wal_bytes"] - books["wal_bytes"]) / count),
        "audit_ok": True,
    }, outcomes


_SHARES: Final = {"50": 0.5, "95": 0.95, "99": 0.99, "99_9": 0.999}


def _drain(on: Stage, backlog: Sequence[Prepared]) -> float:
    """Stops the services, lets a backlog stand, starts them: outcomes a second between the first and the last."""
    on.stop()
    asyncio.run(on.generate(backlog, 0))
    before = int(time.time() * 1000)
    on.start()
    asyncio.run(on.drained())
    return figures.rate_of(seen.timestamp_ms for seen in asyncio.run(on.outcomes()) if seen.timestamp_ms >= before)


def _canned(canned: Stage, feed: Feed, tell: Tell) -> float:
    tell("floor: canned decisions")
    canned.start()
    asyncio.run(canned.register(feed.register))
    return _drain(canned, feed.backlog)


async def _cargoes(real: Stage, count: int) -> dict[str, pipes.Cargo]:
    made = {}
    for name, hop in pipes.HOPS.items():
        target = (SETTLED, REJECTED) if hop.target == SETTLED else (hop.target,)
        seen = await figures.messages(real.settings.kafka, target, real.settings.partitions)
        made[name] = await pipes.cargo(real.settings, hop, [one.value for one in seen][-count:])
    return made


def _pipes(bare: Stage, backlog: Sequence[Prepared], cargoes: dict[str, pipes.Cargo], tell: Tell) -> float:
    tell("floor: pipes")
    count = min(len(backlog), *(len(cargo.values) for cargo in cargoes.values()))
    asyncio.run(_loosen(bare))
    asyncio.run(bare.generate(backlog, 0))
    hops = []
    for name, cargo in cargoes.items():
        cargo.values = cargo.values[:count]
        (bare.home / f"cargo.{name}").write_bytes(msgspec.msgpack.encode(cargo))
        command = (sys.executable, "-m", "services.bench.pipes", name, str(bare.home))
        hops.append(subprocess.Popen(command, env=bare.environment, stdout=subprocess.PIPE))  # noqa: S603
    for hop in hops:
        hop.communicate()
        if hop.returncode:
            raise Stop("a pipe broke")
    return figures.rate_of(seen.timestamp_ms for seen in asyncio.run(bare.outcomes()))


async def _loosen(bare: Stage) -> None:
    """The rows come without the rows they belong to: no trigger looks for those."""
    connection = await asyncpg.connect(bare.settings.postgres)
    try:
        await connection.execute(
            "alter table account.journal disable trigger user; alter table account.posting disable trigger user"
        )
    finally:
        await connection.close()


def machine() -> dict[str, Any]:
    """What this ran on."""
    model = next(
        (
            line.partition(":")[2].strip()
            for line in Path("/proc/cpuinfo").read_text().splitlines()
            if line.startswith("model name")
        ),
        platform.processor(),
    )
    pages = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    return {
        "processor": model,
        "cores": os.cpu_count(),
        "memory_gib": round(pages / 2**30, 1),
        "system": platform.platform(),
        "python": platform.python_version(),
    }


def calibrate() -> dict[str, float]:
    """How long fixed work takes here (ms), so that figures of two machines can be held side by side."""
    begin = time.perf_counter()
    total = 0
    for number in range(2_000_000):
        total += number * number % 7
    python = time.perf_counter() - begin
    document = msgspec.json.encode({f"field{i}": f"{total}{i}" for i in range(40)})
    begin = time.perf_counter()
    for _ in range(50_000):
        msgspec.json.decode(document)
    return {"python_loop": round(python * 1000, 1), "json": round((time.perf_counter() - begin) * 1000, 1)}
