"""Named points between fetch and mark at which a test may kill the process, as a power cut would.

``GONGJI_CRASH_AT=after_commit:3`` kills this process with SIGKILL the third time it reaches ``after_commit``. Unset (always,
outside the fault tests) a point costs one comparison.
"""

import os
import signal
from typing import Final

POINTS: Final = (
    "after_fetch",
    "after_lock",
    "after_write",
    "after_commit",
    "after_project",
    "after_announce",
)

_target, _, _count = os.environ.get("GONGJI_CRASH_AT", "").partition(":")
_left = int(_count or 1)
if _target and _target not in POINTS:
    raise SystemExit(f"GONGJI_CRASH_AT names no point: {_target!r}; there are {', '.join(POINTS)}")


def reach(point: str) -> None:
    """Marks a point of the loop, or of a command."""
    global _left  # noqa: PLW0603 - the one counter of a process that is about to die
    if point == _target:
        _left -= 1
        if _left <= 0:
            os.kill(os.getpid(), signal.SIGKILL)
