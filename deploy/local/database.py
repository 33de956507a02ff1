"""Postgres: a cluster of our own, durable, on loopback by password only, its owner no superuser."""

import os
import secrets
import shutil
import signal
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from subprocess import CalledProcessError

import psycopg

from deploy.local.process import Process, run, working_in
from shared.errors import ServerMissing

# Postgres refuses to run as root: then this user of Debian's package runs it, and the data are elsewhere when
# the home lies in a directory that this user may not enter.
SYSTEM_USER = "postgres"
ELSEWHERE = Path("/var/lib/gongji")
OWNER = Path(__file__).parents[1] / "owner.sql"

_DEBIAN = Path("/usr/lib/postgresql")
_ORPHANS_S = 20.0
_SETTINGS = {
    "listen_addresses": "127.0.0.1",
    "unix_socket_directories": "",  # a socket's path is at most 107 bytes: a deep home would not start
    "fsync": "on",
    "synchronous_commit": "on",
    "full_page_writes": "on",
    "shared_buffers": "512MB",
    "max_wal_size": "4GB",
    "max_connections": "200",
    "jit": "off",  # statements of milliseconds: compiling one costs more than running it
    "log_line_prefix": "%m [%p] %q%u@%d ",
    "log_error_verbosity": "terse",  # the detail of a violated constraint shows the row: whose claim it is
}


@dataclass(frozen=True)
class Database:
    """The local Postgres whose password, log and (where its user may enter) data are under `directory`."""

    directory: Path
    name: str = "postgres"
    gently: signal.Signals = signal.SIGINT  # "fast": ends sessions, writes a checkpoint
    further: Mapping[str, str] = field(default_factory=dict)  # settings of one start

    @property
    def process(self) -> Process:
        """The postmaster, known by its data directory."""
        return Process("postgres", str(self.data), self.directory / "postgres.log", _system_user())

    @property
    def data(self) -> Path:
        """The data directory. Where it is not under `directory`, a file there says where it is."""
        pointer = self.directory / "elsewhere"
        return Path(pointer.read_text(encoding="utf-8")) if pointer.exists() else self.directory / "data"

    def address(self, port: int) -> str:
        """The DSN of the owner of database `gongji`."""
        password = (self.directory / "password").read_text(encoding="utf-8")
        return f"postgresql://gongji:{password}@127.0.0.1:{port}/gongji"

    def start(self, port: int) -> None:
        """Makes the cluster the first time, and starts it."""
        if not (self.data / "PG_VERSION").exists():
            self._create()
        self._bury_orphans()
        settings = (f"--{key}={value}" for key, value in {**_SETTINGS, **self.further, "port": str(port)}.items())
        program = _programs((self.data / "PG_VERSION").read_text().strip()) / "postgres"
        self.process.start((str(program), "-D", str(self.data), *settings))

    def ask(self, address: str) -> None:
        """Asks a question of it. Raises psycopg.OperationalError until it answers."""
        with psycopg.connect(address, connect_timeout=3) as connection:
            connection.execute("select 1")

    def as_superuser(self, statements: str) -> None:
        """Executes statements in database `gongji`, a blank line after each, while Postgres does not run.

        The superuser has no password: nobody can log in as one. Raises subprocess.CalledProcessError.
        """
        version = (self.data / "PG_VERSION").read_text().strip()
        _alone(_programs(version), self.data, "gongji", statements)

    def erase(self) -> None:
        """Removes data kept elsewhere; what is under `directory` goes with it."""
        if self.data.is_relative_to(ELSEWHERE):
            shutil.rmtree(self.data.parent, ignore_errors=True)

    def _create(self) -> None:
        """Makes cluster, role and database under another name: what bears the final name is whole."""
        programs, user = _programs(), _system_user()
        place = self._place(user)
        new = place.with_name("data.new")
        shutil.rmtree(new, ignore_errors=True)
        new.mkdir(mode=0o700)
        if user is not None:
            shutil.chown(new, user)
        password = secrets.token_urlsafe(24)
        _keep_secret(self.directory / "password", password)
        initdb = (str(programs / "initdb"), "-D", str(new), "--username=postgres", "--auth=trust")
        run((*initdb, "--encoding=UTF8", "--no-locale", "--no-sync"), user=user)
        (new / "pg_hba.conf").write_text("host all all 127.0.0.1/32 scram-sha-256\n", encoding="utf-8")
        statements = OWNER.read_text(encoding="utf-8") + f"\nalter role gongji password '{password}';\n\n"
        _alone(programs, new, "postgres", statements)
        new.rename(place)

    def _place(self, user: str | None) -> Path:
        if user is None or _may_enter(user, self.directory):
            return self.directory / "data"
        place = ELSEWHERE / secrets.token_hex(8) / "data"
        for parent in (place.parent.parent, place.parent):
            parent.mkdir(exist_ok=True)
            parent.chmod(0o755)
        (self.directory / "elsewhere").write_text(str(place), encoding="utf-8")
        return place

    def _bury_orphans(self) -> None:
        """Waits for the sessions of a postmaster that was killed: while one lives, a new one refuses to start."""
        deadline = time.monotonic() + _ORPHANS_S
        while orphans := working_in(self.data):
            if time.monotonic() > deadline:
                for pid in orphans:
                    with suppress(ProcessLookupError):
                        os.kill(pid, signal.SIGQUIT)
                deadline += _ORPHANS_S
            time.sleep(0.05)
        # Nobody is left who could have the data open; but to Postgres a process that init has not yet collected
        # looks alive, and so does a stranger with its number.
        (self.data / "postmaster.pid").unlink(missing_ok=True)


def _alone(programs: Path, data: Path, database: str, statements: str) -> None:
    """Executes statements as the superuser, with no server running."""
    single = (str(programs / "postgres"), "--single", "-j", "-c", "exit_on_error=on", "-D", str(data), database)
    run(single, user=_system_user(), stdin=statements)


def _programs(version: str | None = None) -> Path:
    """The directory of Postgres's programs: of this major version, or the newest."""
    found = {path.parent.name: path for path in _DEBIAN.glob("*/bin") if (path / "initdb").exists()}
    if version in found:
        return found[version]
    if version is None and found:
        return found[max(found, key=int)]
    on_path = shutil.which("initdb")
    if on_path is None:
        package = f"postgresql-{version}" if version else "postgresql"
        raise ServerMissing("postgres", f"not installed: apt-get install {package}, or `make setup`")
    return Path(on_path).resolve().parent


def _system_user() -> str | None:
    return SYSTEM_USER if os.geteuid() == 0 else None


def _may_enter(user: str, directory: Path) -> bool:
    try:
        run(("/bin/sh", "-c", 'cd "$1"', "sh", str(directory)), user=user)
    except CalledProcessError:
        return False
    return True


def _keep_secret(path: Path, secret: str) -> None:
    path.unlink(missing_ok=True)
    path.touch(mode=0o600)
    path.write_text(secret, encoding="utf-8")
