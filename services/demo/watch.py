"""How a day goes, as the leases and the services' metrics tell it; and the line that shows it."""

import asyncio
import re
import time
from collections import deque
from collections.abc import Callable
from pathlib import Path
from typing import Final, NamedTuple

from rich.console import Console
from rich.status import Status

from services.demo.workers import Workers
from shared.errors import Retry
from shared.events import REGISTER_TYPES, SERVICES
from shared.runtime.database import Database

_LOOK_SECONDS: Final = 0.1
_PRINT_SECONDS: Final = 3.0  # between lines where no terminal lets one line be written over
_RATE_SECONDS: Final = 3.0
_LAG: Final = re.compile(r'^gongji_lag_seconds\{service="(\w+)",step="\w+"\} (\S+)$', re.MULTILINE)
_REGISTER: Final = frozenset(f"register.{kind}" for kind in REGISTER_TYPES)


class Mark(NamedTuple):
    """One lease, as far as a day's books are counted by it."""

    next_offset: int
    out_seq: int
    relayed_seq: int
    records: int
    decided: int
    repeated: int
    rejected: int
    quarantined: int


class Standing(dict[tuple[str, str, int], Mark]):
    """All leases at one moment, by (service, topic, partition)."""

    def count(self, service: str, what: str) -> int:
        """A lease's count added up over a service's claim topics."""
        return sum(int(getattr(mark, what)) for (of, topic, _), mark in self.items() if of == service and topic not in _REGISTER)

    @property
    def position(self) -> int:
        """Records applied by anybody from anywhere: while it grows, work is being done."""
        return sum(mark.next_offset for mark in self.values())

    @property
    def unannounced(self) -> list[tuple[str, str, int]]:
        """Where something is decided and not yet announced."""
        return sorted(place for place, mark in self.items() if mark.relayed_seq != mark.out_seq)


async def standing(database: Database) -> Standing:
    """Reads all leases. Raises Retry while Postgres does not answer."""
    async with database.transaction() as tx:
        rows = await tx.fetch(f"select service, topic, partition, {', '.join(Mark._fields)} from runtime.lease")  # noqa: S608
    return Standing({(row[0], row[1], row[2]): Mark(*row[3:]) for row in rows})


class Line:
    """One line that is written over on a terminal, and said again every few seconds where there is none."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._status: Status | None = None
        self._said_at = 0.0

    def show(self, text: str) -> None:
        """What goes on now."""
        if self._console.is_terminal:
            if self._status is None:
                self._status = self._console.status(text)
                self._status.start()
            self._status.update(text)
        elif time.monotonic() - self._said_at >= _PRINT_SECONDS:
            self.say(text)

    def say(self, text: str) -> None:
        """What stays to be read."""
        self._said_at = time.monotonic()
        self._console.print(text, soft_wrap=True, markup=False)

    def end(self) -> None:
        """Leaves the terminal as it was."""
        if self._status is not None:
            self._status.stop()
            self._status = None


class Watch:
    """Looks at the leases while a day runs, and remembers when they last moved."""

    def __init__(self, database: Database, workers: Workers, before: Standing, line: Line, sent: Callable[[], int]) -> None:
        self._database = database
        self._workers = workers
        self._before = before
        self._line = line
        self._sent = sent
        self._answered: deque[tuple[float, int]] = deque()
        self._lags: dict[str, float] = {}
        self._next_look = asyncio.Event()
        self.now = before
        self.moved_at = time.monotonic()

    async def run(self) -> None:
        """Until it is cancelled."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._look())
            group.create_task(self._ask_for_lags())

    @property
    def log(self) -> Path:
        """Where the services say what they do."""
        return self._workers.log

    async def looked(self) -> None:
        """Returns after the next look."""
        await self._next_look.wait()

    async def _look(self) -> None:
        while True:
            try:
                now = await standing(self._database)
            except Retry:
                pass  # the day waits for Postgres, and so do we
            else:
                if now.position != self.now.position:
                    self.moved_at = time.monotonic()
                self.now = now
                self._line.show(self._text())
                self._next_look.set()
                self._next_look = asyncio.Event()
            await asyncio.sleep(_LOOK_SECONDS)

    async def _ask_for_lags(self) -> None:
        while True:
            self._lags = await asyncio.to_thread(lags, self._workers)
            await asyncio.sleep(1.0)

    def gained(self, service: str, what: str) -> int:
        """What a count of a service has gained since the day began."""
        return self.now.count(service, what) - self._before.count(service, what)

    def _text(self) -> str:
        settled = self.gained("account", "decided")
        rejected = self.gained("intake", "rejected") + self.gained("account", "rejected")
        rate = self._rate(settled + rejected)
        lags = " ".join(f"{service} {self._lags.get(service, '–')}" for service in SERVICES)
        return f"sent {self._sent():,}  settled {settled:,}  rejected {rejected:,}  {rate:,.0f}/s  lag (s): {lags}"

    def _rate(self, answered: int) -> float:
        now = time.monotonic()
        self._answered.append((now, answered))
        while now - self._answered[0][0] > _RATE_SECONDS:
            self._answered.popleft()
        since, then = self._answered[0]
        return (answered - then) / (now - since) if now > since else 0.0


def lags(workers: Workers) -> dict[str, float]:
    """Age in seconds of the oldest record a service has still to apply; a service that does not answer is left out."""
    found: dict[str, float] = {}
    for service in SERVICES:
        try:
            page = workers.page(service, "/metrics")
        except OSError:
            continue
        steps = [float(seconds) for of, seconds in _LAG.findall(page) if of == service]
        found[service] = round(max(steps, default=0.0), 1)
    return found
