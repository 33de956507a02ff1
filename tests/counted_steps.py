"""The steps of the path over real books and without Kafka, one batch at a time: what each asks, announces and allocates."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Final, NamedTuple, cast

from deployment import Line

from deploy.migrations import run as migrate
from services import pipeline
from services.adjudication.store import PostgresStore as AdjudicationBooks
from shared.events import ACCEPTED, ADJUDICATED, ELIGIBLE, REGISTER_TYPES, SETTLED, SUBMITTED
from shared.policy import Policies
from shared.runtime.cache import Cache
from shared.runtime.database import Database
from shared.runtime.holdings import Holdings
from shared.runtime.lease import Place
from shared.runtime.loop import Loop
from shared.runtime.relay import Outgoing
from shared.runtime.settings import policies_directory
from shared.runtime.step import Record
from shared.runtime.takeover import Taker
from shared.runtime.telemetry import Telemetry

Announced = dict[str, list[tuple[bytes, bytes]]]
REGIONS: Final = ("130900", "440800", "511900", "653100", "420300")
_PATH: Final = (
    ("submissions", ACCEPTED), ("coverage", ELIGIBLE), ("decisions", ADJUDICATED), ("settlement", SETTLED), ("obligations", "")
)  # fmt: skip


class Passed(NamedTuple):
    """A batch at one step: its statements, and what was announced by topic."""

    asked: list[str]
    announced: Announced


class Log:
    """A log with everything in it."""

    def __init__(self, places: Iterable[Place]) -> None:
        self._places = set(places)

    def assigned(self) -> set[Place]:
        return self._places

    def hold(self, place: Place) -> None: ...
    def go(self, place: Place, offset: int) -> None: ...

    async def bounds(self, places: Iterable[Place]) -> Mapping[Place, tuple[int, int]]:
        return dict.fromkeys(places, (0, 1000000))


@dataclass
class Counted:
    """One step over real books, with what it announced and how often it asked."""

    place: pipeline.Place
    database: Database
    loop: Loop
    sent: list[Outgoing] = field(default_factory=list)
    queries: list[str] = field(default_factory=list)
    offsets: dict[str, int] = field(default_factory=dict)
    before: Callable[[], object] = lambda: None
    after: Callable[[], object] = lambda: None

    async def send(self, outgoing: Sequence[Outgoing]) -> None:
        self.sent += outgoing

    async def handle(self, topic: str, values: Sequence[tuple[bytes, bytes]]) -> tuple[list[str], Announced]:
        """One batch: its statements, and what was announced by topic."""
        start = self.offsets.get(topic, 0)
        self.offsets[topic] = start + len(values)
        self.queries.clear()
        self.sent.clear()
        records = [Record(topic, 0, start + n, 0, key, value) for n, (key, value) in enumerate(values)]
        self.before()
        await self.loop.handle(records)
        self.after()
        await asyncio.sleep(0)  # asyncpg tells of a statement in the next turn of the event loop
        announced: Announced = {}
        for message, _ in self.sent:
            announced.setdefault(message.topic, []).append((message.key, message.value))
        return list(self.queries), announced


@asynccontextmanager
async def counted_steps(dsn: str) -> AsyncIterator[dict[str, Counted]]:
    """Every step of the path over an empty database."""
    migrate(dsn)
    policies = Policies.load(policies_directory(), None)
    cache = Cache("redis://127.0.0.1:1/0", "none")  # Redis away: what is counted is Postgres
    made: dict[str, Counted] = {}
    for place in pipeline.PATH:
        [wiring] = [
            one
            for one in pipeline.wirings(place.service, policies, cache, lambda: datetime(2023, 6, 15, tzinfo=UTC))
            if one.name == place.name
        ]
        database = Database(dsn, role="gongji_service", name=f"gongji-{place.service}")
        counted = Counted(place, database, cast("Loop", None))
        telemetry = Telemetry(place.service, f"{place.name}-counted")
        holdings = Holdings(Taker(wiring.step, database, counted, telemetry, "cluster", "test"))
        holdings.log = cast("Any", Log((topic, 0) for topic in place.topics))
        counted.loop = Loop(wiring.step, database, counted, holdings, telemetry, batch_max=2_000)
        await holdings.assigned(holdings.log.assigned())
        (await database.connection()).add_query_logger(lambda query, counted=counted: counted.queries.append(query.query))
        made[place.name] = counted
    async with made["decisions"].database.transaction() as tx:
        await AdjudicationBooks().keep_packs(tx, policies.versions)
    yield made
    for counted in made.values():
        await counted.database.close()
    await cache.close()


def as_sent(lines: Iterable[Line]) -> list[tuple[bytes, bytes]]:
    return [(str(line.get("institution_id", "")).encode(), json.dumps(line, ensure_ascii=False).encode()) for line in lines]


async def register(steps: Mapping[str, Counted], lines: Sequence[Line]) -> None:
    for kind in REGISTER_TYPES:
        of_kind = as_sent(line for line in lines if line["type"] == kind)
        step = steps["credits" if kind == "account_credit" else "register"]
        for start in range(0, len(of_kind), 1_000):
            await step.handle(f"register.{kind}", of_kind[start : start + 1_000])


async def through(steps: Mapping[str, Counted], claims: Sequence[Line]) -> dict[str, Passed]:
    """Claims in one batch through the path: what each step asked and announced."""
    passed = {}
    values = as_sent(claims)
    topic = SUBMITTED
    for name, target in _PATH:
        passed[name] = Passed(*await steps[name].handle(topic, values))
        topic, values = target, passed[name].announced.get(target, [])
        if not values:
            break
    return passed
