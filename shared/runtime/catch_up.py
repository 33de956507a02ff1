"""Redis brought up to the books again: page by page after it was away, and from time to time a sample of it compared.

Settlement never waits for it: a Redis that is away is asked for a sign of life only, while nothing is held; and between
two pages a batch has its turn.
"""

import asyncio
from collections.abc import Callable, Mapping, Sequence

from shared.errors import Retry, named
from shared.runtime import lease as leases
from shared.runtime.cache import Projection
from shared.runtime.lease import Lease, Place
from shared.runtime.takeover import Taker

_COMPARED_SECONDS = 10.0
_AGAIN_SECONDS = 4.0
_AT_ONCE_SECONDS = 1.0  # the rest of the sweep waits for so much of a long way


class CatchUp:
    """What a worker does for Redis besides its batches. ``held``, ``busy``, ``clock``: those of its holdings."""

    def __init__(
        self,
        projection: Projection,
        taker: Taker,
        held: Mapping[Place, Lease],
        busy: asyncio.Lock,
        clock: Callable[[], float],
    ) -> None:
        self._projection = projection
        self._service = taker.step.service
        self._database = taker.database
        self._telemetry = taker.telemetry
        self._held = held
        self._busy = busy
        self._clock = clock
        self._compared = clock()
        self._not_before = 0.0

    async def go_on(self) -> None:
        """Some pages of what is behind; a sample when nothing is. Trouble of either server is told, and waited out."""
        now = self._clock()
        behind = [lease for lease in self._held.values() if lease.projection_broken]
        if now < self._not_before or not (behind or now - self._compared > _COMPARED_SECONDS):
            return
        try:
            if why := await self._projection.away():
                self._wait(Retry(f"Redis: {why}"))
            elif behind:
                await self._refill(behind)
            else:
                await self._compare()
        except self._projection.TROUBLE as trouble:
            self._wait(trouble)
        except Exception as failure:  # noqa: BLE001 - whatever it is, neither settlement nor the sweep depends on Redis
            self._wait(failure if isinstance(failure, Retry) else Retry(named(failure)))

    def _wait(self, why: Exception) -> None:
        self._telemetry.projection_failed(why)
        self._not_before = self._clock() + _AGAIN_SECONDS

    async def _refill(self, behind: Sequence[Lease]) -> None:
        until = self._clock() + _AT_ONCE_SECONDS
        for lease in behind:
            while lease.projection_broken and self._clock() <= until:
                async with self._busy:
                    if self._held.get(lease.place) is not lease:
                        break
                    await self._page(lease)

    async def _page(self, lease: Lease) -> None:
        """Under ``busy``: no batch moves the lease meanwhile. Marked at once, so that no page is written twice."""
        async with self._database.transaction() as tx:
            rows, through = await self._projection.reload(tx, lease)
        await self._projection.write(rows)
        lease.projected_seq = through
        lease.projection_broken = through < lease.out_seq
        async with self._database.transaction() as tx:
            await leases.mark(tx, self._service, [lease])

    async def _compare(self) -> None:
        self._compared = self._clock()
        async with self._busy:
            self._telemetry.projection_swept(await self._projection.sweep(await self._database.connection()))
