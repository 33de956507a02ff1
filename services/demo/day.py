"""A day: made up and written down, sent into intake, and waited for until every service has done its part."""

import asyncio
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, NamedTuple

import msgspec

from services.demo.month import MONTH
from services.demo.watch import Line, Standing, Watch, standing
from services.demo.workers import Workers
from services.ops.barrier import Barrier
from services.ops.generate import generate
from services.ops.send import Feeder, Numbered, Sending
from shared.errors import Retry, Stop
from shared.events import REGISTER_TYPES, SERVICES, SETTLED, SUBMITTED
from shared.runtime.database import Database
from shared.runtime.settings import Settings
from shared.runtime.topics import declared

_QUIET_SECONDS: Final = 20.0  # marks are stored after an idle second
_WORKS_SECONDS: Final = 60.0


class Asked(NamedTuple):
    """What the user wants of the day. ``rate``: submissions a second; None for as fast as it goes."""

    claims: int
    members: int
    seed: int
    rate: float | None
    chaos: bool
    month: bool = False


class Kill(NamedTuple):
    """A worker that was killed on the way. ``seconds`` since the first claim was sent."""

    service: str
    pid: int
    seconds: float


@dataclass
class Ran:
    """What a day came to, as far as its sender knows."""

    before: Standing
    after: Standing
    register: int
    submitted: int
    drained_seconds: float  # from the first claim sent to the last record applied by the last service
    kills: list[Kill] = field(default_factory=list)


class Feed:
    """The day's two files: the register, and what is submitted."""

    def __init__(self, directory: Path) -> None:
        self.register = directory / "register.ndjson"
        self.day = directory / "day.ndjson"

    def write(self, asked: Asked, regions: Sequence[str]) -> None:
        """Makes the day up."""
        self.register.parent.mkdir(parents=True, exist_ok=True)
        with self.register.open("wb") as register, self.day.open("wb") as day:
            for line in generate(asked.claims, asked.members, regions, asked.seed, broken=True):
                if isinstance(line, bytes):
                    day.write(line + b"\n")
                else:
                    if asked.month and line["type"] == "member":
                        line["paid_through"] = MONTH
                    (register if line["type"] in REGISTER_TYPES else day).write(msgspec.json.encode(line) + b"\n")

    def first_member(self) -> str:
        """A member that no other seed's day has."""
        with self.register.open("rb") as lines:
            documents = (msgspec.json.decode(line) for line in lines)
            return next(str(document["member_id"]) for document in documents if document["type"] == "member")


async def is_known(settings: Settings, member_id: str) -> bool:
    """Whether the register has a member already: then this seed's day was here before."""
    async with _reading(settings) as database, database.transaction() as tx:
        return bool(await tx.fetchval("select exists (select from eligibility.member where member_id = $1)", member_id))


async def run(
    settings: Settings, feed: Feed, asked: Asked, workers: Workers, line: Line, *, between: Callable[[], None] | None = None
) -> Ran:
    """Sends the register, then the day; returns when every record went through the last service.

    ``between`` the two something else may be done.

    Raises ServerMissing when nothing moves any more, Stop when a service does not come back or does not announce.
    """
    partitions = {name: topic.partitions for name, topic in declared(settings.partitions).items()}
    async with _reading(settings) as database, _reading(settings) as waiting, Feeder(settings.kafka, partitions) as feeder:
        barrier = Barrier(waiting, feeder.ends_of, lambda _: None)
        sending = Sending(feeder, barrier, rate=asked.rate, advance=lambda _: None)
        before = await _through(barrier, feeder, waiting)  # what an interrupted day left is not of this one
        line.show("sending the register")
        await sending.run(_lines(feed.register), wait=False)
        if between is not None:
            await asyncio.to_thread(between)
            before = await _through(barrier, feeder, waiting)
        began = time.monotonic()
        watch = Watch(database, workers, before, line, lambda: sending.sent.submitted)
        watching = asyncio.create_task(watch.run())
        try:
            kills = await _send(feed, sending, watch, workers if asked.chaos else None, line)
            after = await _through(barrier, feeder, waiting)
            await watch.looked()
        finally:
            watching.cancel()
            await asyncio.gather(watching, return_exceptions=True)
    sent = sending.sent
    return Ran(before, after, sent.register, sent.submitted, watch.moved_at - began, kills)


async def _send(feed: Feed, sending: Sending, watch: Watch, victims: Workers | None, line: Line) -> list[Kill]:
    """Sends the day; with victims in portions: one service after the other is killed at work, once the one before is back.

    The one before comes back for the first half of a portion. The next is killed at the second: it may be through with the first.
    """
    if victims is None:
        await sending.run(_lines(feed.day), wait=False)
        return []
    began = time.monotonic()
    kills: list[Kill] = []
    *portions, last = _portions(list(_lines(feed.day)), len(SERVICES) + 1)
    had_done = 0
    for service, portion in zip(SERVICES, portions, strict=True):
        first, second = _portions(portion, 2)
        await sending.run(first, wait=False)
        if kills:
            await _works(watch, kills[-1].service, had_done)  # the one before is back
        before = watch.gained(service, "records")
        await sending.run(second, wait=False)
        await _works(watch, service, before)
        pid = await asyncio.to_thread(victims.kill, service)
        had_done = watch.gained(service, "records")
        kills.append(Kill(service, pid, round(time.monotonic() - began, 2)))
        line.say(f"{kills[-1].seconds:6.1f} s  kill -9 {pid}: the worker of {service}")
    await sending.run(last, wait=False)
    return kills


async def _works(watch: Watch, service: str, done: int) -> None:
    """Until a service has done more than that."""
    deadline = time.monotonic() + _WORKS_SECONDS
    while watch.gained(service, "records") <= done:
        if time.monotonic() > deadline:
            raise Stop(f"{service} does nothing for {_WORKS_SECONDS:.0f} s; {watch.log} says why")
        await watch.looked()


async def _through(barrier: Barrier, feeder: Feeder, database: Database) -> Standing:
    """Until everything submitted so far went through every service, and all of it is announced: where all stand then."""
    await barrier.answered(await feeder.ends_of([SUBMITTED]))
    await barrier.applied(await feeder.ends_of([SETTLED]))
    deadline = time.monotonic() + _QUIET_SECONDS
    while True:
        with suppress(Retry):
            now = await standing(database)
            if not now.unannounced:
                return now
        if time.monotonic() > deadline:
            raise Stop("a service has decided what it does not announce")
        await asyncio.sleep(0.1)


def _portions(lines: list[Numbered], count: int) -> list[list[Numbered]]:
    return [lines[len(lines) * i // count : len(lines) * (i + 1) // count] for i in range(count)]


def _lines(file: Path) -> Iterator[Numbered]:
    with file.open("rb") as stream:
        for number, line in enumerate(stream, 1):
            yield str(file), number, line


@asynccontextmanager
async def _reading(settings: Settings) -> Any:
    database = Database(settings.postgres, role="gongji_ops", name="gongji-demo")
    try:
        yield database
    finally:
        await database.close()
