"""The partitions a worker holds: taken at assignment, swept every second, forgotten at the first doubt.

There is one way back from any trouble: forget the lease, take it again, and go on from what Postgres says. Taking it
announces again what was committed and not yet relayed, and seeks the log to ``next_offset``.
"""

import asyncio
import time
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Protocol

import asyncpg

from shared.errors import Retry, Stop
from shared.runtime import lease as leases
from shared.runtime.batch import digest
from shared.runtime.cache import Projection
from shared.runtime.database import Database
from shared.runtime.lease import Lease, Place
from shared.runtime.relay import Sender, announce_again
from shared.runtime.step import Filed, Record, Step
from shared.runtime.telemetry import Telemetry

_FENCED_SECONDS = 2.0  # time for the broker to tell a worker that woke up that its partitions moved
_BACKOFF_SECONDS = (0.2, 0.5, 1.0, 2.0, 5.0)
_TAKE_LOCK = "2s"
_BOUNDS_SECONDS = 5.0


class Log(Protocol):
    """What is needed of the consumer."""

    def assigned(self) -> set[Place]: ...
    def hold(self, place: Place) -> None:
        """Fetches nothing more of this partition until ``go``."""

    def go(self, place: Place, offset: int) -> None:
        """Fetches this partition from this offset on, dropping what was fetched before."""

    async def bounds(self, places: Iterable[Place]) -> Mapping[Place, tuple[int, int]]:
        """(first offset, end offset) of each. Raises Retry."""

    async def advise(self, offsets: Mapping[Place, int]) -> None:
        """Tells Kafka how far we are, for lag tools. Never raises."""


class Holdings:
    """Leases of one step in one worker. ``busy`` is held by whoever works with them."""

    def __init__(
        self,
        step: Step[Any, Any, Any],
        database: Database,
        sender: Sender,
        telemetry: Telemetry,
        *,
        cluster_id: str,
        owner: str,
        projection: Projection | None = None,
    ) -> None:
        self.busy = asyncio.Lock()
        self.log: Log | None = None  # given once the consumer exists
        self._step = step
        self._database = database
        self._sender = sender
        self._telemetry = telemetry
        self._cluster_id = cluster_id
        self._owner = owner
        self._projection = projection
        self._held: dict[Place, Lease] = {}
        self._stopped: dict[Place, str] = {}
        self._not_before: dict[Place, float] = {}
        self._first_seen: dict[Place, int] = {}
        self._troubles = 0
        self._bounds_checked = 0.0
        self._marked: dict[Place, tuple[int, int]] = {}

    # -- what the loop asks ------------------------------------------------------------------------------------

    def lease(self, place: Place) -> Lease:
        """The lease held on a place. Raises Retry when it was forgotten meanwhile."""
        try:
            return self._held[place]
        except KeyError:
            raise Retry(f"the lease on {place} is not held") from None

    def admit(self, records: Sequence[Record]) -> list[Record]:
        """What of a fetched batch is to be applied: held partitions only, from ``next_offset`` on, proven to be our log."""
        admitted = []
        for record in records:
            lease = self._held.get((record.topic, record.partition))
            if lease is None:
                continue
            if not lease.verified and not self._verify(lease, record):
                continue
            if record.offset >= lease.next_offset:
                admitted.append(record)
        return admitted

    def _verify(self, lease: Lease, record: Record) -> bool:
        """The first record after taking a lease must be the one last applied, or the log is not the one we knew."""
        assert self.log is not None
        expected = max(lease.next_offset - 1, 0)
        if record.offset == expected:
            if lease.last_digest is not None and lease.next_offset and digest(record) != lease.last_digest:
                raise Stop(
                    f"{lease.topic}/{lease.partition} holds another record at {record.offset} than the one applied: "
                    "the log was replaced or its tail was lost",
                    lease.place,
                )
            lease.verified = True
            return True
        if self._first_seen.get(lease.place) != record.offset:
            # Perhaps fetched before the seek: ask once more, and believe it the second time.
            self._first_seen[lease.place] = record.offset
            self.log.go(lease.place, expected)
            return False
        if lease.next_offset:
            raise Stop(
                f"{lease.topic}/{lease.partition}: the record at {expected}, last applied, is gone; the log goes on at {record.offset}",
                lease.place,
            )
        lease.verified = True
        return True

    async def project(self, filed: Sequence[Filed[Any]], held: Iterable[Lease]) -> None:
        """Writes what changed to Redis. Redis down never stops settlement: the mark lags and the sweep catches up."""
        if self._projection is None:
            return
        if not any(lease.projection_broken for lease in held):
            try:
                await self._projection.write(self._projection.changed(filed))
            except self._projection.TROUBLE as trouble:
                self._telemetry.projection_failed(trouble)
                for lease in held:
                    lease.projection_broken = True
            else:
                for lease in held:
                    lease.projected_seq = lease.out_seq

    # -- assignment --------------------------------------------------------------------------------------------

    async def assigned(self, places: Iterable[Place]) -> None:
        """Takes what Kafka gave us, before its first record comes. What fails is taken by the sweep."""
        async with self.busy:
            self._first_seen.clear()
            for place in places:
                self._park(place)
                self._held.pop(place, None)
            await self._take_what_is_assigned()

    async def revoked(self, places: Iterable[Place]) -> None:
        """Lets the batch under way finish, stores its marks, and lets go."""
        async with self.busy:
            await self._store_marks()
            for place in places:
                self._held.pop(place, None)
                self._stopped.pop(place, None)

    async def fenced(self, lost: Sequence[Place], touched: Iterable[Place]) -> None:
        """Somebody else holds what we thought we held: forget it, and the rest of the batch with it."""
        self._telemetry.fenced(lost)
        self._forget(touched, _FENCED_SECONDS)

    async def trouble(self, why: Retry, touched: Iterable[Place]) -> None:
        """A server is in trouble: forget, wait, take again. The wait grows while the trouble lasts."""
        self._telemetry.trouble(why)
        wait = _BACKOFF_SECONDS[min(self._troubles, len(_BACKOFF_SECONDS) - 1)]
        self._troubles += 1
        self._forget(touched, wait)

    async def stop(self, why: Stop, touched: Iterable[Place]) -> None:
        """A partition that must not go on: it stays parked, loudly, until a person has looked; the others go on."""
        self._forget(touched, 0.0)
        for place in [why.place] if why.place else list(touched):
            self._stopped[place] = str(why)
            self._telemetry.stopped(place, str(why))

    def _forget(self, places: Iterable[Place], seconds: float) -> None:
        for place in places:
            self._held.pop(place, None)
            self._not_before[place] = time.monotonic() + seconds
            self._park(place)

    def _park(self, place: Place) -> None:
        if self.log is not None and place in self.log.assigned():
            self.log.hold(place)

    # -- the sweep ---------------------------------------------------------------------------------------------

    async def sweep(self) -> None:
        """Every second, with or without records: take what is missing, store marks, catch up with Redis, look at the log."""
        async with self.busy:
            try:
                await self._take_what_is_assigned()
                await self._catch_up_projection()
                await self._store_marks()
                await self._look_at_the_log()
            except Retry as trouble:
                await self.trouble(trouble, list(self._held))
        if self.log is not None:
            await self.log.advise({place: lease.next_offset for place, lease in self._held.items()})
        self._telemetry.swept(self._held.values(), len(self._stopped), self.missing())

    async def release(self) -> None:
        """The end of a worker: what was announced is marked, so that nobody announces it again."""
        async with self.busy:
            try:
                await self._store_marks()
            except Retry as trouble:
                self._telemetry.trouble(trouble)
            self._held.clear()

    def next_offsets(self) -> dict[Place, int]:
        """Where each held partition goes on."""
        return {place: lease.next_offset for place, lease in self._held.items()}

    def oldest_timestamp_ms(self) -> int:
        """The time of the record applied last where it was longest ago; 0 if none was."""
        return min((lease.last_timestamp_ms for lease in self._held.values() if lease.last_timestamp_ms), default=0)

    def missing(self) -> int:
        """How many assigned partitions are not worked on now."""
        return 0 if self.log is None else len(self.log.assigned() - self._held.keys())

    async def _take_what_is_assigned(self) -> None:
        if self.log is None:
            return
        now = time.monotonic()
        wanted = sorted(
            place
            for place in self.log.assigned() - self._held.keys() - self._stopped.keys()
            if self._not_before.get(place, 0.0) <= now
        )
        if not wanted:
            return
        try:
            bounds = await self.log.bounds(wanted)
            for place in wanted:
                await self._take(place, bounds[place])
        except Stop as stop:
            await self.stop(stop, [stop.place] if stop.place else wanted)
        except Retry as trouble:
            await self.trouble(trouble, [place for place in wanted if place not in self._held])
        else:
            self._troubles = 0

    async def _take(self, place: Place, bounds: tuple[int, int]) -> None:
        assert self.log is not None
        lease = await self._take_row(place)
        start, end = bounds
        if start > lease.next_offset:
            raise Stop(f"{place}: the log starts at {start}, past the next record {lease.next_offset}: records are missing", place)
        if end < lease.next_offset:
            raise Stop(f"{place}: the log ends at {end}, before the next record {lease.next_offset}: its tail is lost", place)
        connection = await self._database.connection()
        try:
            again = await announce_again(connection, self._sender, self._step.service, self._step.outbox, lease)
        except (asyncpg.PostgresError, asyncpg.InterfaceError, OSError) as trouble:
            await self._database.drop()
            raise Retry(f"Postgres: {trouble}") from trouble
        lease.projection_broken = self._projection is not None and lease.projected_seq < lease.out_seq
        expected = max(lease.next_offset - 1, 0)
        lease.verified = start > expected  # the record before was pruned by retention: nothing to compare with
        self._held[place] = lease
        self._first_seen.pop(place, None)
        self.log.go(place, max(expected, start))
        self._telemetry.took(place, lease.epoch, again)

    async def _take_row(self, place: Place) -> Lease:
        for _ in range(2):
            try:
                async with self._database.transaction() as tx:
                    await tx.execute(f"set local lock_timeout = '{_TAKE_LOCK}'")
                    return await leases.take(tx, self._step.service, place, self._cluster_id, self._owner)
            except Retry as trouble:
                if not isinstance(trouble.__cause__, asyncpg.LockNotAvailableError):
                    raise
                ended = await leases.evict(await self._database.connection(), self._step.service, place)
                self._telemetry.evicted(place, ended)
        raise Retry(f"the lease on {place} stays locked")

    async def _store_marks(self) -> None:
        unmarked = [
            lease
            for place, lease in self._held.items()
            if self._marked.get(place) != (lease.relayed_seq, lease.projected_seq)
        ]
        if not unmarked:
            return
        async with self._database.transaction() as tx:
            for lease in sorted(unmarked, key=lambda lease: lease.place):
                await leases.mark(tx, self._step.service, lease)
        for lease in unmarked:
            self._marked[lease.place] = (lease.relayed_seq, lease.projected_seq)

    async def _catch_up_projection(self) -> None:
        if self._projection is None:
            return
        for lease in self._held.values():
            if not lease.projection_broken:
                continue
            connection = await self._database.connection()
            rows = await self._projection.reload(connection, lease)
            try:
                await self._projection.write(rows)
            except self._projection.TROUBLE as trouble:
                self._telemetry.projection_failed(trouble)
                return
            lease.projected_seq = lease.out_seq
            lease.projection_broken = False

    async def _look_at_the_log(self) -> None:
        """A topic that was deleted and made again does not show by itself: its end is before what we have applied."""
        if self.log is None or time.monotonic() - self._bounds_checked < _BOUNDS_SECONDS:
            return
        self._bounds_checked = time.monotonic()
        for place, (start, end) in (await self.log.bounds(list(self._held))).items():
            lease = self._held[place]
            if end < lease.next_offset or start > lease.next_offset:
                why = f"{place}: the log runs from {start} to {end}, the next record is {lease.next_offset}: it is not the log it was"
                await self.stop(Stop(why, place), [place])
