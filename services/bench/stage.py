"""A stage for one run: servers of its own, erased afterwards; the services as processes; what each has used of the machine."""

import asyncio
import fcntl
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import asyncpg
import msgspec
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType

from deploy.local import servers as local
from services.bench import figures, load
from services.bench.load import Prepared
from services.interruption import uninterrupted
from services.ops.barrier import Barrier, Ends
from services.ops.send import Feeder, Sending
from shared.errors import Stop, UsageError
from shared.events import REJECTED, SERVICES, SETTLED, SUBMITTED
from shared.runtime import access
from shared.runtime.database import Database
from shared.runtime.settings import Settings
from shared.runtime.topics import declared

_READY_SECONDS = 90.0
_SAID = 4_000  # characters of a command that failed
_OF_OTHERS = ("GONGJI_KAFKA", "GONGJI_POSTGRES", "GONGJI_REDIS")  # addresses, credentials, authorities
_FORGETFUL = {"retention.bytes": str(64 * 1024 * 1024), "segment.bytes": str(16 * 1024 * 1024)}  # a partition
_COUNTED = """
select d.xact_commit as transactions, w.wal_bytes::bigint as wal_bytes, w.wal_records, w.wal_sync as fsyncs,
       d.tup_inserted as rows_inserted, d.tup_updated as rows_updated, d.temp_bytes
from pg_stat_database d, pg_stat_wal w where d.datname = current_database()
"""


@dataclass
class Stage:
    """Real servers with nothing in them yet, and how to put services on them."""

    home: Path
    settings: Settings
    addresses: local.Addresses
    module: tuple[str, ...] = ("services", "serve")
    copies: int = 1  # processes of each service
    workers: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)  # intake, intake.2, ...
    extra: dict[str, str] = field(default_factory=dict)  # of the environment of every process

    @property
    def partitions(self) -> dict[str, int]:
        """Partitions by topic."""
        return {name: topic.partitions for name, topic in declared(self.settings.partitions).items()}

    def start(self) -> None:
        """Starts every service and returns when all are ready. Raises Stop."""
        for name, service in [(f"{name}.{n}" if n > 1 else name, name) for n in range(1, self.copies + 1) for name in SERVICES]:
            log = self.home / f"{name}.log"
            with log.open("ab") as output:
                command = (sys.executable, "-m", *self.module, service)
                self.workers[name] = subprocess.Popen(command, env=self.environment, stdout=output, stderr=output)  # noqa: S603
        asyncio.run(self._ready())

    @property
    def environment(self) -> dict[str, str]:
        """What a process on this stage needs to know."""
        given = {"GONGJI_HOME": str(self.home), "GONGJI_HTTP": "127.0.0.1:0", "GONGJI_LOG_LEVEL": "WARNING"}
        return os.environ | given | self.extra

    async def _ready(self) -> None:
        async with asyncio.timeout(_READY_SECONDS):
            while not all(b" ready (" in (self.home / f"{name}.log").read_bytes() for name in self.workers):
                dead = [name for name, worker in self.workers.items() if worker.poll() is not None]
                if dead:
                    raise Stop(f"{dead[0]} ended while starting; see {self.home / dead[0]}.log")
                await asyncio.sleep(0.1)

    def stop(self) -> None:
        """Lets every service finish and end."""
        for worker in self.workers.values():
            worker.terminate()
        for worker in self.workers.values():
            worker.wait()
        for name in self.workers:
            (self.home / f"{name}.log").unlink(missing_ok=True)
        self.workers.clear()

    async def register(self, lines: Sequence[dict[str, Any]]) -> None:
        """Sends the register and waits until every consumer has it."""
        async with self._barrier() as (feeder, barrier):
            sending = Sending(feeder, barrier, rate=None, advance=lambda _: None)
            await sending.run(
                (("register", number, msgspec.json.encode(line)) for number, line in enumerate(lines, 1)), wait=False
            )

    async def ends(self) -> Ends:
        """How far ``claims.submitted`` goes."""
        async with self._barrier() as (feeder, _):
            return await feeder.ends_of([SUBMITTED])

    async def drained(self, ends: Ends | None = None) -> None:
        """Until everything submitted, or what was submitted up to these ends, is answered."""
        async with self._barrier() as (feeder, barrier):
            await barrier.answered(await feeder.ends_of([SUBMITTED]) if ends is None else ends)

    async def forget(self) -> None:
        """Lets every topic that is not kept forever keep no more than its end."""
        admin = AIOKafkaAdminClient(**access.kafka(self.settings.kafka))
        await admin.start()
        try:
            for topic in declared(self.settings.partitions).values():
                if topic.config["retention.ms"] != "-1":
                    config = ConfigResource(ConfigResourceType.TOPIC, topic.name, configs=topic.config | _FORGETFUL)
                    [answer] = await admin.alter_configs([config])
                    if answer.resources[0][0]:
                        raise Stop(f"topic {topic.name} cannot be changed: {answer.resources[0][1]}")
        finally:
            await admin.close()

    def _barrier(self) -> "_Barriers":
        return _Barriers(self)

    async def generate(self, records: Sequence[Prepared], rate: float) -> float:
        """Runs the generator to its end. Returns when record 0 was due (Unix seconds)."""
        file = self.home / "records"
        load.write(file, records)
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "services.bench.load", self.settings.kafka, str(file), str(rate), stdout=subprocess.PIPE
        )
        try:
            said, _ = await process.communicate()
        except asyncio.CancelledError:
            process.kill()
            raise
        if process.returncode:
            raise Stop(f"the load generator ended with {process.returncode}")
        return float(said)

    async def outcomes(self, since_ms: int = 0) -> list[figures.Seen]:
        """What came to the outcome topics since an instant (Unix ms)."""
        return await figures.messages(self.settings.kafka, (SETTLED, REJECTED), self.settings.partitions, since_ms)

    def cpu(self) -> dict[str, float]:
        """Processor seconds by process so far."""
        roots = {name: worker.pid for name, worker in self.workers.items()} | self.addresses.pids
        return figures.cpu_seconds(roots)

    async def database(self) -> dict[str, int]:
        """What Postgres counted so far: transactions committed, WAL (fsyncs too), rows, temporary bytes."""
        connection = await asyncpg.connect(self.settings.postgres)
        try:
            row = await connection.fetchrow(_COUNTED)
            assert row is not None
            return {name: int(value) for name, value in row.items()}
        finally:
            await connection.close()

    def audit(self) -> float:
        """How long ``gongji audit`` takes (seconds). Raises Stop, in its words, where it does not find the books clean."""
        command = (sys.executable, "-m", "services", "audit", "--json")
        began = time.monotonic()
        done = subprocess.run(command, env=self.environment, capture_output=True, text=True, check=False)  # noqa: S603
        if done.returncode:
            raise Stop(f"the audit does not pass: there is no figure\n{done.stderr[-_SAID:]}")
        return round(time.monotonic() - began, 1)


class _Barriers:
    """A feeder with a barrier, opened and closed together."""

    def __init__(self, stage: Stage) -> None:
        self._database = Database(stage.settings.postgres, role="gongji_ops", name="gongji-bench")
        self._feeder = Feeder(stage.settings.kafka, stage.partitions)

    async def __aenter__(self) -> tuple[Feeder, Barrier]:
        await self._feeder.__aenter__()
        return self._feeder, Barrier(self._database, self._feeder.ends_of, lambda _: None)

    async def __aexit__(self, *_: object) -> None:
        await self._feeder.__aexit__()
        await self._database.close()


@contextmanager
def stage(home: Path, module: tuple[str, ...] = ("services", "serve")) -> Iterator[Stage]:
    """Servers under a home that is empty at the beginning and erased at the end, whatever servers the environment names.

    Raises UsageError while another benchmark is at work beside this home.
    """
    home.parent.mkdir(parents=True, exist_ok=True)
    made: Stage | None = None
    with _alone(home.parent / "lock"), environment({"GONGJI_HOME": str(home)}, without=_OF_OTHERS):
        _erase(home)  # what one left that was killed
        try:
            addresses = local.up(home)
            made = Stage(home, Settings.load(), addresses, module)
            yield made
        finally:
            with uninterrupted():
                if made is not None:
                    made.stop()
                _erase(home)


@contextmanager
def environment(settings: Mapping[str, str], without: tuple[str, ...] = ()) -> Iterator[None]:
    """Settings for this process and all that it starts, and none whose name begins so; afterwards they are as they were."""
    before = dict(os.environ)
    for name in before:
        if name.startswith(without):
            del os.environ[name]
    os.environ.update(settings)
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)


def _erase(home: Path) -> None:
    local.erase(home)
    shutil.rmtree(home, ignore_errors=True)


@contextmanager
def _alone(file: Path) -> Iterator[None]:
    with file.open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as taken:
            raise UsageError(f"another benchmark is at work in {file.parent}; name another directory in GONGJI_HOME") from taken
        yield
