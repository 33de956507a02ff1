"""A service and a clock of its processor time, by which is seen what it is at work on: where a worker's microseconds go.

``python -m services.bench.sampled SERVICE`` is ``gongji serve SERVICE``. From SIGUSR2 on, after every ``SECONDS`` of processor
time it counts the module at work (compiled code counts for the Python that called it), and leaves the counts at its end in
``<home>/SERVICE.PID.samples``. Only the benchmark starts it, when everything that is measured has been.
"""

import json
import os
import signal
import sys
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from types import FrameType
from typing import Final

from services import serve
from shared.runtime.settings import home_directory

SECONDS: Final = 0.01
_OURS: Final = ("services", "shared")


def main(service: str) -> None:
    """Runs one service until it is told to end."""
    seen: Counter[str] = Counter()

    def look(_number: int, frame: FrameType | None) -> None:
        if frame is not None:
            seen[part(frame.f_globals.get("__name__", "?"))] += 1

    signal.signal(signal.SIGPROF, look)
    signal.signal(signal.SIGUSR2, lambda *_: signal.setitimer(signal.ITIMER_PROF, SECONDS, SECONDS))
    try:
        serve.one(service)
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
        (home_directory() / f"{service}.{os.getpid()}.samples").write_text(json.dumps(seen), encoding="utf-8")


def part(module: str) -> str:
    """What a module is part of: our own stand for themselves, others for their package."""
    package = module.partition(".")[0]
    return module if package in _OURS else package


def gathered(files: Iterable[Path], claims: int) -> dict[str, dict[str, float]]:
    """µs of processor time a claim, by service and part, the most first."""
    seen: dict[str, Counter[str]] = {}
    for file in sorted(files):
        seen.setdefault(file.name.partition(".")[0], Counter()).update(json.loads(file.read_text(encoding="utf-8")))
    return {
        service: {name: round(count * SECONDS / claims * 1e6, 1) for name, count in parts.most_common()}
        for service, parts in seen.items()
    }


if __name__ == "__main__":
    main(sys.argv[1])
