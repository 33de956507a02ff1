"""The three local servers together: `up`, `down`, `status`, and `kill` for tests of faults.

Everything is under `<home>/servers/`; `<home>/servers.json` (0600: it holds a password) says where they are.
A server keeps its data and its port from its first start on. All listen on 127.0.0.1 only.
"""

import fcntl
import json
import os
import shutil
import signal
import time
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from subprocess import CalledProcessError

import psycopg
import redis
from aiokafka.errors import KafkaError

from deploy.local.broker import Broker
from deploy.local.cache import Cache
from deploy.local.database import Database
from deploy.local.process import becomes_free, free_port, last_lines
from shared.errors import ServerMissing, UsageError

Server = Broker | Database | Cache

_READY_S = 90.0  # a loaded machine of two cores takes ten
_STOP_S = 20.0
_PORT_S = 5.0
_POLL_S = 0.1
_TRIES = 2
_NOT_YET = (OSError, KafkaError, psycopg.Error, redis.RedisError)


@dataclass(frozen=True)
class Addresses:
    """Where the servers are: `host:port`, a DSN, a URL; and their pids, 0 for one that is not running."""

    kafka: str
    postgres: str
    redis: str
    pids: dict[str, int]

    @property
    def dead(self) -> list[str]:
        """Names of the servers that are not running."""
        return [name for name, pid in self.pids.items() if not pid]


def up(home: Path) -> Addresses:
    """Starts what is not running, on its own data and port, and returns when all three answer.

    Raises UsageError for a home of another user, ServerMissing for a program that is not installed or a server that does not come
    up (with the end of its log).
    """
    home = home.resolve()
    with _alone(home), ThreadPoolExecutor(max_workers=3) as at_once:
        starts = [at_once.submit(_ensure, server) for server in _servers(home)]
        for start in starts:
            start.result()
        addresses = _look(home)
        assert addresses is not None
        _write_state(home, addresses)
        return addresses


def down(home: Path) -> None:
    """Stops what is running: asks first, kills after twenty seconds. Data and ports stay."""
    home = home.resolve()
    if not home.exists():
        return
    with _alone(home), ThreadPoolExecutor(max_workers=3) as at_once:
        stops = [at_once.submit(server.process.stop, server.gently, _STOP_S) for server in _servers(home)]
        for stop in stops:
            stop.result()
        addresses = _look(home)
        if addresses is not None:
            _write_state(home, addresses)


def restart_postgres(home: Path, settings: Mapping[str, str], statements: str) -> Addresses:
    """Stops Postgres, executes statements as its superuser, and starts it with further settings, which hold until it stops.

    Raises ServerMissing when it does not come up again.
    """
    home = home.resolve()
    database = Database(home / "servers" / "postgres", further=settings)
    with _alone(home):
        database.process.stop(database.gently, _STOP_S)
        try:
            database.as_superuser(statements)
        except CalledProcessError as error:
            raise ServerMissing("postgres", f"{error}:\n{error.stderr}") from error
        _ensure(database)
        addresses = _look(home)
        assert addresses is not None
        _write_state(home, addresses)
        return addresses


def log(home: Path, name: str) -> Path:
    """What one server (kafka, postgres, redis) writes down about itself."""
    return next(server for server in _servers(home.resolve()) if server.name == name).process.log


def status(home: Path) -> Addresses | None:
    """Where the servers are and which run (one with pid 0 does not); None when never started here."""
    return _look(home.resolve())


def room(home: Path) -> dict[str, int]:
    """Bytes left on the disks under Kafka's and Postgres' data, by server; Redis keeps nothing there."""
    place = home.resolve() / "servers"
    places = {"kafka": place / "kafka", "postgres": Database(place / "postgres").data}
    return {name: shutil.disk_usage(at).free for name, at in places.items() if at.exists()}


def written(home: Path) -> int:
    """Bytes of records that stand in Kafka's log, as they stand there: in batches, with their headers."""
    return sum(segment.stat().st_size for segment in (home.resolve() / "servers" / "kafka" / "data").glob("*/*.log"))


def kill(home: Path, name: str, number: signal.Signals = signal.SIGKILL) -> None:
    """Sends a signal to one server (kafka, postgres, redis). Raises ServerMissing when it is not running."""
    server = next(server for server in _servers(home.resolve()) if server.name == name)
    if not server.process.send(number):
        raise ServerMissing(name, "it is not running")
    if number == signal.SIGKILL:
        server.process.gone_within(_STOP_S)


def erase(home: Path) -> None:
    """Stops the servers and removes their data: for homes that tests made."""
    home = home.resolve()
    down(home)
    Database(home / "servers" / "postgres").erase()
    shutil.rmtree(home / "servers", ignore_errors=True)
    (home / "servers.json").unlink(missing_ok=True)


def _servers(home: Path) -> tuple[Server, Server, Server]:
    place = home / "servers"
    return Broker(place / "kafka"), Database(place / "postgres"), Cache(place / "redis")


def _ensure(server: Server) -> None:
    server.directory.mkdir(parents=True, exist_ok=True)
    for _ in range(_TRIES):
        if not server.process.pid():
            _start(server)
        if comes_up(server):
            return
        time.sleep(1)  # a predecessor just killed may hold files and port while the kernel takes it apart
    raise ServerMissing(server.name, f"ended while starting; {_end_of_log(server)}")


def _start(server: Server) -> None:
    """Starts it on the port of its last start; on another one only where a stranger has taken that since."""
    kept = _kept_port(server)
    port = kept if kept and becomes_free(kept, _PORT_S) else free_port()
    (server.directory / "port").write_text(str(port), encoding="utf-8")
    try:
        server.start(port)
    except CalledProcessError as error:
        raise ServerMissing(server.name, f"{error}:\n{error.stderr}") from error


def comes_up(server: Server) -> bool:
    """Waits for an answer on its port; False when the server ends before it gives one."""
    address = server.address(_kept_port(server))
    deadline = time.monotonic() + _READY_S
    while True:
        runs = server.process.pid()
        try:
            server.ask(address)
        except _NOT_YET as error:
            if not runs:
                return False
            if time.monotonic() > deadline:
                fate = f"runs, but gave no answer in {_READY_S:.0f} s ({error}); {_end_of_log(server)}"
                raise ServerMissing(server.name, fate) from error
            time.sleep(_POLL_S)
        else:
            return True


def _end_of_log(server: Server) -> str:
    log = server.process.log
    return f"{log} ends:\n{last_lines(log)}"


def _kept_port(server: Server) -> int:
    with suppress(FileNotFoundError):
        return int((server.directory / "port").read_text(encoding="utf-8"))
    return 0


def _look(home: Path) -> Addresses | None:
    servers = _servers(home)
    if not all(_kept_port(server) for server in servers):
        return None
    kafka, postgres, cache = (server.address(_kept_port(server)) for server in servers)
    return Addresses(kafka, postgres, cache, {server.name: server.process.pid() for server in servers})


def _write_state(home: Path, addresses: Addresses) -> None:
    new = home / "servers.json.new"
    new.unlink(missing_ok=True)
    new.touch(mode=0o600)
    new.write_text(json.dumps(asdict(addresses), indent=2) + "\n", encoding="utf-8")
    new.replace(home / "servers.json")


@contextmanager
def _alone(home: Path) -> Iterator[None]:
    """One command at a time for a home: a second one waits."""
    try:
        home.mkdir(parents=True, exist_ok=True)
        handle = os.open(home / "servers.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except PermissionError as error:
        raise UsageError(f"{home} belongs to another user; name a directory of your own in GONGJI_HOME") from error
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)
