"""``gongji bench --counter``: claims and trials at the window over HTTP, alone, and beside a feed through Kafka.

Open loop on real servers of its own; latency counts from the intended send time. Every trial is of the claim that its patient
settles next, and the feed is the rest of the same day: the same members, the same books. No figure without a clean audit.
"""

import asyncio
import json
import re
import sys
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from random import Random
from typing import Any, Final, NamedTuple

import asyncpg
import msgspec

from services.bench import figures
from services.bench.calibrate import calibrate, machine
from services.bench.counter_load import Answer, Call
from services.bench.day import REGIONS, WARM_UP_SECONDS, ZIPF
from services.bench.load import Prepared, number_of, prepare
from services.bench.run import Tell
from services.bench.stage import Stage, stage
from services.intake import keys
from services.intake.submission import read
from services.ops.generate import generate
from shared.errors import Stop
from shared.events import ACCEPTED, ADJUDICATED, ELIGIBLE, REGISTER_TYPES, REJECTED, SETTLED, SUBMITTED
from shared.runtime.service import prepare as prepare_servers

_MARGIN: Final = 1.1  # of bills: not every line is a claim that can be taken to the window
_WAIT: Final = 30  # seconds that a client at the window waits for its answer
_HOPS: Final = ((SUBMITTED,), (ACCEPTED,), (ELIGIBLE,), (ADJUDICATED,), (SETTLED, REJECTED))

Line = dict[str, Any]


class Asked(NamedTuple):
    """What to run. ``rate``: claims a second at the window, and as many trials; ``feed``: submissions a second beside them."""

    rate: float
    feed: float
    minutes: float
    members: int
    seed: int

    @property
    def seconds(self) -> float:
        """Of each of the two loads."""
        return self.minutes * 60


class Day(NamedTuple):
    """A made-up day in two lanes: well-formed claims for the window, everything else for the feed."""

    register: list[Line]
    window: list[Line]
    feed: list[Line | bytes]


def make_day(asked: Asked) -> Day:
    """Cuts a day of the generator's: what follows a bill (repeats, reversals) stays in the lane of its number."""
    window = int(asked.rate * (2 * asked.seconds + WARM_UP_SECONDS))
    feed = int(asked.feed * (asked.seconds + WARM_UP_SECONDS))
    day = Day([], [], [])
    chance = Random(asked.seed)  # noqa: S311 - reproducible, not secret
    lane: dict[tuple[str, str], bool] = {}
    for line in generate(int((window + feed) * _MARGIN) + 100, asked.members, REGIONS, asked.seed, zipf=ZIPF):
        assert isinstance(line, dict)
        if line["type"] in REGISTER_TYPES:
            day.register.append(line)
            continue
        number = (line["institution_id"], line.get("claim_no") or line.get("use_no") or "")
        new = number not in lane
        at_window = lane.setdefault(number, chance.random() < window / (window + feed))
        if not at_window:
            day.feed.append(line)
        elif new and line["type"] == "claim" and not read(msgspec.json.encode(line)).faults:
            day.window.append(line)
    return Day(day.register, day.window[:window], day.feed[:feed])


class Requests:
    """Writes requests: whose key each carries."""

    def __init__(self, key_of: Mapping[str, str]) -> None:
        self._key_of = key_of

    def calls(self, claims: Sequence[Line], rate: float) -> list[Call]:
        """For each claim its trial and, half a step later, its settlement."""
        made = []
        for number, claim in enumerate(claims):
            made.append(Call("trials", number / rate, self._request("/v1/claims/trial", claim)))
            made.append(Call("claims", (number + 0.5) / rate, self._request("/v1/claims", claim)))
        return made

    def _request(self, place: str, claim: Line) -> bytes:
        body = msgspec.json.encode(claim)
        head = (
            f"POST {place} HTTP/1.1\r\nHost: counter\r\nAuthorization: Bearer {self._key_of[claim['institution_id']]}\r\n"
            f"Prefer: wait={_WAIT}\r\nContent-Length: {len(body)}\r\n\r\n"
        )
        return head.encode() + body


def run(asked: Asked, home: Path, tell: Tell) -> dict[str, Any]:
    """Everything, in order. Raises Stop where the audit does not pass: then there is no figure."""
    tell(f"making up {asked.members:,} members and their day")
    day = make_day(asked)
    calibrated = calibrate()
    with stage(home / "counter") as on:
        asyncio.run(prepare_servers(on.settings))
        on.start()
        tell("applying the register")
        asyncio.run(on.register(day.register))
        loads = _loads(on, asked, day, tell)
        tell("audit")
        on.audit()
    return {
        "machine": machine(),
        "calibrate_ms": calibrated,
        "settings": {"partitions": on.settings.partitions, "batch_max": on.settings.batch_max},
        "asked": asked._asdict(),
        **loads,
        "audit_ok": True,
    }


def _loads(on: Stage, asked: Asked, day: Day, tell: Tell) -> dict[str, Any]:
    """Warm-up, then the window alone, then beside the feed."""
    requests = Requests(asyncio.run(_keys(on, {claim["institution_id"] for claim in day.window})))
    records = list(prepare(day.feed, on.settings.partitions))
    warm, long = int(asked.rate * WARM_UP_SECONDS), int(asked.rate * asked.seconds)
    warm_feed = int(asked.feed * WARM_UP_SECONDS)
    tell("warming up")
    asyncio.run(_load(on, requests.calls(day.window[:warm], asked.rate), records[:warm_feed], asked.feed))
    loads = {}
    for name, claims, beside in (
        ("alone", day.window[warm : warm + long], []),
        ("beside_feed", day.window[warm + long :], records[warm_feed:]),
    ):
        if name == "beside_feed" and not asked.feed:
            continue
        tell(f"{asked.rate:g} claims and {asked.rate:g} trials a second, {name.replace('_', ' ')}")
        before = on.cpu()
        answers = asyncio.run(_load(on, requests.calls(claims, asked.rate), beside, asked.feed))
        cpu = {process: round((seconds - before[process]) / asked.seconds, 3) for process, seconds in on.cpu().items()}
        loads[name] = _figures(answers) | {"cores_used": cpu}
        for what in ("claims", "trials"):
            tell(f"  {what}: " + ", ".join(f"{figure} {loads[name][what][figure]}" for figure in SHARES))
        loads[name]["hops_ms"] = hops(asyncio.run(_seen(on)), claims)
    return loads


async def _load(on: Stage, calls: Sequence[Call], records: Sequence[Prepared], rate: float) -> list[Answer]:
    """The window's clients, and the feed's generator beside them; returns when everything is answered."""
    asked, answered = on.home / "calls", on.home / "answers"
    asked.write_bytes(msgspec.msgpack.encode(calls))
    answered.unlink(missing_ok=True)
    host, port = _address(on)
    clients = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "services.bench.counter_load", host, port, str(asked), str(answered)
    )
    feeding = asyncio.create_task(on.generate(records, rate)) if records else None
    code = await clients.wait()
    if feeding is not None:
        await feeding
    if code:
        raise Stop(f"the window's clients ended with {code}")
    await on.drained()
    return msgspec.msgpack.decode(answered.read_bytes(), type=list[Answer])


def _address(on: Stage) -> tuple[str, str]:
    found = re.search(r"counter at http://(\S+):(\d+)", (on.home / "intake.log").read_text())
    if found is None:
        raise Stop(f"intake does not say where its counter is; see {on.home / 'intake.log'}")
    return found[1], found[2]


async def _keys(on: Stage, institutions: Iterable[str]) -> dict[str, str]:
    """A key for each institution."""
    connection = await asyncpg.connect(on.settings.postgres)
    try:
        made = {name: keys.new_key() for name in sorted(institutions)}
        for name, key in made.items():
            await keys.keep(connection, name, key, "bench")
        return {name: key.text for name, key in made.items()}
    finally:
        await connection.close()


def _figures(answers: Sequence[Answer]) -> dict[str, Any]:
    """Percentiles by what was asked, and how it was answered."""
    made: dict[str, Any] = {}
    for what in ("claims", "trials"):
        ordered = sorted(answer.ms for answer in answers if answer.what == what)
        made[what] = {
            "count": len(ordered),
            **{name: round(figures.percentile(ordered, share), 1) for name, share in SHARES.items()},
            "statuses": dict(Counter(str(answer.status) for answer in answers if answer.what == what)),
        }
    return made


SHARES: Final = {"p50_ms": 0.5, "p95_ms": 0.95, "p99_ms": 0.99, "max_ms": 1.0}


async def _seen(on: Stage) -> list[list[figures.Seen]]:
    return [await figures.messages(on.settings.kafka, topics, on.settings.partitions) for topics in _HOPS]


def hops(seen: Sequence[Sequence[figures.Seen]], claims: Iterable[Line]) -> dict[str, dict[str, float]]:
    """From topic to topic, by the topics' own timestamps: where the window's claims spend their time."""
    wanted = {(claim["institution_id"], claim["claim_no"], "claim") for claim in claims}
    times: list[dict[tuple[str, str, str], int]] = []
    for topic in seen:
        first: dict[tuple[str, str, str], int] = {}
        for one in topic:
            number = number_of(one.value)
            if number in wanted:
                first.setdefault(number, one.timestamp_ms)
        times.append(first)
    shown = {}
    for topics, before, after in zip(_HOPS[1:], times, times[1:], strict=False):
        took = sorted(float(at - before[number]) for number, at in after.items() if number in before)
        shown[topics[0]] = {name: figures.percentile(took, share) for name, share in SHARES.items()}
    return shown


def rows(result: Mapping[str, Any]) -> list[tuple[str, str]]:
    """The figures as (name, value), for a table."""
    shown = []
    for load in ("alone", "beside_feed"):
        for part, found in result.get(load, {}).items():
            flat = found if part != "hops_ms" else {f"to {topic}": json.dumps(value) for topic, value in found.items()}
            shown += [(f"{load}: {part}: {name}", str(value)) for name, value in flat.items()]
    return [*shown, ("audit_ok", str(result["audit_ok"]))]
