"""The five services for the length of a demo: ``gongji serve all`` as a process of its own, its log in a file."""

import os
import re
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import Final, Self
from urllib.error import URLError
from urllib.request import urlopen

from deploy.local.process import last_lines
from shared.errors import Stop
from shared.events import SERVICES

_READY_SECONDS: Final = 90.0
_DRAIN_SECONDS: Final = 75.0  # the supervisor gives each service 60
_POLL_SECONDS: Final = 0.1
_READY: Final = re.compile(r"^gongji: (\w+) ready \((http://\S+)\)$", re.MULTILINE)


class Workers:
    """A supervisor with a worker for each service. It outlives a demo that is asked to ``--keep`` it."""

    def __init__(self, log: Path) -> None:
        self.log = log
        with log.open("ab") as output:
            self._supervisor = subprocess.Popen(
                (sys.executable, "-m", "services", "serve", "all"),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                env=os.environ | {"GONGJI_HTTP": "127.0.0.1:0"},  # five pages cannot share one port
                start_new_session=True,  # Ctrl-C is for the demo, which ends the services in good order
            )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    @property
    def pid(self) -> int:
        """The supervisor's pid: SIGTERM to it ends all services."""
        return self._supervisor.pid

    def wait_until_ready(self) -> None:
        """Returns when every service says that it is ready. Raises Stop, with the end of the log, if one does not."""
        deadline = time.monotonic() + _READY_SECONDS
        while not all(self._is_ready(service) for service in SERVICES):
            if self._supervisor.poll() is not None:
                raise Stop(f"the services ended while starting; {self.log} ends:\n{last_lines(self.log)}")
            if time.monotonic() > deadline:
                raise Stop(f"the services are not ready after {_READY_SECONDS:.0f} s; {self.log} ends:\n{last_lines(self.log)}")
            time.sleep(_POLL_SECONDS)

    def page(self, service: str, path: str) -> str:
        """A page of a service's worker (``/ready``, ``/metrics``). Raises OSError while it does not answer."""
        said = _READY.findall(self.log.read_text(encoding="utf-8", errors="replace"))
        addresses = dict(said)  # the last one said: a worker that was started again has another port
        if service not in addresses:
            raise URLError(f"{service} has not said where it is")
        with urlopen(addresses[service] + path, timeout=2) as answer:  # noqa: S310 - an address of our own
            text: str = answer.read().decode()
            return text

    def _is_ready(self, service: str) -> bool:
        try:
            self.page(service, "/ready")
        except OSError:
            return False
        return True

    def kill(self, service: str) -> int:
        """Kills a service's worker as a power cut would, once it runs. Returns the pid it had."""
        deadline = time.monotonic() + _READY_SECONDS
        while not (pid := self._worker(service)):
            if time.monotonic() > deadline:
                raise Stop(f"{service} does not run; {self.log} ends:\n{last_lines(self.log)}")
            time.sleep(_POLL_SECONDS)
        os.kill(pid, signal.SIGKILL)
        return pid

    def _worker(self, service: str) -> int:
        """The pid of a service's worker; 0 while there is none."""
        for children in Path(f"/proc/{self.pid}/task").glob("*/children"):
            for pid in children.read_text().split():
                with suppress(OSError):
                    if Path(f"/proc/{pid}/cmdline").read_bytes().rstrip(b"\0").endswith(b"serve\0" + service.encode()):
                        return int(pid)
        return 0

    def stop(self) -> None:
        """Lets every service finish its batch and end; kills what has not ended after that."""
        self._supervisor.terminate()
        with suppress(subprocess.TimeoutExpired):
            self._supervisor.wait(_DRAIN_SECONDS)
        with suppress(ProcessLookupError):
            os.killpg(self.pid, signal.SIGKILL)
        self._supervisor.wait()
