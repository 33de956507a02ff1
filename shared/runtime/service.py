"""One service as a process: its loops, its sweep, its page for operators, and a good end on SIGTERM."""

import asyncio
import contextlib
import gc
import io
import logging
import os
import secrets
import signal
import socket
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NoReturn

import asyncpg
import uvicorn
from faststream.asgi import AsgiFastStream, AsgiResponse, get
from faststream.asgi.types import ASGIApp, Scope
from faststream.kafka import KafkaBroker
from faststream.specification import AsyncAPI
from prometheus_client import make_asgi_app

from deploy import migrations
from shared.errors import Stop
from shared.runtime import topics
from shared.runtime.cache import Projection
from shared.runtime.database import Database
from shared.runtime.ending import ended
from shared.runtime.holdings import Holdings
from shared.runtime.kafka import consume, make_broker
from shared.runtime.listener import listener, place_of
from shared.runtime.loop import Loop
from shared.runtime.producer import Producer
from shared.runtime.settings import Settings
from shared.runtime.step import Step
from shared.runtime.takeover import Taker
from shared.runtime.telemetry import REGISTRY, Telemetry

log = logging.getLogger("gongji.service")

_SWEEP_SECONDS = 0.2
_ADVISE_SECONDS = 1.0
_DRAIN_SECONDS = 20.0
_STALE_SECONDS = 60.0  # without a sweep, or a page announced again, for so long it is not alive, whatever the kernel says


@dataclass(frozen=True)
class Wiring:
    """A step with what it shows in Redis. ``batch_max``: records a transaction, where they are large.

    ``rest_seconds``: after a batch that is not full, so that those who come close together share a transaction; whoever comes
    alone comes after it. Longer where nobody waits for what comes of them.
    """

    name: str
    step: Step[Any, Any, Any]
    projection: Projection | None = None
    batch_max: int | None = None
    rest_seconds: float = 0.01


@dataclass
class _Running:
    loop: Loop
    holdings: Holdings
    telemetry: Telemetry
    database: Database
    producer: Producer


class _Server(uvicorn.Server):
    """uvicorn without its signal handlers: this process has its own."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


async def join(settings: Settings, cluster_id: str) -> str:
    """Joins the deployment these books belong to. Returns the database's incarnation.

    Raises Stop when the books belong to another Kafka cluster or to another number of partitions.
    """
    connection = await asyncpg.connect(settings.postgres)
    try:
        row = await connection.fetchrow(
            "insert into runtime.deployment (cluster_id, partitions) values ($1, $2) "
            "on conflict on constraint deployment_pk do update set one = true returning *",
            cluster_id,
            settings.partitions,
        )
    finally:
        await connection.close()
    assert row is not None
    if row["cluster_id"] != cluster_id:
        raise Stop(
            f"these books belong to Kafka cluster {row['cluster_id']}, this is {cluster_id}; "
            "if they were moved on purpose, run `gongji lease adopt`"
        )
    if row["partitions"] != settings.partitions:
        raise Stop(f"these books have {row['partitions']} partitions, GONGJI_PARTITIONS says {settings.partitions}")
    return str(row["incarnation"])


class Service:
    """The process of one service."""

    def __init__(self, name: str, settings: Settings, wirings: Sequence[Wiring], cluster_id: str) -> None:
        self._name = name
        self._settings = settings
        self._broker: KafkaBroker = make_broker(settings.kafka)
        self._declared = topics.declared(settings.partitions)
        self._owner = f"{socket.gethostname()}-{os.getpid()}-{secrets.token_hex(3)}"
        self._running = [self._wire(wiring, cluster_id) for wiring in wirings]

    def _wire(self, wiring: Wiring, cluster_id: str) -> _Running:
        step = wiring.step
        telemetry = Telemetry(step.service, wiring.name)
        database = Database(self._settings.postgres, role="gongji_service", name=f"gongji-{step.service}")
        producer = Producer(self._settings.kafka, {name: topic.partitions for name, topic in self._declared.items()})
        holdings = Holdings(Taker(step, database, producer, telemetry, cluster_id, self._owner), wiring.projection)
        batch_max = wiring.batch_max or self._settings.batch_max
        loop = Loop(step, database, producer, holdings, telemetry, batch_max=batch_max)
        consume(
            self._broker,
            step.topics,
            f"gongji.{step.service}.{wiring.name}",
            loop.handle,
            holdings,
            batch_max=batch_max,
            outsiders_write=any(self._declared[topic].outsiders_write for topic in step.topics),
            rest_seconds=wiring.rest_seconds,
        )
        return _Running(loop, holdings, telemetry, database, producer)

    async def run(self, beside: contextlib.AbstractAsyncContextManager[object]) -> None:
        """Runs until SIGTERM or SIGINT, then lets every batch under way finish. ``beside`` is open while the loops run."""
        over = asyncio.Event()
        for number in (signal.SIGTERM, signal.SIGINT):
            asyncio.get_running_loop().add_signal_handler(number, over.set)
        async with self._page() as url, self._loops(), beside:
            _settle_garbage_collector()
            sys.stderr.write(f"gongji: {self._name} ready ({url})\n")
            await over.wait()
            log.info("draining")

    @contextlib.asynccontextmanager
    async def _loops(self) -> AsyncIterator[None]:
        await self._broker.start()
        chores: list[tuple[float, Callable[[], Awaitable[None]]]] = []
        for running in self._running:  # a sweep waits for the batch under way; how far we are is told meanwhile
            chores += [(_SWEEP_SECONDS, running.holdings.sweep), (_ADVISE_SECONDS, running.holdings.advise)]
        sweeps = [asyncio.create_task(_again_and_again(seconds, chore)) for seconds, chore in chores]
        try:
            yield
        finally:
            try:
                await asyncio.wait_for(self._drain(sweeps), _DRAIN_SECONDS)
            except TimeoutError:
                _give_up()

    async def _drain(self, sweeps: Sequence[asyncio.Task[None]]) -> None:
        await ended(*sweeps)
        await self._broker.stop()
        for running in self._running:
            await running.holdings.release()
            await running.producer.close()
            await running.database.close()

    @contextlib.asynccontextmanager
    async def _page(self) -> AsyncIterator[str]:
        """Liveness, readiness, metrics, and the AsyncAPI page."""
        app = AsgiFastStream(
            self._broker,
            asgi_routes=[("/live", self._live()), ("/ready", self._ready()), ("/metrics", make_asgi_app(REGISTRY))],
            asyncapi_path="/asyncapi",
            specification=AsyncAPI(title=f"Gongji {self._name}", version="1"),
        )
        place = place_of("GONGJI_HTTP")
        taken = listener("GONGJI_HTTP", place)
        server = _Server(uvicorn.Config(_http_only(app), lifespan="off", log_config=None, access_log=False))
        serving = asyncio.create_task(server.serve(sockets=[taken]))
        try:
            yield f"http://{place.host}:{taken.getsockname()[1]}"
        finally:
            server.should_exit = True
            await serving

    def _live(self) -> ASGIApp:
        @get
        async def live(_: Scope) -> AsgiResponse:
            stale = max(time.monotonic() - running.telemetry.last_progress for running in self._running)
            return AsgiResponse(b"alive" if stale < _STALE_SECONDS else b"stale", 200 if stale < _STALE_SECONDS else 503)

        return live

    def _ready(self) -> ASGIApp:
        @get
        async def ready(_: Scope) -> AsgiResponse:
            stops = [why for running in self._running for why in running.telemetry.stops.values()]
            missing = sum(running.holdings.missing() for running in self._running)
            if stops or missing:
                return AsgiResponse(("\n".join(stops) or f"{missing} partitions not taken").encode(), 503)
            return AsgiResponse(b"ready", 200)

        return ready


async def _again_and_again(seconds: float, what: Callable[[], Awaitable[None]]) -> None:
    while True:
        await asyncio.sleep(seconds)
        try:
            await what()
        except Exception:
            log.exception("%s failed; the next one tries again", what.__name__)


def _give_up() -> NoReturn:
    """Ends the process as a kill would, which loses nothing; says where it hung, which must not be."""
    for task in asyncio.all_tasks():
        where = io.StringIO()
        task.print_stack(file=where)
        log.error("not drained in time: %s", where.getvalue())
    os._exit(1)


def _http_only(app: Any) -> Any:
    async def serve(scope: Any, receive: Any, send: Any) -> None:
        await app(scope, receive, send)

    return serve


def _settle_garbage_collector() -> None:
    """What is loaded now lives as long as the process: keep the collector off it (measured: x1.4 and more)."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 20, 50)


async def prepare(settings: Settings) -> tuple[str, str]:
    """Makes servers ready for this program: topics and books. Returns (cluster id, incarnation of the database)."""
    cluster_id = await topics.prepare(settings.kafka, settings.partitions)
    if not await migrations.is_newest(settings.postgres):
        await asyncio.to_thread(migrations.run, settings.postgres)
    return cluster_id, await join(settings, cluster_id)
