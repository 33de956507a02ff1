"""What a command that starts servers and services leaves running beneath a home of its own."""

import os
from pathlib import Path


def environment(home: Path, **more: str) -> dict[str, str]:
    others = {name: value for name, value in os.environ.items() if not name.startswith("GONGJI_")}
    return others | {"GONGJI_HOME": str(home)} | more


def left_behind(home: Path, *, servers: bool = True) -> list[str]:
    """Command lines of the processes that were started for this home; without ``servers`` those of the services only."""
    found = []
    for entry in Path("/proc").iterdir():
        if not entry.name.isdecimal() or int(entry.name) == os.getpid():
            continue
        try:
            told = (entry / "environ").read_bytes() + (entry / "cmdline").read_bytes()
            command = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
        except OSError:
            continue
        if command and os.fsencode(home) in told and (servers or "services serve" in command):
            found.append(command)
    return found
