"""Waiting until what was sent is applied, and until it is answered, by what the leases in Postgres say.

Between topics there is no order (architecture.md, section 1), so a feed that mixes register and claims waits at each
change from one to the other.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Final, NamedTuple

from shared.errors import Retry, ServerMissing
from shared.events import ACCEPTED, ADJUDICATED, ELIGIBLE, REGISTER_TYPES, SUBMITTED
from shared.runtime.database import Database
from shared.runtime.lease import Place

STALLED_SECONDS: Final = 120.0  # without any lease moving: somebody is not running
_LOOK_SECONDS: Final = 0.1

# Who keeps which register topic. Whoever else has leases on one is waited for too.
APPLIED_BY: Final[dict[str, tuple[str, ...]]] = {
    f"register.{kind}": ("account",) if kind == "account_credit" else ("eligibility",) for kind in REGISTER_TYPES
}
# The claim's path: each service has an answer only for what the one before has announced.
PATH: Final = (("intake", SUBMITTED), ("eligibility", ACCEPTED), ("adjudication", ELIGIBLE), ("account", ADJUDICATED))

Ends = Mapping[Place, int]  # the offset after the last record, by place


class Mark(NamedTuple):
    """How far a service is on a partition."""

    next_offset: int
    unannounced: int


Marks = dict[tuple[str, Place], Mark]


class Barrier:
    """Waits on leases. ``tell`` is called with what is still waited for."""

    def __init__(
        self,
        database: Database,
        ends_of: Callable[[Sequence[str]], Awaitable[Ends]],
        tell: Callable[[str], None],
        *,
        stalled_seconds: float = STALLED_SECONDS,
    ) -> None:
        self._database = database
        self._ends_of = ends_of
        self._tell = tell
        self._stalled_seconds = stalled_seconds

    async def applied(self, ends: Ends) -> None:
        """Until every consumer of these register topics is past these ends. Raises ServerMissing when nothing moves."""

        def behind(marks: Marks) -> list[tuple[str, Place]]:
            wanted = {(service, place) for place in ends for service in APPLIED_BY.get(place[0], ())}
            wanted |= {(service, place) for service, place in marks if place in ends}
            return [one for one in sorted(wanted) if _next(marks, one) < ends[one[1]]]

        await self._until(behind)

    async def answered(self, ends: Ends) -> None:
        """Until what was submitted up to these ends has its outcomes: service by service along the path.

        Raises ServerMissing when nothing moves.
        """
        for service, topic in PATH:
            reached = ends if topic == SUBMITTED else await self._ends_of([topic])
            wanted = {(service, place): end for place, end in reached.items() if end}

            def behind(marks: Marks, wanted: Mapping[tuple[str, Place], int] = wanted) -> list[tuple[str, Place]]:
                return [
                    one for one, end in wanted.items() if _next(marks, one) < end or (one in marks and marks[one].unannounced)
                ]

            await self._until(behind)

    async def _until(self, behind: Callable[[Marks], list[tuple[str, Place]]]) -> None:
        seen: Marks | None = None
        missing = ServerMissing("postgres", "start it with `gongji servers up`")
        since = time.monotonic()
        while True:
            try:
                marks = await self._marks()
            except Retry as trouble:
                missing = ServerMissing("postgres", f"{trouble}; start it with `gongji servers up`")
            else:
                waiting = behind(marks)
                if not waiting:
                    return
                if marks != seen:
                    seen, since = marks, time.monotonic()
                service, (topic, partition) = waiting[0]
                self._tell(f"{service} on {topic} ({len(waiting)} partitions to go)")
                missing = ServerMissing(
                    service,
                    f"nothing moved on {topic}/{partition} for {self._stalled_seconds:.0f} s; start it with `gongji serve all`",
                )
            if time.monotonic() - since > self._stalled_seconds:
                raise missing
            await asyncio.sleep(_LOOK_SECONDS)

    async def _marks(self) -> Marks:
        async with self._database.transaction() as tx:
            rows = await tx.fetch("select service, topic, partition, next_offset, out_seq - relayed_seq from runtime.lease")
        return {(row[0], (row[1], row[2])): Mark(*row[3:]) for row in rows}


def _next(marks: Marks, one: tuple[str, Place]) -> int:
    return marks[one].next_offset if one in marks else 0
