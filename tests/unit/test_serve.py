"""Several services as processes: none stays behind when whoever restarts them goes."""

import asyncio
import sys
from pathlib import Path
from typing import Any

import pytest

from services import serve

_STAYS = "import sys, time; open(sys.argv[1], 'w').close(); time.sleep(60)"


async def test_a_service_does_not_outlive_the_one_who_keeps_it_alive(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Another of them could not be started, say: the group is cancelled, not told to end."""
    processes: list[asyncio.subprocess.Process] = []
    real, there = asyncio.create_subprocess_exec, tmp_path / "there"

    async def stand_in(*_: Any) -> asyncio.subprocess.Process:
        processes.append(await real(sys.executable, "-c", _STAYS, str(there)))
        return processes[-1]

    monkeypatch.setattr(asyncio, "create_subprocess_exec", stand_in)
    keeping = asyncio.create_task(serve._keep_alive("intake", asyncio.Event()))
    async with asyncio.timeout(20):
        while not there.exists():  # noqa: ASYNC110 - a file tells nobody that it is there
            await asyncio.sleep(0.01)
        keeping.cancel()
        with pytest.raises(asyncio.CancelledError):
            await keeping
    [process] = processes
    try:
        assert process.returncode is not None
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
