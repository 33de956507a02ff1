"""How the commands of ``gongji fund`` reach the books: a transaction that books, or a snapshot that answers."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeVar

import asyncpg

from services.account.seal_store import Tx
from shared.errors import Retry, ServerMissing
from shared.policy import Policies
from shared.runtime.command import stated
from shared.runtime.database import Database, reach, reader
from shared.runtime.settings import Settings

T = TypeVar("T")


def reason_given(reason: str, *, dry_run: bool) -> str:
    """The reason; a dry run needs none. Raises UsageError."""
    return reason if dry_run else stated(reason)


def loaded() -> tuple[Settings, Policies]:
    """The settings, and the packs they name."""
    settings = Settings.load()
    return settings, Policies.load(settings.policies, settings.parameters)


def booked(settings: Settings, work: Callable[[Tx], Awaitable[T]], *, dry_run: bool) -> T:
    """One transaction of the services' role. A dry run is the same, rolled back. Raises ServerMissing."""

    async def command() -> T:
        await reach(settings.postgres)
        database = Database(settings.postgres, role="gongji_service", name="gongji-fund")
        try:
            async with database.transaction() as tx:
                attempt = tx.transaction()
                await attempt.start()
                answer = await work(tx)
                await (attempt.rollback() if dry_run else attempt.commit())
        except Retry as trouble:
            remedy = f"{trouble}; either all of it was booked or nothing: run it again, it is never booked twice"
            raise ServerMissing("postgres", remedy) from trouble
        else:
            return answer
        finally:
            await database.close()

    return asyncio.run(command())


def answered(settings: Settings, question: Callable[[Tx], Awaitable[T]]) -> T:
    """What one snapshot of the books answers. Raises ServerMissing where there are no books."""

    async def ask() -> T:
        async with reader(settings.postgres) as connection:
            try:
                async with connection.transaction(isolation="repeatable_read"):
                    return await question(connection)
            except asyncpg.UndefinedTableError as error:
                raise ServerMissing("postgres", "there are no books in this database yet; start the services") from error

    return asyncio.run(ask())
