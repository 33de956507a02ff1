"""Waiting until account has booked what was commanded, by what its leases say."""

import asyncio
import time
from collections.abc import Callable
from typing import Final

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.errors import KafkaError

from services.account.commands import COMMANDS
from shared.errors import ServerMissing, Stop
from shared.runtime import access
from shared.runtime.database import Database

_STALLED_SECONDS: Final = 60.0
_LOOK_SECONDS: Final = 0.1

_DONE: Final = "select partition, next_offset from runtime.lease where service = 'account' and topic = $1"
_ASIDE: Final = "select count(*) from runtime.quarantine where service = 'account' and topic = $1 and state = 'held'"

Told = Callable[[int, int], None]  # pieces booked, of how many


class Bookings:
    """The pieces of one run on their way. Made before the first is sent."""

    def __init__(self, bootstrap: str, database: Database, partitions: int, tell: Told) -> None:
        self._bootstrap = bootstrap
        self._database = database
        self._partitions = partitions
        self._tell = tell
        self._starts: dict[int, int] = {}
        self._aside = 0

    async def begin(self) -> None:
        """Remembers where the log ends now, and what is set aside already. Raises ServerMissing, Retry."""
        self._starts = await self._ends()
        self._aside = (await self._look())[1]

    async def done(self) -> None:
        """Returns when everything sent so far is booked.

        Raises ServerMissing when nobody books, Stop when a piece was set aside.
        """
        ends = await self._ends()
        count = sum(ends.values()) - sum(self._starts.values())
        last, since = -1, time.monotonic()
        while True:
            done, aside = await self._look()
            if aside > self._aside:
                raise Stop("account set a piece of the run aside: see `gongji dead list`; the rest of the run is booked")
            booked = sum(max(min(done.get(p, 0), end) - self._starts[p], 0) for p, end in ends.items())
            self._tell(booked, count)
            if all(done.get(p, 0) >= end for p, end in ends.items()):
                return
            if booked != last:
                last, since = booked, time.monotonic()
            elif time.monotonic() - since > _STALLED_SECONDS:
                raise ServerMissing(
                    "account",
                    f"nothing is booked for {_STALLED_SECONDS:.0f} s; start it with `gongji serve account`, which books what was "
                    "sent, and give the command again",
                )
            await asyncio.sleep(_LOOK_SECONDS)

    async def _look(self) -> tuple[dict[int, int], int]:
        async with self._database.transaction() as tx:
            done = {row[0]: row[1] for row in await tx.fetch(_DONE, COMMANDS)}
            return done, await tx.fetchval(_ASIDE, COMMANDS)

    async def _ends(self) -> dict[int, int]:
        consumer = AIOKafkaConsumer(**access.kafka(self._bootstrap))
        places = [TopicPartition(COMMANDS, number) for number in range(self._partitions)]
        try:
            await consumer.start()
            return {place.partition: end for place, end in (await consumer.end_offsets(places)).items()}
        except (KafkaError, OSError, TimeoutError) as trouble:
            raise await access.kafka_missing(self._bootstrap, trouble) from trouble
        finally:
            await consumer.stop()
