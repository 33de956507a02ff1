"""What an audit looks at: one snapshot of the books, and where the topics ended before and after it was taken.

That order makes it sound on a working system: what was announced before the snapshot must be in it, and what the snapshot
says was announced must be on the topics afterwards. Whatever lies between is *in flight*, and no breach.
"""
# ruff: noqa: S608 - SQL put together from this package's own names

from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final, NamedTuple

import asyncpg

from shared.events import ACCEPTED, ADJUDICATED, ELIGIBLE, SETTLED, SUBMITTED
from shared.runtime.lease import Place


class Position(NamedTuple):
    """A lease as the snapshot has it."""

    next_offset: int
    out_seq: int
    relayed_seq: int
    records: int


NOWHERE = Position(0, 0, 0, 0)
_PAGE: Final = 2_000


@dataclass
class View:
    """The snapshot and the positions that go with it. ``hot``: counters read from Redis before the snapshot."""

    connection: asyncpg.Connection
    kafka: str
    partitions: int
    leases: Mapping[tuple[str, Place], Position]
    ends_before: Mapping[Place, int]
    ends_after: Mapping[Place, int]
    starts: dict[Place, int]  # moved by whoever reads a topic that retention prunes meanwhile
    hot: Mapping[str, Mapping[tuple[str, str], tuple[int, int]]]
    topics: bool = True  # whether topics are read through
    since: datetime | None = None  # outcomes before it, and members without one after it, are not gone through again
    topics_have: Mapping[str, int] = field(default_factory=dict)  # partitions
    counts_began: Mapping[str, int] = field(default_factory=dict)  # records counted before the log began anew, by lease
    _counts: dict[str, int] = field(default_factory=dict)

    async def rows(self, tables: Iterable[str]) -> int:
        """How many rows these tables have in the snapshot, together."""
        for table in tables:
            if table not in self._counts:
                self._counts[table] = await self.connection.fetchval(f"select count(*) from {table}")
        return sum(self._counts[table] for table in tables)

    @property
    def decisions(self) -> int:
        """How many there are, by the numbers they were given."""
        return sum(lease.out_seq for (service, _), lease in self.leases.items() if service == "adjudication")

    def quiet(self, *hops: tuple[str, str]) -> list[int]:
        """Partitions on which these (service, topic) hops have applied, and announced, all there is."""
        return [partition for partition in range(self.partitions) if all(self._done(hop, partition) for hop in hops)]

    def _done(self, hop: tuple[str, str], partition: int) -> bool:
        service, topic = hop
        place = (topic, partition)
        lease = self.leases.get((service, place), NOWHERE)
        return lease.next_offset >= self.ends_after.get(place, 0) and lease.relayed_seq == lease.out_seq

    @property
    def decided_all(self) -> list[int]:
        """Partitions on which every accepted claim has had the time to be decided."""
        if len(self.quiet(("intake", SUBMITTED))) < self.partitions:  # any of them may still bring something
            return []
        return self.quiet(("eligibility", ACCEPTED), ("adjudication", ELIGIBLE))

    @property
    def answered_all(self) -> list[int]:
        """Partitions on which every decision has had the time to be answered."""
        return self.quiet(("adjudication", ELIGIBLE), ("account", ADJUDICATED))

    @property
    def cleared_all(self) -> list[int]:
        """Partitions on which every outcome has had the time to become an obligation."""
        return self.quiet(("account", ADJUDICATED), ("crossregion", SETTLED))

    @property
    def quiescent(self) -> bool:
        """Nothing is under way anywhere."""
        return all(
            lease.next_offset >= self.ends_after.get(place, 0) and lease.relayed_seq == lease.out_seq
            for (_, place), lease in self.leases.items()
        )


async def leases(connection: asyncpg.Connection) -> dict[tuple[str, Place], Position]:
    """Every lease of the snapshot."""
    rows: Sequence[asyncpg.Record] = await connection.fetch(
        "select service, topic, partition, next_offset, out_seq, relayed_seq, records from runtime.lease"
    )
    return {(row[0], (row[1], row[2])): Position(*row[3:]) for row in rows}


async def pages(connection: asyncpg.Connection, sql: str, *args: Any) -> AsyncIterator[Sequence[asyncpg.Record]]:
    """What a query finds, 2,000 rows at a time: no turn of the event loop for each of them. One query at a time."""
    cursor = await connection.cursor(sql, *args)
    while page := await cursor.fetch(_PAGE):
        yield page
    await connection.execute("close all")  # or what it sorted would lie on the disk until the audit ends
