"""A server process that outlives the command which started it, found by what it runs, not by a stored pid."""

import os
import signal
import socket
import subprocess
import time
from collections.abc import Sequence
from contextlib import closing, suppress
from dataclasses import dataclass
from pathlib import Path
from random import SystemRandom

# Below the range from which the kernel serves outgoing connections (32768 and up): there a client that keeps
# calling a dead server could itself be given the server's port, and block its restart.
PORTS = range(20_000, 32_000)

_POLL_S = 0.05
_DETACH = '"$@" </dev/null >&2 & echo $!'


@dataclass(frozen=True)
class Process:
    """One server's process: `program` with `marker`, the path of its own data or settings, as an argument."""

    program: str
    marker: str
    log: Path
    user: str | None = None

    def pid(self) -> int:
        """The pid of the process, 0 when it is not running; read from /proc, never from a file."""
        matches = {pid for pid in _pids() if self._is_ours(pid)}
        # A child just forked still carries its parent's arguments.
        return next((pid for pid in sorted(matches) if _parent(pid) not in matches), 0)

    def start(self, command: Sequence[str]) -> None:
        """Starts `command` in a session of its own, adopted by init, its output appended to the log."""
        with self.log.open("ab") as log:
            pid = run(("/bin/sh", "-c", _DETACH, "sh", *command), user=self.user, stderr=log.fileno())
        while _arguments(int(pid)) and not self.pid():  # the shell's child has yet to become the server
            time.sleep(_POLL_S / 10)

    def send(self, number: signal.Signals) -> bool:
        """Sends a signal to the process; False when it is not running."""
        pid = self.pid()
        if not pid:
            return False
        with suppress(ProcessLookupError):
            os.kill(pid, number)
        return True

    def stop(self, gently: signal.Signals, patience_s: float) -> None:
        """Asks the process to end, and kills it when it has not after `patience_s` seconds."""
        if not self.send(gently):
            return
        self.send(signal.SIGCONT)  # a frozen process hears nothing else
        if not self.gone_within(patience_s):
            self.send(signal.SIGKILL)
            self.gone_within(patience_s)

    def gone_within(self, seconds: float) -> bool:
        """Waits up to `seconds` for the process to end; whether it did."""
        deadline = time.monotonic() + seconds
        while self.pid():
            if time.monotonic() > deadline:
                return False
            time.sleep(_POLL_S)
        return True

    def _is_ours(self, pid: int) -> bool:
        arguments = _arguments(pid)
        return self.marker in arguments and Path(arguments[0]).name == self.program


def run(command: Sequence[str], *, user: str | None = None, stderr: int = subprocess.PIPE, stdin: str = "") -> str:
    """Runs a command to its end, as `user` when one is named, and gives its standard output.

    Raises subprocess.CalledProcessError when it fails.
    """
    done = subprocess.run(  # noqa: S603 - the commands are this package's own
        command,
        input=stdin,
        stdout=subprocess.PIPE,
        stderr=stderr,
        text=True,
        check=True,
        cwd="/",  # a place every user may enter
        user=user,
        group=user,
        extra_groups=None if user is None else (),
        start_new_session=True,  # Ctrl-C at the terminal is for the command, not for the servers
    )
    return done.stdout


def last_lines(log: Path, count: int = 12) -> str:
    """The end of a log."""
    return "\n".join(log.read_text(encoding="utf-8", errors="replace").splitlines()[-count:])


def free_port() -> int:
    """A port on loopback where nobody listens now."""
    return next(port for port in SystemRandom().sample(PORTS, len(PORTS)) if is_free(port))


def becomes_free(port: int, seconds: float) -> bool:
    """Whether a server could listen on this loopback port within so many seconds."""
    deadline = time.monotonic() + seconds
    while not is_free(port):
        if time.monotonic() > deadline:
            return False
        time.sleep(_POLL_S)
    return True


def is_free(port: int) -> bool:
    """Whether a server could listen on this loopback port now."""
    with closing(socket.socket()) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


def working_in(directory: Path) -> set[int]:
    """Pids of the processes whose working directory is this one (those of other users only for root)."""
    found = set()
    for pid in _pids():
        with suppress(OSError):
            if Path(f"/proc/{pid}/cwd").readlink() == directory:
                found.add(pid)
    return found


def _pids() -> list[int]:
    return [int(entry.name) for entry in Path("/proc").iterdir() if entry.name.isdecimal()]


def _arguments(pid: int) -> list[str]:
    """The command line; empty for a process that has ended, also when nobody has collected it yet."""
    try:
        return os.fsdecode(Path(f"/proc/{pid}/cmdline").read_bytes()).split("\0")[:-1]
    except OSError:
        return []


def _parent(pid: int) -> int:
    try:
        stat = Path(f"/proc/{pid}/stat").read_text(errors="replace")
    except OSError:
        return 0
    return int(stat.rpartition(")")[2].split()[1])
