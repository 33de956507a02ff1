"""Fixtures of the real servers, and of what a test may call its own on them; a plugin, loaded by conftest.py.

They are those of the environment (GONGJI_KAFKA, GONGJI_POSTGRES, GONGJI_REDIS) if it names them; containers where
a Docker engine answers; processes of our own otherwise. What was merely found is never emptied nor stopped.
"""

import fcntl
import os
import secrets
import shutil
import signal
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

import containers
import psycopg
import pytest
from psycopg import sql

from deploy.local import servers as local
from deploy.local.servers import Addresses
from shared.errors import ServerMissing

_NAMES = ("kafka", "postgres", "redis")
_HOMES = Path(tempfile.gettempdir()) / f"gongji-tests-{os.geteuid()}"


@dataclass
class LocalServers:
    """Servers that belong to one test module, which may kill them."""

    home: Path
    addresses: Addresses = field(init=False)

    def up(self) -> Addresses:
        """Starts what does not run, on its data and port."""
        self.addresses = local.up(self.home)
        return self.addresses

    def kill(self, name: str, number: signal.Signals = signal.SIGKILL) -> None:
        """Sends a signal to kafka, postgres or redis."""
        local.kill(self.home, name, number)

    def wake(self) -> None:
        """Lets what is frozen go on."""
        for name in _NAMES:
            with suppress(ServerMissing):
                self.kill(name, signal.SIGCONT)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Whoever asks for servers carries the marker, so that `-m "not servers"` leaves none of them."""
    for item in items:
        if {"servers", "private_servers", "ruined_servers"} & set(getattr(item, "fixturenames", ())):
            item.add_marker("servers")


@pytest.fixture(scope="session")
def servers() -> Iterator[Addresses]:
    """Kafka, Postgres and Redis for the whole run; only processes of our own have pids other than 0."""
    given = [os.environ.get(f"GONGJI_{name.upper()}", "") for name in _NAMES]
    if all(given):
        kafka, postgres, redis = given
        yield Addresses(kafka, postgres, redis, dict.fromkeys(_NAMES, 0))
    elif any(given):
        pytest.exit("the environment names some of the servers; name all three or none", returncode=2)
    elif containers.engine_answers():
        with containers.running() as (kafka, postgres, redis):
            yield Addresses(kafka, postgres, redis, dict.fromkeys(_NAMES, 0))
    else:
        with _own_home() as home:
            yield local.up(home)


@pytest.fixture(scope="module")
def private_servers() -> Iterator[LocalServers]:
    """Local servers for this module alone, for tests that kill them."""
    with _own_home() as home:
        own = LocalServers(home)
        own.up()
        yield own


@pytest.fixture
def ruined_servers() -> Iterator[LocalServers]:
    """Local servers for this test alone, whose data it may ruin."""
    with _own_home() as home:
        own = LocalServers(home)
        own.up()
        yield own


@pytest.fixture(scope="session")
def database_template() -> str | None:
    """Name of the database that fresh ones are copied from; None for empty ones. A test directory may override it."""
    return None


@pytest.fixture
def new_database() -> Iterator[Callable[..., str]]:
    """A function from an owner's DSN to that of a fresh database on the same server, dropped after the test."""
    with ExitStack() as dropping:

        def make(owner: str, template: str | None = None) -> str:
            name = f"test_{secrets.token_hex(6)}"
            source = sql.Identifier(template or "template1")
            new = sql.Identifier(name)
            _execute(owner, sql.SQL("create database {} template {}").format(new, source))
            dropping.callback(_execute, owner, sql.SQL("drop database {} with (force)").format(new))
            return urlsplit(owner)._replace(path=f"/{name}").geturl()

        yield make


@pytest.fixture
def fresh_database(servers: Addresses, database_template: str | None, new_database: Callable[..., str]) -> str:
    """The DSN of a database for one test, dropped after it."""
    return new_database(servers.postgres, database_template)


@pytest.fixture
def topic_prefix() -> str:
    """A prefix for topics and groups that no other test uses."""
    return f"t{secrets.token_hex(5)}."


@pytest.fixture
def environment(servers: Addresses, fresh_database: str, tmp_path: Path) -> dict[str, str]:
    """The environment of a `gongji` command that works on these servers, on a database and in a home of its own."""
    ours = {
        "GONGJI_KAFKA": servers.kafka,
        "GONGJI_POSTGRES": fresh_database,
        "GONGJI_REDIS": servers.redis,
        "GONGJI_HOME": str(tmp_path / "home"),
    }
    return {name: value for name, value in os.environ.items() if not name.startswith("GONGJI_")} | ours


@contextmanager
def _own_home() -> Iterator[Path]:
    """A home that is erased at the end; and if this run is killed before, at the beginning of the next."""
    _HOMES.mkdir(exist_ok=True)
    home = _HOMES / f"{os.getpid()}-{secrets.token_hex(3)}"
    with _locked(_HOMES / "lock"):
        for left_behind in _HOMES.iterdir():
            if left_behind.is_dir():
                _erase_unless_in_use(left_behind)
        home.mkdir()
        in_use = ExitStack()
        in_use.enter_context(_locked(home / "in_use"))
    with in_use:
        try:
            yield home
        finally:
            _erase(home)


def _erase_unless_in_use(home: Path) -> None:
    with suppress(BlockingIOError), _locked(home / "in_use", fcntl.LOCK_EX | fcntl.LOCK_NB):
        _erase(home)


def _erase(home: Path) -> None:
    local.erase(home)
    shutil.rmtree(home)


@contextmanager
def _locked(path: Path, how: int = fcntl.LOCK_EX) -> Iterator[None]:
    with path.open("w") as handle:
        fcntl.flock(handle, how)
        yield


def _execute(dsn: str, statement: sql.Composed) -> None:
    with psycopg.connect(dsn, autocommit=True) as connection:
        connection.execute(statement)
