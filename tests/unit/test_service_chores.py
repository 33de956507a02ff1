"""What a service does besides its batches: how far it is, it tells also while a sweep waits for a long batch."""

import asyncio
from typing import Any

import pytest

from shared.runtime import service
from shared.runtime.service import Service


class Running:
    """A loop whose batch never ends: the sweep waits for it. It is its own holdings, producer and database."""

    def __init__(self) -> None:
        self.holdings = self.producer = self.database = self
        self.told = asyncio.Event()

    async def sweep(self) -> None:
        await asyncio.Event().wait()

    async def advise(self) -> None:
        self.told.set()

    async def start(self) -> None: ...
    async def stop(self) -> None: ...
    async def release(self) -> None: ...
    async def close(self) -> None: ...


async def test_how_far_a_service_is_does_not_wait_for_a_sweep(monkeypatch: pytest.MonkeyPatch) -> None:
    for seconds in ("_SWEEP_SECONDS", "_ADVISE_SECONDS"):
        monkeypatch.setattr(service, seconds, 0.0)
    running: Any = Running()
    made = Service.__new__(Service)
    made._broker, made._running = running, [running]
    async with made._loops(), asyncio.timeout(10):
        await running.told.wait()
