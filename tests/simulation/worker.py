"""One worker of one step: the real loop, holdings, taker and database over what stands in for the servers."""

import asyncio
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, cast

import asyncpg

from services.adjudication.projection import CounterProjection
from shared.errors import Retry
from shared.runtime.database import Database
from shared.runtime.holdings import Holdings
from shared.runtime.lease import Advance, Lease, Place
from shared.runtime.loop import Loop
from shared.runtime.step import Step
from shared.runtime.takeover import Taker
from shared.runtime.telemetry import Telemetry
from simulation import statements
from simulation.broker import SESSION_SECONDS, Consumer, Group, Producer
from simulation.clock import never
from simulation.hot import HotCounters
from simulation.session import IDLE_SECONDS, Connection

if TYPE_CHECKING:
    from simulation.world import World

CLUSTER = "simulated"
_SWEEP_SECONDS = 3.0  # the service's own is shorter; time costs nothing here, sweeps do


@dataclass
class Stage:
    """A step's place: how to make one over the books, what it shows, and its group."""

    name: str
    step: Callable[["Worker"], Step[Any, Any, Any]]
    topics: tuple[str, ...]
    group: Group
    projects: bool = False
    workers: list["Worker"] = field(default_factory=list)


class _Database(Database):
    """The real one; only what it opens is ours."""

    def __init__(self, worker: "Worker") -> None:
        super().__init__("", role="", name=worker.name)
        self._worker = worker

    async def _open(self) -> asyncpg.Connection:
        worker = self._worker
        await worker.call()
        if worker.world.chance.hits("connect failed", worker.name):
            raise OSError("connection refused")
        made = Connection(worker.world.books, worker, statements.run)
        worker.connections = [one for one in worker.connections if not one.is_closed()] + [made]
        return cast("asyncpg.Connection", made)


class Trace(Telemetry):
    """Tells the run's trace what a worker would tell its operators."""

    def __init__(self, worker: "Worker", service: str, step: str) -> None:
        super().__init__(service, step)
        self._worker = worker

    def _tell(self, what: str) -> None:
        self._worker.world.chance.tell(what, self._worker.name)

    def settled(self, advances: Iterable[Advance], outcomes: Iterable[str]) -> None:
        del outcomes
        records = sum(by.records for by in advances)
        self._worker.world.applied += records
        self._tell(f"batch of {records} through")

    def took(self, place: Place, epoch: int, again: int) -> None:
        self._tell(f"took {place[0]}/{place[1]}, epoch {epoch}, announced again {again}")

    def fenced(self, lost: Sequence[Place]) -> None:
        self._worker.world.chance.counted["(fenced)"] += 1
        self._tell(f"fenced: {list(lost)}")

    def evicted(self, place: Place, ended: int) -> None:
        self._worker.world.chance.counted["(evicted)"] += ended
        self._tell(f"evicted the holder of {place[0]}/{place[1]}: {ended}")

    def trouble(self, why: Exception) -> None:
        self._tell(f"trouble: {why}")

    def projection_failed(self, why: Exception) -> None:
        self._tell(f"cache: {why}")

    def projection_swept(self, wrong: int) -> None:
        if wrong:
            self._tell(f"cache showed what was not: {wrong} members deleted")

    def stopped(self, place: Place, why: str) -> None:
        self._worker.world.stopped[place] = why
        self._tell(f"STOPPED {place}: {why}")

    def left(self, place: Place) -> None: ...

    def swept(self, held: Iterable[Lease], stopped: int, missing: int) -> None: ...


class Worker:
    """A process: it may die at any call, or stand still; its memory dies with it, its connections break."""

    def __init__(self, world: "World", stage: Stage, number: int) -> None:
        self.world = world
        self.stage = stage
        self.name = f"{stage.name}-{number}"
        self.dead = False
        self.connections: list[Connection] = []
        self._frozen_until = 0.0
        step = stage.step(self)
        telemetry = Trace(self, step.service, stage.name)
        database, producer = _Database(self), Producer(world.broker, self)
        projection = None
        if stage.projects:
            projection = CounterProjection(cast("Any", world.adjudication), cast("Any", HotCounters(world.shelf, self)))
        taker = Taker(step, database, producer, telemetry, CLUSTER, self.name)
        self.holdings = Holdings(taker, projection, clock=world.chance.now)
        self.loop = Loop(step, database, producer, self.holdings, telemetry, batch_max=world.batch_max)
        self.consumer = Consumer(world.broker, self, self.holdings)
        self.holdings.log = self.consumer
        self.tasks = [asyncio.create_task(self._work()), asyncio.create_task(self._sweep())]
        stage.group.join(self.consumer)

    # -- what it does ----------------------------------------------------------------------------------------------

    async def _work(self) -> None:
        chance = self.world.chance
        while True:
            records = await self.consumer.fetch(self.world.batch_max)
            if chance.hits("held up", self.name):
                await asyncio.sleep(chance.between(0.0, 3.0))
            await self.loop.handle(records)
            held = self.holdings._held
            ours = all((one := held.get((r.topic, r.partition))) is not None and one.verified for r in records)
            if ours and chance.hits("rewound", self.name):
                await self.loop.handle(records)

    async def _sweep(self) -> None:
        while True:
            await asyncio.sleep(self.world.chance.between(0.5, 1.5) * _SWEEP_SECONDS)
            await self.call()
            try:
                await self.holdings.sweep()
            except Exception as failure:  # noqa: BLE001 - as the service's process does; what it cannot mend shows in the end
                self.world.chance.tell(f"sweep failed: {failure!r}", self.name)

    async def stop(self) -> None:
        """Ends as on SIGTERM: what is under way is finished, marks are stored."""
        await self.call()
        async with self.holdings.busy:
            for task in self.tasks:
                task.cancel()
        try:
            await self.holdings.release()
        except Retry as trouble:
            self.world.chance.tell(f"marks not stored: {trouble}", self.name)
        self.stage.group.leave(self.consumer)
        self._die()

    # -- what becomes of it ----------------------------------------------------------------------------------------

    async def call(self) -> None:
        """Passes the time a message takes. A dead process never comes back from it, a frozen one later."""
        chance = self.world.chance
        await self._run()
        await asyncio.sleep(chance.delay())
        await self._run()
        if chance.hits("crash", self.name):
            await self.crash()
        if chance.hits("freeze", self.name):
            self.freeze(chance.one_of((2.0, 8.0, 14.0, 40.0)) * chance.between(0.5, 1.0))
            await self._run()

    async def crash(self) -> None:
        """Dies here, and never returns."""
        self.kill()
        await self._run()

    def kill(self) -> None:
        """SIGKILL: the kernel closes its connections, the group notices when its session is over; another is started."""
        self._die()
        asyncio.get_running_loop().call_later(SESSION_SECONDS, self.stage.group.leave, self.consumer)
        self.world.restart(self.stage, self.world.chance.between(0.1, 10.0))

    def freeze(self, seconds: float) -> None:
        """SIGSTOP, and CONT after so many seconds."""
        loop = asyncio.get_running_loop()
        self._frozen_until = loop.time() + seconds
        if seconds > SESSION_SECONDS:
            loop.call_later(SESSION_SECONDS, self.stage.group.expel, self.consumer)
        for connection in self.connections:
            loop.call_later(IDLE_SECONDS, connection.end_if_idle, connection.statements)

    def _die(self) -> None:
        self.dead = True
        if self in self.stage.workers:
            self.stage.workers.remove(self)
        for connection in self.connections:
            connection.end()

    async def _run(self) -> None:
        """Returns while the process runs."""
        if self.world.over:
            raise asyncio.CancelledError
        if self.dead:
            await never()
        while self._frozen_until and (wait := self._frozen_until - self.world.chance.now()) > 0:
            await asyncio.sleep(wait)
            if self.dead:
                await never()
