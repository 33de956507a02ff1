"""The counter put together: intake's desk, with the trial and the accumulators, which need every service's pure code."""

import contextlib
import sys
from collections.abc import AsyncIterator
from typing import Any

import asyncpg

from services.accumulators import Accumulators
from services.eligibility.store import PostgresStore as RegisterBooks
from services.intake.answers import Answers
from services.intake.api import Counter
from services.intake.api_guard import Guard
from services.intake.api_server import Door, listening
from services.intake.desk import Desk
from services.intake.keys import Keys
from services.intake.limits import Buckets
from services.intake.postbox import Postbox
from services.intake.replies import Replies
from services.trial import ShownAccounts, ShownAccumulators, Trials
from shared.events import REJECTED, SETTLED
from shared.policy import Policies
from shared.runtime.cache import Cache
from shared.runtime.database import BY_KEYS
from shared.runtime.producer import Producer
from shared.runtime.settings import Settings
from shared.runtime.tail import Tail
from shared.runtime.topics import declared

_CONNECTIONS = 8
_BURST_SECONDS = 2


@contextlib.asynccontextmanager
async def counter(settings: Settings, policies: Policies, cache: Cache) -> AsyncIterator[None]:
    """Answers over HTTP until the block ends. Raises UsageError for an address that cannot be had."""
    door = Door.load()
    partitions = {name: topic.partitions for name, topic in declared(settings.partitions).items()}
    replies = Replies()
    tail = Tail(settings.kafka, {name: partitions[name] for name in (SETTLED, REJECTED)}, replies.hear, replies.wanted)
    producer = Producer(settings.kafka, partitions)
    postbox = Postbox(producer)
    async with asyncpg_pool(settings.postgres) as pool:
        answers = Answers(pool)
        trials = Trials(policies, RegisterBooks(), ShownAccumulators(cache), ShownAccounts(), pool.acquire)
        accumulators = Accumulators(policies, cache, pool.acquire)
        desk = Desk(postbox, replies, answers, tail, partitions=settings.partitions)
        places = Counter(desk, answers, trials, accumulators, partitions=settings.partitions).routes()
        buckets = Buckets(door.rate, door.rate * _BURST_SECONDS)
        guard = Guard(places, Keys(pool), buckets, settings.identity_secret)
        await tail.start()
        postbox.open()
        try:
            async with listening(guard, door) as url:
                sys.stderr.write(f"gongji: counter at {url}\n")
                yield
                replies.close()
        finally:
            await postbox.close()
            await producer.close()
            await tail.stop()


@contextlib.asynccontextmanager
async def asyncpg_pool(dsn: str) -> AsyncIterator[Any]:
    """Sessions that can only read."""
    settings = {
        "application_name": "gongji-counter",
        "default_transaction_read_only": "on",
        **BY_KEYS,
    }
    async with asyncpg.create_pool(
        dsn, min_size=1, max_size=_CONNECTIONS, server_settings=settings, command_timeout=10, init=_take_role, reset=_keep
    ) as pool:
        yield pool


async def _take_role(connection: Any) -> None:
    await connection.execute('set role "gongji_service"')


async def _keep(_connection: Any) -> None:
    """Sessions have nothing to reset, and a round trip a request would be a third of a trial's."""
