"""The benchmark's course: warm up, steady load, backlog, audit; then the two floors on stages of their own."""

import asyncio
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import asyncpg
import msgspec

from deploy.local import servers as local
from services.bench import figures, pipes, watch
from services.bench.calibrate import calibrate, calibrate_servers, machine, of_servers, versions
from services.bench.day import Asked, Feed
from services.bench.load import Prepared
from services.bench.stage import Stage, stage
from shared.errors import Stop
from shared.events import REJECTED, SETTLED
from shared.runtime.service import prepare as prepare_servers

Tell = Callable[[str], None]


def run(asked: Asked, home: Path, tell: Tell) -> dict[str, Any]:
    """Everything, in order. Raises Stop where the audit does not pass: then there is no figure."""
    begun, about = time.strftime("%Y-%m-%d %H:%M %z"), machine()
    tell(f"making up {asked.members:,} members and their day")
    calibrated = calibrate()
    with stage(home / "real") as real:
        real.copies = asked.workers
        feed = Feed(asked, real.settings.partitions)
        asyncio.run(prepare_servers(real.settings))
        calibrated |= asyncio.run(calibrate_servers(real.settings))
        installed = asyncio.run(versions(real.settings))
        result = _real(real, feed, asked, tell)
        cargoes = asyncio.run(_cargoes(real, len(feed.backlog))) if asked.floors else {}
    result = {"at": begun, "machine": about, "versions": installed, "calibrate_ms": calibrated, **result}
    if asked.floors:
        with stage(home / "canned", ("services.bench.canned",)) as canned:
            asyncio.run(prepare_servers(canned.settings))
            result["canned_rate"] = round(_canned(canned, feed, asked, tell), 1)
        with stage(home / "pipes") as bare:
            asyncio.run(prepare_servers(bare.settings))
            result["pipes_rate"] = round(_pipes(bare, feed.backlog, cargoes, tell), 1)
        result["ratio_canned"] = round(result["drain_rate"] / result["canned_rate"], 3)
        result["ratio_pipes"] = round(result["drain_rate"] / result["pipes_rate"], 3)
    return result


def _real(real: Stage, feed: Feed, asked: Asked, tell: Tell) -> dict[str, Any]:
    real.start()
    asyncio.run(real.register(feed.register))
    tell("warming up")
    asyncio.run(real.generate(feed.warm_up, asked.rate))
    asyncio.run(real.drained())
    if asked.stored:
        tell(f"settling {asked.stored:,} beforehand")
        asyncio.run(settled_before(real, feed))
    result = _steady(real, feed, asked, tell)
    tell(f"backlog: {len(feed.backlog):,}")
    before = _used(real)
    drain = _drain(real, feed.backlog)
    drained = _used(real)
    if feed.watched:
        tell("profiling")
        result["profile"] = watch.watched(real, feed.watched, asked.rate, tell)
    result |= _audited(real, feed, tell)
    result["drain_rate"] = round(figures.rate_of(drain), 1)
    result["drain_by_tenth"] = [round(rate) for rate in figures.by_tenth(drain)]
    result["a_drained_claim"] = {
        name: round((value - before.books[name]) / len(feed.backlog), 4) for name, value in drained.books.items()
    }
    return result


async def settled_before(real: Stage, feed: Feed) -> None:
    """Settles what is to be stored. The topics forget it but for its end: the books are what grows."""
    await real.forget()
    for piece in feed.stored():
        ends = await real.ends()
        await real.generate(piece, 0)
        await real.drained(ends)  # never more than two pieces ahead of the services, or the topics would forget too soon
    await real.drained()


def _steady(real: Stage, feed: Feed, asked: Asked, tell: Tell) -> dict[str, Any]:
    """The steady load, latency counted from when each record was due."""
    tell(f"steady load: {asked.rate:g}/s for {asked.minutes:g} min")
    count, before = len(feed.steady), _used(real)
    start = asyncio.run(real.generate(feed.steady, asked.rate))
    asyncio.run(real.drained())
    used = _used(real)
    in_steady = asyncio.run(real.outcomes(int(start * 1000)))
    latencies = figures.latencies_ms(feed.steady, start, asked.rate, in_steady)
    return {
        "settings": asyncio.run(of_servers(real.settings)),
        "asked": asked._asdict(),
        "steady_rate": round(figures.rate_of(seen.timestamp_ms for seen in in_steady), 1),
        **figures.spread(latencies),
        "others_p99_ms": figures.spread(one for one in latencies if one.number not in feed.crowd)["p99_ms"],
        "by_second": figures.by_second(latencies),
        "cpu_us": {name: round((seconds - before.cpu[name]) / count * 1e6, 1) for name, seconds in used.cpu.items()},
        "a_claim": {name: round((value - before.books[name]) / count, 4) for name, value in used.books.items()},
        "backlog_left": figures.left_behind(latencies),
    }


def _audited(real: Stage, feed: Feed, tell: Tell) -> dict[str, Any]:
    """How long the audit takes. Raises Stop where it does not pass."""
    tell("audit")
    return {"audit_s": real.audit(), "audited": feed.size, "audit_ok": True}


class _Used(NamedTuple):
    """What was used so far: processor seconds by process, and what Postgres and Kafka wrote."""

    cpu: dict[str, float]
    books: dict[str, int]


def _used(real: Stage) -> _Used:
    return _Used(real.cpu(), asyncio.run(real.database()) | {"kafka_bytes": local.written(real.home)})


def _drain(on: Stage, backlog: Sequence[Prepared]) -> list[int]:
    """Stops the services, lets a backlog stand, starts them: when each outcome stood on its topic (Unix ms)."""
    on.stop()
    asyncio.run(on.generate(backlog, 0))
    before = int(time.time() * 1000)
    on.start()
    asyncio.run(on.drained())
    return [seen.timestamp_ms for seen in asyncio.run(on.outcomes(before))]


def _canned(canned: Stage, feed: Feed, asked: Asked, tell: Tell) -> float:
    tell("floor: canned decisions")
    canned.start()
    asyncio.run(canned.register(feed.register))
    asyncio.run(canned.generate(feed.warm_up, asked.rate))  # a floor under a cold broker would be none
    asyncio.run(canned.drained())
    return figures.rate_of(_drain(canned, feed.backlog))


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
