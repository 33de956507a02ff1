"""One worker of the diary, as a service's process has it, and how a test waits for it."""

import asyncio
import secrets
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import pytest
from diary import SERVICE, Diary
from faststream.kafka import KafkaBroker

from shared.errors import Retry
from shared.runtime.cache import Projection
from shared.runtime.database import Database
from shared.runtime.holdings import Holdings
from shared.runtime.kafka import consume, make_broker
from shared.runtime.loop import Loop
from shared.runtime.producer import Producer
from shared.runtime.relay import Outgoing
from shared.runtime.takeover import Taker
from shared.runtime.telemetry import Telemetry

if TYPE_CHECKING:
    from loop_world import World


@dataclass
class Sender:
    """The real producer, of which the next sends may fail: before anything left (``lose``), or after all did (``forget``)."""

    producer: Producer
    lose: int = 0
    forget: int = 0
    sent: list[Outgoing] = field(default_factory=list)

    async def send(self, outgoing: Sequence[Outgoing]) -> None:
        if self.lose and outgoing:
            self.lose -= 1
            raise Retry("the broker is said to be away")
        await self.producer.send(outgoing)
        self.sent += outgoing
        if self.forget and outgoing:
            self.forget -= 1
            raise Retry("the broker is said not to have answered")


class Worker:
    """One worker of the diary: consumer, loop and sweep as in a service's process."""

    def __init__(
        self,
        world: "World",
        step: Diary,
        *,
        batch_max: int,
        projection: Projection | None,
        outsiders_write: bool,
        cluster_id: str,
        rest_seconds: float,
    ) -> None:
        self.step = step
        self.telemetry = Telemetry(SERVICE, world.prefix)
        self.database = Database(world.dsn, role="gongji_service", name=f"gongji-{SERVICE}")
        self.sender = Sender(Producer(world.kafka, world.counts))
        owner = secrets.token_hex(4)
        self.holdings = Holdings(Taker(step, self.database, self.sender, self.telemetry, cluster_id, owner), projection)
        self.loop = Loop(step, self.database, self.sender, self.holdings, self.telemetry, batch_max=batch_max)
        self.broker: KafkaBroker = make_broker(world.kafka)
        self.consumer = consume(
            self.broker, step.topics, f"{world.prefix}group", self.loop.handle, self.holdings,
            batch_max=batch_max, outsiders_write=outsiders_write, rest_seconds=rest_seconds,
        )  # fmt: skip
        self._sweeping: asyncio.Task[None] | None = None

    async def start(self) -> "Worker":
        await self.broker.start()
        self._sweeping = asyncio.create_task(self._sweep())
        return self

    async def _sweep(self) -> None:
        while True:
            await asyncio.sleep(0.1)
            await self.holdings.sweep()

    async def stop(self) -> None:
        """Ends as on SIGTERM."""
        await self._still()
        await self.holdings.release()
        await self.producer_closed()

    async def crash(self) -> None:
        """Ends without storing a mark."""
        await self._still()
        await self.producer_closed()

    async def _still(self) -> None:
        if self._sweeping is not None:
            self._sweeping.cancel()
            done = await asyncio.gather(self._sweeping, return_exceptions=True)
            assert isinstance(done[0], asyncio.CancelledError), done
            self._sweeping = None
        await self.broker.stop()

    async def producer_closed(self) -> None:
        await self.sender.producer.close()
        await self.database.close()

    @property
    def held(self) -> set[tuple[str, int]]:
        return set(self.holdings._held)

    async def holds(self, *partitions: int) -> None:
        """Waits until exactly these partitions are held."""
        await until(
            lambda: {partition for _, partition in self.held} == set(partitions), lambda: f"{partitions}, not {self.held}"
        )


async def until(
    condition: Callable[[], bool | Awaitable[bool]], what: str | Callable[[], str | Awaitable[str]], seconds: float = 30.0
) -> None:
    """Waits for a condition, and fails naming it when it does not come."""
    deadline = asyncio.get_running_loop().time() + seconds
    while True:
        answer = condition()
        if answer if isinstance(answer, bool) else await answer:
            return
        if asyncio.get_running_loop().time() > deadline:
            told = what() if callable(what) else what
            pytest.fail(f"waited {seconds} s for {told if isinstance(told, str) else await told}")
        await asyncio.sleep(0.03)
