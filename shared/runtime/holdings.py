"""The partitions a worker holds: taken at assignment, swept every second, forgotten at the first doubt.

There is one way back from any trouble: forget the lease, take it again, and go on from what Postgres says. Taking it
announces again what was committed and not yet relayed, and seeks the log to ``next_offset``.
"""

import asyncio
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from shared.errors import Retry, Stop
from shared.runtime import lease as leases
from shared.runtime.cache import Projection
from shared.runtime.catch_up import CatchUp
from shared.runtime.lease import Lease, Place
from shared.runtime.step import Filed, Record
from shared.runtime.takeover import Bounds, Log, Taker, fits, proves

_FENCED_SECONDS = 2.0  # time for the broker to tell a worker that woke up that its partitions moved
_BACKOFF_SECONDS = (0.2, 0.5, 1.0, 2.0, 5.0)
_BOUNDS_SECONDS = 5.0


class Holdings:
    """Leases of one step in one worker. ``busy`` is held by whoever works with them. ``clock``: seconds, never going back."""

    def __init__(
        self, taker: Taker, projection: Projection | None = None, *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self.busy = asyncio.Lock()
        self.log: Log | None = None  # given once the consumer exists
        self._taker = taker
        self._service = taker.step.service
        self._database = taker.database
        self._telemetry = taker.telemetry
        self._projection = projection
        self._clock = clock
        self._held: dict[Place, Lease] = {}
        self._stopped: dict[Place, str] = {}
        self._not_before: dict[Place, float] = {}
        self._first_seen: dict[Place, int] = {}
        self._asked_back = False  # from revoked to assigned: the client names the old partitions, which others take now
        self._troubles = 0
        self._bounds_checked = 0.0
        self._marked: dict[Place, tuple[int, int]] = {}
        self._swept: dict[Place, tuple[int, int]] = {}
        self._catch_up = CatchUp(projection, taker, self._held, self.busy, clock) if projection is not None else None

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
        unproven: set[Place] = set()
        for record in records:
            lease = self._held.get((record.topic, record.partition))
            if lease is None or lease.place in unproven:
                continue
            if not lease.verified and not self._verify(lease, record):
                unproven.add(lease.place)  # the seek is under way: the rest of what was fetched is as stale
            elif record.offset >= lease.next_offset:
                admitted.append(record)
        return admitted

    def _verify(self, lease: Lease, record: Record) -> bool:
        assert self.log is not None
        lease.verified = proves(lease, record, seen_before=self._first_seen.get(lease.place) == record.offset)
        if not lease.verified:
            self._first_seen[lease.place] = record.offset
            self.log.go(lease.place, max(lease.next_offset - 1, 0))
        return lease.verified

    async def project(self, filed: Sequence[Filed[Any]], held: Iterable[Lease]) -> None:
        """Writes what changed to Redis. Redis down never stops settlement: the mark lags and the sweep catches up."""
        if self._projection is None:
            return
        whole = {lease.place: lease for lease in held if not lease.projection_broken}
        try:  # what lies behind a gap is left to the way over the gap, or the mark would jump it; the others need not wait
            await self._projection.write(self._projection.changed([one for one in filed if (one.topic, one.partition) in whole]))
        except self._projection.TROUBLE as trouble:
            self._telemetry.projection_failed(trouble)
            for lease in whole.values():
                lease.projection_broken = True  # of every lease of the batch: nothing of it was written
        else:
            for lease in whole.values():
                lease.projected_seq = lease.out_seq

    # -- assignment --------------------------------------------------------------------------------------------

    async def assigned(self, places: Iterable[Place]) -> None:
        """Takes what Kafka gave us, before its first record comes. What fails is taken by the sweep."""
        async with self.busy:
            self._asked_back = False
            self._first_seen.clear()
            for place in places:
                self._park(place)
                self._held.pop(place, None)
            await self._take_what_is_assigned()

    async def revoked(self, places: Iterable[Place]) -> None:
        """Lets the batch under way finish, stores its marks, and lets go."""
        async with self.busy:
            self._asked_back = True
            try:
                await self._store_marks()
            finally:
                for place in places:
                    self._held.pop(place, None)
                    self._stopped.pop(place, None)
                    self._telemetry.left(place)

    async def fenced(self, lost: Sequence[Place], touched: Iterable[Place]) -> None:
        """Somebody else holds what we thought we held: forget it, and the rest of the batch with it."""
        self._telemetry.fenced(lost)
        self._forget(touched, _FENCED_SECONDS)

    def through(self) -> None:
        """A batch is through: whatever trouble there was is over."""
        self._troubles = 0

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

    async def unreadable(self, place: Place, why: Exception) -> None:
        """The client cannot read what the log holds next: nothing can be applied, nor skipped."""
        async with self.busy:
            await self.stop(Stop(f"{place[0]}/{place[1]}: the log cannot be read: {type(why).__name__}", place), [place])

    def _forget(self, places: Iterable[Place], seconds: float) -> None:
        for place in places:
            self._held.pop(place, None)
            self._not_before[place] = self._clock() + seconds
            self._park(place)

    def _park(self, place: Place) -> None:
        if self.log is not None and place in self.log.assigned():
            self.log.hold(place)

    # -- the sweep ---------------------------------------------------------------------------------------------

    async def sweep(self) -> None:
        """Several times a second: takes what is missing, stores marks, looks at the log, brings Redis up to the books."""
        try:
            ends = await self._ends_of_the_log()
            async with self.busy:
                await self._take_what_is_assigned()
                await self._store_marks(idle_only=True)
                await self._look_at_the_log(ends)
        except Retry as trouble:
            async with self.busy:
                await self.trouble(trouble, list(self._held))
        if self._catch_up is not None:
            await self._catch_up.go_on()
        self._telemetry.swept(self._held.values(), len(self._stopped), self.missing())

    async def advise(self) -> None:
        """Tells Kafka's tools, and ours, how far we are."""
        if self.log is None:
            return
        offsets = {place: lease.next_offset for place, lease in self._held.items()}
        await self.log.advise(offsets)
        waiting = await self.log.waiting(offsets, resting=not self.busy.locked())
        applied = min((lease.last_timestamp_ms for lease in self._held.values() if lease.last_timestamp_ms), default=0)
        self._telemetry.lag(waiting, time.time() - applied / 1000 if waiting and applied else 0.0)

    async def release(self) -> None:
        """The end of a worker: what was announced is marked, so that nobody announces it again."""
        async with self.busy:
            try:
                await self._store_marks()
            except Retry as trouble:
                self._telemetry.trouble(trouble)
            self._held.clear()

    def missing(self) -> int:
        """How many assigned partitions are not worked on now."""
        return 0 if self.log is None else len(self.log.assigned() - self._held.keys())

    async def _take_what_is_assigned(self) -> None:
        if self.log is None or self._asked_back:
            return
        for moved in self._held.keys() - self.log.assigned():
            del self._held[moved]
        now = self._clock()
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

    async def _take(self, place: Place, bounds: Bounds) -> None:
        log = self.log
        assert log is not None

        async def ask() -> Bounds:
            return (await log.bounds([place]))[place]

        lease, offset = await self._taker.take(place, bounds, ask)
        lease.projection_broken = self._projection is not None and lease.projected_seq < lease.out_seq
        self._held[place] = lease
        self._first_seen.pop(place, None)
        self._marked.pop(place, None)
        log.go(place, offset)

    async def _store_marks(self, *, idle_only: bool = False) -> None:
        """``idle_only``: of partitions without a batch since the last sweep; the next batch of any other carries its own."""
        now = {place: (lease.relayed_seq, lease.projected_seq) for place, lease in self._held.items()}
        unmarked = [
            lease
            for place, lease in sorted(self._held.items())
            if self._marked.get(place) != now[place] and (not idle_only or self._swept.get(place) == now[place])
        ]
        self._swept = now
        if not unmarked:
            return
        async with self._database.transaction() as tx:
            await leases.mark(tx, self._service, unmarked)
        for lease in unmarked:
            self._marked[lease.place] = now[lease.place]

    async def _ends_of_the_log(self) -> dict[Place, tuple[Lease, int, tuple[int, int]]]:
        """Once in a while, of each partition held: its lease, where that was to go on, and what Kafka then had. Raises Retry.

        Kafka answers behind the fetch under way: no batch waits for it.
        """
        if self.log is None or self._clock() - self._bounds_checked < _BOUNDS_SECONDS:
            return {}
        self._bounds_checked = self._clock()
        before = {place: (lease, lease.next_offset) for place, lease in self._held.items()}
        bounds = await self.log.bounds(list(before))
        return {place: (*before[place], found) for place, found in bounds.items()}

    async def _look_at_the_log(self, ends: Mapping[Place, tuple[Lease, int, tuple[int, int]]]) -> None:
        """A topic that was deleted and made again does not show by itself: its end is before what we had applied."""
        for place, (lease, next_offset, (start, end)) in ends.items():
            if self._held.get(place) is not lease:
                continue
            try:
                fits(lease, (start, end if end < next_offset else max(end, lease.next_offset)))
            except Stop as stop:
                await self.stop(stop, [place])
