"""The sealer: chains what was booked, closes days, publishes roots; beside settlement, and never in its transactions."""

import asyncio
import logging
import os
from pathlib import Path
from typing import NamedTuple

import msgspec

from services.account import seal, seal_store
from services.account.seal import Root
from services.account.seal_store import Tx
from shared.errors import Retry
from shared.events import LEDGER_ROOTS
from shared.identity import part_of
from shared.runtime.database import Database
from shared.runtime.producer import Producer
from shared.runtime.relay import Outgoing
from shared.runtime.settings import Settings
from shared.runtime.step import Message

log = logging.getLogger("gongji.account.seal")

EVERY_SECONDS = 1
_LOOK_SECONDS = 1 / 100
_PATIENCE_SECONDS = 10  # with transactions that hold journal numbers; then another turn


class Sealed(NamedTuple):
    """What one turn came to. ``held_up``: a transaction that drew a journal number does not end, so nothing was sealed."""

    blocks: int = 0
    postings: int = 0
    roots: tuple[Root, ...] = ()
    held_up: bool = False


class Sealer:
    """Seals the ledger of one deployment. Any number of them may run; one at a time does something."""

    def __init__(self, settings: Settings) -> None:
        self._algorithm = settings.seal
        self._directory = settings.home / "roots"
        self._database = Database(settings.postgres, role="gongji_service", name="gongji-sealer")
        self._producer = Producer(settings.kafka, {LEDGER_ROOTS: 1})

    async def run(self) -> None:
        """Takes turns until cancelled. A server in trouble is asked again."""
        try:
            while True:
                try:
                    await self.turn()
                except Retry as trouble:
                    log.warning("the ledger is not sealed for now: %s", trouble)
                except Exception:
                    log.exception("sealing failed; the next turn tries again")
                await asyncio.sleep(EVERY_SECONDS)
        finally:
            await self.close()

    async def close(self) -> None:
        """Lets go of the servers."""
        await self._producer.close()
        await self._database.close()

    async def turn(self, *, root_now: bool = False) -> Sealed:
        """Seals all that can be sealed, closes days that are over, and publishes. Raises Retry.

        ``root_now``: publishes a root over today's blocks too, without waiting for the day to end.
        """
        up_to = await self._horizon()
        if up_to is None:
            return Sealed(roots=await self._publish(), held_up=True)
        blocks = postings = 0
        while count := await self._block(up_to):
            blocks, postings = blocks + 1, postings + count
        await self._roots(root_now=root_now)
        return Sealed(blocks, postings, await self._publish())

    async def _horizon(self) -> int | None:
        """The journal up to which nothing can be booked any more; None when that takes too long."""
        async with self._database.transaction() as tx:
            last = await seal_store.drawn(tx)
        waited = 0.0
        held = last.holders
        while held:
            if waited >= _PATIENCE_SECONDS:
                return None
            await asyncio.sleep(_LOOK_SECONDS)
            waited += _LOOK_SECONDS
            async with self._database.transaction() as tx:
                held &= await seal_store.holders(tx)
        return last.journal_id

    async def _block(self, up_to: int) -> int:
        """One more block, in a transaction of its own. Returns how many postings it holds; 0 if there is nothing to do."""
        async with self._database.transaction() as tx:
            if not await seal_store.alone(tx):
                return 0
            tail = await seal_store.tail(tx)
            dated = await seal_store.unsealed(tx, tail, up_to)
            if not dated:
                return 0
            instant, _ = await seal_store.now(tx)
            day, postings = seal.of_one_day(tail, dated, await seal_store.first_open_day(tx))
            # In a thread: tens of milliseconds of hashing must not keep a claim waiting.
            block, digests = await asyncio.to_thread(seal.close, tail, day, postings, self._algorithm, instant)
            await seal_store.append(tx, block, digests)
        return len(postings)

    async def _roots(self, *, root_now: bool) -> None:
        async with self._database.transaction() as tx:
            if not await seal_store.alone(tx):
                return
            instant, today = await seal_store.now(tx)
            for day in await seal_store.days_to_close(tx, today):
                await self._add_root(tx, day, instant, closes=True)
            tail = await seal_store.tail(tx)
            if root_now and tail.number and await seal_store.covering(tx, tail.number) is None:
                await self._add_root(tx, tail.day, instant, closes=False)

    async def _add_root(self, tx: Tx, day: str, instant: str, *, closes: bool) -> None:
        blocks = await seal_store.blocks_of(tx, day)
        made = await asyncio.to_thread(seal.root_of, blocks, day, self._algorithm, instant, closes=closes)
        await seal_store.add_root(tx, made, msgspec.json.encode(made))

    async def _publish(self) -> tuple[Root, ...]:
        """File, then topic, then the note that it is done: what a crash leaves half-done is done again, with the same bytes."""
        async with self._database.transaction() as tx:
            if not await seal_store.alone(tx):
                return ()
            values = await seal_store.roots(tx, unannounced=True)
            if not values:
                return ()
            made = tuple(msgspec.json.decode(value, type=Root) for value in values)
            for one, value in zip(made, values, strict=True):
                write(self._directory, one.day, value)
            messages = [
                Message(LEDGER_ROOTS, part_of(""), one.day.encode(), value) for one, value in zip(made, values, strict=True)
            ]
            await self._producer.send([Outgoing(message) for message in messages])
            await seal_store.announced(tx, made)
        return made


def write(directory: Path, day: str, value: bytes) -> None:
    """Appends a root to the day's file, unless it is there."""
    directory.mkdir(parents=True, exist_ok=True)
    file = file_of(directory, day)
    there = file.read_bytes() if file.exists() else b""
    if value in there.splitlines():
        return
    with file.open("ab") as stream:
        torn = bool(there) and not there.endswith(b"\n")  # a crash in the middle of a line: that line is nobody's root
        stream.write(b"\n" * torn + value + b"\n")
        stream.flush()
        os.fsync(stream.fileno())


def file_of(directory: Path, day: str) -> Path:
    """Where a day's roots are published: one JSON object a line, the last one counting most."""
    return directory / f"{day}.jsonl"


def published(directory: Path) -> list[bytes]:
    """Every root published in files, day by day."""
    return [line for file in sorted(directory.glob("*.jsonl")) for line in file.read_bytes().splitlines() if line]
