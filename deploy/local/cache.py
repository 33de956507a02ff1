"""Redis: memory only, for what can be rebuilt from Postgres at any time."""

import shutil
import signal
from dataclasses import dataclass
from pathlib import Path

import redis

from deploy.local.process import Process
from shared.errors import ServerMissing


@dataclass(frozen=True)
class Cache:
    """The local Redis whose settings and log are under `directory`."""

    directory: Path
    name: str = "redis"
    gently: signal.Signals = signal.SIGTERM

    @property
    def process(self) -> Process:
        """The server, known by the settings file it was given."""
        return Process("redis-server", str(self._settings_file), self.directory / "redis.log")

    def address(self, port: int) -> str:
        """The URL of database 0."""
        return f"redis://127.0.0.1:{port}/0"

    def start(self, port: int) -> None:
        """Writes the settings and starts the server."""
        program = shutil.which("redis-server")
        if program is None:
            raise ServerMissing("redis", "not installed: apt-get install redis-server, or `make setup`")
        settings = (
            "bind 127.0.0.1",
            f"port {port}",
            f'dir "{self.directory}"',
            'save ""',
            "appendonly no",
            "set-proc-title no",  # the process is found again by its arguments
        )
        self._settings_file.write_text("\n".join(settings) + "\n", encoding="utf-8")
        self.process.start((program, str(self._settings_file)))

    def ask(self, address: str) -> None:
        """Pings it. Raises redis.RedisError until it answers."""
        with redis.Redis.from_url(address, socket_timeout=3) as client:
            client.ping()

    @property
    def _settings_file(self) -> Path:
        return self.directory / "redis.conf"
