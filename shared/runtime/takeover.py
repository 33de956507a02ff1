"""Taking a lease: raise its epoch, prove that the log is the one we knew, announce again what was not acknowledged."""

from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import asyncpg

from shared.errors import Retry, Stop, worded
from shared.runtime import lease as leases
from shared.runtime.batch import digest
from shared.runtime.database import TROUBLE, Database
from shared.runtime.lease import Lease, Place
from shared.runtime.relay import Sender, announce_again
from shared.runtime.step import Record, Step
from shared.runtime.telemetry import Telemetry

Bounds = tuple[int, int]  # of a log: first offset, end

_TAKE_LOCK = "2s"


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

    async def waiting(self, offsets: Mapping[Place, int], *, resting: bool) -> int:
        """Records in the log past these offsets. ``resting``: no batch is worked on. Never raises."""


@dataclass(frozen=True, slots=True)
class Taker:
    """What one worker needs to take leases of one step."""

    step: Step[Any, Any, Any]
    database: Database
    sender: Sender
    telemetry: Telemetry
    cluster_id: str
    owner: str

    async def take(self, place: Place, bounds: Bounds, ask: Callable[[], Awaitable[Bounds]]) -> tuple[Lease, int]:
        """Takes the lease of a partition whose log has these bounds. Returns it and the offset to fetch from.

        ``ask`` gives the bounds anew: whoever had the lease may have gone on after they were asked for.
        Raises Stop if the log cannot be the one that was applied, Retry on server trouble.
        """
        lease = await self._raise_epoch(place)
        if not bounds[0] <= lease.next_offset <= bounds[1]:
            bounds = await ask()
        fits(lease, bounds)
        try:
            connection = await self.database.connection()
            again = await announce_again(
                connection, self.sender, self.step.service, self.step.outbox, lease, told=self.telemetry.announced_again
            )
        except TROUBLE as trouble:
            await self.database.drop()
            raise Retry(f"Postgres: {worded(trouble)}") from trouble
        before = max(lease.next_offset - 1, 0)
        lease.verified = bounds[0] > before  # the record before was pruned by retention: nothing to compare with
        self.telemetry.took(place, lease.epoch, again)
        return lease, max(before, bounds[0])

    async def _raise_epoch(self, place: Place) -> Lease:
        for _ in range(2):
            try:
                async with self.database.transaction() as tx:
                    await tx.execute(f"set local lock_timeout = '{_TAKE_LOCK}'")
                    return await leases.take(tx, self.step.service, place, self.cluster_id, self.owner)
            except Retry as trouble:
                if not isinstance(trouble.__cause__, asyncpg.LockNotAvailableError):
                    raise
                async with self.database.transaction() as tx:
                    ended = await leases.evict(tx, self.step.service, place)
                self.telemetry.evicted(place, ended)
        raise Retry(f"the lease on {place} stays locked")


def fits(lease: Lease, bounds: Bounds) -> None:
    """Raises Stop unless the log reaches from at most ``next_offset`` to at least there."""
    start, end = bounds
    name = f"{lease.topic}/{lease.partition}"
    if start > lease.next_offset:
        raise Stop(
            f"{name}: the log starts at {start}, past the next record {lease.next_offset}: records are missing", lease.place
        )
    if end < lease.next_offset:
        raise Stop(
            f"{name}: the log ends at {end}, before the next record {lease.next_offset}: its tail is lost, or it is another log",
            lease.place,
        )


def proves(lease: Lease, record: Record, *, seen_before: bool) -> bool:
    """Whether the first record fetched after taking a lease shows that the log is the one we knew.

    The fetch starts at the record applied last, and that one must come first, with the content it had. False: perhaps
    it was fetched before the seek; ask once more (``seen_before``). Raises Stop if it is another record, or gone.
    """
    before = max(lease.next_offset - 1, 0)
    name = f"{lease.topic}/{lease.partition}"
    if record.offset == before:
        if lease.next_offset and lease.last_digest is not None and digest(record) != lease.last_digest:
            raise Stop(
                f"{name} holds another record at {before} than the one applied: the log was replaced or its tail was lost",
                lease.place,
            )
        return True
    if seen_before and lease.next_offset:
        raise Stop(f"{name}: the record at {before}, applied last, is gone; the log goes on at {record.offset}", lease.place)
    return seen_before
