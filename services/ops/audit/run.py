"""Takes every check through one snapshot. Read-only, and safe while the system works."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

import asyncpg

from services.ops.audit import view as views
from services.ops.audit.accounts import ACCOUNTS
from services.ops.audit.announced import READ, announced, bounds, ends_of_records, log, partitions_of
from services.ops.audit.check import Family, Finding
from services.ops.audit.clearing import CLEARING
from services.ops.audit.counts import COUNTS
from services.ops.audit.guards import GUARDS
from services.ops.audit.hot import Hot, hot, sample
from services.ops.audit.joined import JOINED
from services.ops.audit.lanes import enough_memory, in_lanes
from services.ops.audit.ledger import LEDGER
from services.ops.audit.once import ONCE
from services.ops.audit.outcomes import outcomes
from services.ops.audit.path import path
from services.ops.audit.payments import PAYMENTS
from services.ops.audit.tables import TABLES
from services.ops.audit.view import View
from services.ops.audit.windows_paid import WINDOWS_PAID
from shared.errors import ServerMissing
from shared.events import ELIGIBLE, LEDGER_ROOTS, SUBMITTED
from shared.runtime.cache import Cache
from shared.runtime.database import reader
from shared.runtime.settings import Settings

TOPICS_UP_TO: Final = 2_000_000  # records; beyond, topics are read through only when that is asked for
# What mostly works in Postgres, and what mostly works here.
ASKED: Final[tuple[Family, ...]] = (
    *(LEDGER, ACCOUNTS, PAYMENTS, ONCE, JOINED, path, GUARDS, TABLES, CLEARING, WINDOWS_PAID, COUNTS),
)
READ_THROUGH: Final[tuple[Family, ...]] = (hot, outcomes, announced)

ELSEWHERE: Final = {
    "I14": "a property of the engine, not of stored data: tests/properties",
    "I15": "a property of the engine, not of stored data: tests/properties",
    "I18": "logs, metrics and exports are not among the books: not checked here",
}


@dataclass(frozen=True)
class Report:
    """What an audit found, and up to which point it looked."""

    at: datetime
    seconds: float
    findings: Sequence[Finding]
    leases: Sequence[tuple[str, str, int, int]]  # service, topic, partition, next offset
    quiescent: bool
    topics_read: bool
    since: datetime | None = None

    @property
    def ok(self) -> bool:
        """No breach anywhere."""
        return all(finding.total == 0 for finding in self.findings)

    @property
    def in_flight(self) -> int:
        """Rows between two services, neither right nor wrong yet."""
        return sum(finding.in_flight for finding in self.findings)


async def audit(
    settings: Settings, further: Sequence[Family] = (), *, topics: bool | None = None, since: datetime | None = None
) -> Report:
    """Runs all checks, and those handed in. ``topics``: whether to read topics through; None: unless they are very long.

    ``since``: what is gone through row by row (bytes of outcomes, decisions and their grounds) only where something was settled
    since then, and topics only when asked for. What Postgres answers is checked whole: sums, uniqueness, seals, counts, payments.
    Raises ServerMissing.
    """
    began = datetime.now(UTC)
    incarnation, partitions = await _deployment(settings)
    in_redis = await _in_redis(settings, incarnation)
    async with log(settings.kafka) as consumer, reader(settings.postgres) as connection:
        topics_have = await partitions_of(consumer, (*READ, SUBMITTED, ELIGIBLE))
        places = [(topic, p) for topic, count in topics_have.items() for p in range(count)] + [(LEDGER_ROOTS, 0)]
        _, before = await bounds(consumer, places)
        async with connection.transaction(isolation="repeatable_read", readonly=True):
            await enough_memory(connection)
            leases = await views.leases(connection)  # the first query takes the snapshot
            starts, after = await bounds(consumer, places)
            submitted = {place: end for place, end in after.items() if place[0] == SUBMITTED}
            read = {place: lease.next_offset for (service, place), lease in leases.items() if service == "intake"}
            after |= await ends_of_records(consumer, starts, submitted, read)
            long = sum(after.values()) - sum(starts.values()) > TOPICS_UP_TO
            view = View(
                *(connection, settings.kafka, _as_made(partitions, topics_have), leases, before, after, starts, in_redis),
                topics=not long and since is None if topics is None else topics,
                since=since,
                topics_have=topics_have,
                counts_began=await _counts_began(connection),
            )
            findings = await in_lanes(view, settings.postgres, ASKED, READ_THROUGH, further)
    ended = datetime.now(UTC)
    findings.sort(key=lambda finding: int(finding.check.invariant[1:]))
    looked = sorted((service, *place, lease.next_offset) for (service, place), lease in leases.items())
    return Report(ended, (ended - began).total_seconds(), findings, looked, view.quiescent, view.topics, since)


async def _in_redis(settings: Settings, incarnation: str) -> Hot:
    cache = Cache(settings.redis, incarnation)
    try:
        return await sample(cache)
    finally:
        await cache.close()


async def _deployment(settings: Settings) -> tuple[str, int]:
    async with reader(settings.postgres) as connection:
        try:
            row = await connection.fetchrow("select incarnation::text, partitions from runtime.deployment")
        except asyncpg.UndefinedTableError:
            row = None
    if row is None:
        raise ServerMissing("postgres", "there are no books in this database yet; start the services with `gongji serve all`")
    return row["incarnation"], row["partitions"]


def _as_made(partitions: int, topics_have: Mapping[str, int]) -> int:
    """By what rows were placed: where the deployment's row says what no topic has, it is the row that is wrong, and named."""
    return partitions if partitions in topics_have.values() else topics_have.get(SUBMITTED, partitions)


async def _counts_began(connection: asyncpg.Connection) -> dict[str, int]:
    """By lease, the records counted before `gongji lease adopt` took up a new log."""
    records: str | None = await connection.fetchval(
        "select after->>'records' from runtime.command_log where command = 'lease adopt' order by id desc limit 1"
    )
    return dict(json.loads(records)) if records else {}
