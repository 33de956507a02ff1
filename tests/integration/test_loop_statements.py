"""Statements a batch, not a claim: each step of the path asks Postgres as often for five hundred claims as for one."""

import json
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, cast

import pytest
from deployment import Line

from deploy.migrations import run as migrate
from services import pipeline
from services.adjudication.store import PostgresStore as AdjudicationBooks
from services.ops.generate import generate
from shared.events import REGISTER_TYPES
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

pytestmark = pytest.mark.servers

# Statements of one batch of new claims, begin and commit among them (repeats and rejections add their tables to the first).
A_BATCH: Mapping[str, int] = {"submissions": 6, "coverage": 11, "decisions": 9, "settlement": 10, "obligations": 7}
REGIONS = ("130900", "440800", "511900", "653100", "420300")


Announced = dict[str, list[tuple[bytes, bytes]]]


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

    async def send(self, outgoing: Sequence[Outgoing]) -> None:
        self.sent += outgoing

    async def handle(self, topic: str, values: Sequence[tuple[bytes, bytes]]) -> tuple[list[str], Announced]:
        """One batch: its statements, and what was announced by topic."""
        start = self.offsets.get(topic, 0)
        self.offsets[topic] = start + len(values)
        self.queries.clear()
        self.sent.clear()
        await self.loop.handle([Record(topic, 0, start + n, 0, key, value) for n, (key, value) in enumerate(values)])
        announced: Announced = {}
        for message, _ in self.sent:
            announced.setdefault(message.topic, []).append((message.key, message.value))
        return list(self.queries), announced


@pytest.fixture
async def steps(fresh_database: str) -> AsyncIterator[dict[str, Counted]]:
    """Every step of the path on books of its own."""
    migrate(fresh_database)
    policies = Policies.load(policies_directory(), None)
    cache = Cache("redis://127.0.0.1:1/0", "none")  # Redis away: what is counted is Postgres
    made: dict[str, Counted] = {}
    for place in pipeline.PATH:
        [wiring] = [
            one
            for one in pipeline.wirings(place.service, policies, cache, lambda: datetime(2023, 6, 15, tzinfo=UTC))
            if one.name == place.name
        ]
        database = Database(fresh_database, role="gongji_service", name=f"gongji-{place.service}")
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


def _as_sent(lines: Iterable[Line]) -> list[tuple[bytes, bytes]]:
    return [(str(line.get("institution_id", "")).encode(), json.dumps(line, ensure_ascii=False).encode()) for line in lines]


async def _register(steps: Mapping[str, Counted], lines: Sequence[Line]) -> None:
    for kind in REGISTER_TYPES:
        of_kind = _as_sent(line for line in lines if line["type"] == kind)
        step = steps["credits" if kind == "account_credit" else "register"]
        for start in range(0, len(of_kind), 1_000):
            await step.handle(f"register.{kind}", of_kind[start : start + 1_000])


async def _through(steps: Mapping[str, Counted], claims: Sequence[Line]) -> dict[str, list[str]]:
    """Claims in one batch through the path: statements by step."""
    asked = {}
    values = _as_sent(claims)
    topic = "claims.submitted"
    for name, target in (
        ("submissions", "claims.accepted"),
        ("coverage", "claims.eligible"),
        ("decisions", "claims.adjudicated"),
        ("settlement", "claims.settled"),
        ("obligations", ""),
    ):
        asked[name], announced = await steps[name].handle(topic, values)
        topic, values = target, announced.get(target, [])
        if not values:
            break
    return asked


async def test_five_hundred_claims_take_as_many_statements_as_one(steps: dict[str, Counted]) -> None:
    lines = [line for line in generate(900, 900, REGIONS, 7) if isinstance(line, dict)]
    await _register(steps, lines)
    claims = list({(line["institution_id"], line["claim_no"]): line for line in lines if line["type"] == "claim"}.values())
    await _through(steps, claims[:50])  # whatever is asked only once
    alone = [await _through(steps, [claim]) for claim in claims[50:250]]
    of_many = await _through(steps, claims[250:750])
    assert len(claims[250:750]) == 500
    for name, asked in of_many.items():
        assert len(asked) == len(set(asked)), f"{name} asks twice in a batch"
        assert set(asked) <= {query for one in alone for query in one.get(name, [])}, f"{name} asks {len(asked)}"
    assert {name: len(asked) for name, asked in of_many.items()} == A_BATCH
