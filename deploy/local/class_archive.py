"""``python -m deploy.local.class_archive``: lets a JVM keep the broker's classes as it has them, for those that come after.

A broker then starts with a third of the processor time; what it does is the same. Part of the set-up.
"""

import os
import signal
import tempfile
from pathlib import Path

from deploy.local.broker import CLASSES, Broker
from deploy.local.process import free_port
from deploy.local.servers import comes_up

_WRITTEN_S = 60.0


def write() -> None:
    """Starts a broker on data of its own, and stops it; the archive is written as it ends.

    Raises ServerMissing when it does not come up, OSError when it leaves no archive.
    """
    new = CLASSES.with_suffix(f".{os.getpid()}")
    with tempfile.TemporaryDirectory() as directory:
        broker = Broker(Path(directory))
        port = free_port()
        (broker.directory / "port").write_text(str(port), encoding="utf-8")
        try:
            broker.start(port, f"-XX:ArchiveClassesAtExit={new}")
            comes_up(broker)
        finally:
            broker.process.stop(signal.SIGTERM, _WRITTEN_S)
    new.replace(CLASSES)


if __name__ == "__main__":
    write()
