"""Postgres as the loop uses it: one connection a worker, one transaction a batch, errors told by what to do next."""

import asyncio
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import asyncpg
from asyncpg.protocol import protocol as wire

from shared.errors import Retry, ServerMissing, UsageError, worded

STATEMENT_SECONDS = 60.0

# asyncpg asks two abstract classes of every element of an array whether it is an array itself, which takes more than half of
# its time (0.37 of 0.66 µs an element, and a claim has a hundred). What is an array to us is one of these.
_ARRAYS: tuple[type, ...] = (list, tuple, set, frozenset, type({}.keys()), type({}.values()))
wire.IterableABC = wire.SizedABC = _ARRAYS  # type: ignore[attr-defined]

# A batch asks by keys, at any size of the tables, with statistics or without: always the index, in its order, never the whole
# table. So one plan serves for good, and is made once a session.
BY_KEYS = {
    "enable_bitmapscan": "off",
    "enable_hashjoin": "off",
    "enable_mergejoin": "off",
    "enable_seqscan": "off",
    "plan_cache_mode": "force_generic_plan",
    "jit": "off",
}

# What one record's content can cause: the batch is bisected to the offender. Everything else is the server's trouble.
OFFENCES = (asyncpg.IntegrityConstraintViolationError, asyncpg.DataError, asyncpg.ProgramLimitExceededError)
# InternalClientError: asyncpg's word for a backend that was ended between two statements.
TROUBLE = (asyncpg.PostgresError, asyncpg.InterfaceError, asyncpg.InternalClientError, OSError, TimeoutError)


class Database:
    """One connection to Postgres under one role, opened again after trouble.

    ``role`` is ``gongji_service`` for services (cannot change a posting) and ``gongji_ops`` for readers.
    """

    def __init__(self, dsn: str, *, role: str, name: str) -> None:
        self._dsn = dsn
        self._role = role
        self._name = name
        self._connection: asyncpg.Connection | None = None

    async def connection(self) -> asyncpg.Connection:
        """The open connection. Raises Retry while Postgres cannot be reached."""
        if self._connection is None or self._connection.is_closed():
            try:
                self._connection = await asyncio.wait_for(self._open(), STATEMENT_SECONDS)
            except TROUBLE as trouble:
                raise Retry(f"Postgres: {worded(trouble)}") from trouble
        return self._connection

    async def _open(self) -> asyncpg.Connection:
        connection = await asyncpg.connect(
            self._dsn,
            server_settings={
                "application_name": self._name,
                "lock_timeout": "10s",
                "idle_in_transaction_session_timeout": "30s",
                **BY_KEYS,
            },
            command_timeout=STATEMENT_SECONDS,
        )
        await connection.execute(f'set role "{self._role}"')
        return connection

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[asyncpg.Connection]:
        """One transaction, committed at the end. A failure of the server's becomes Retry and drops the connection.

        After Retry the outcome of a commit is unknown: read the lease, never assume.
        """
        connection = await self.connection()
        try:
            transaction = connection.transaction()
            await transaction.start()
            try:
                yield connection
            except BaseException:
                async with asyncio.timeout(STATEMENT_SECONDS):
                    await transaction.rollback()
                raise
            async with asyncio.timeout(STATEMENT_SECONDS):
                await transaction.commit()
        except OFFENCES:
            raise
        except TROUBLE as trouble:
            await self.drop()
            raise Retry(f"Postgres: {worded(trouble)}") from trouble
        except asyncio.CancelledError:
            await self.drop()
            raise

    async def drop(self) -> None:
        """Forgets the connection, whatever state it is in."""
        if self._connection is not None:
            self._connection.terminate()
            self._connection = None

    async def close(self) -> None:
        """Closes the connection in good order."""
        if self._connection is not None and not self._connection.is_closed():
            await self._connection.close(timeout=5)
        self._connection = None


@asynccontextmanager
async def by_keys(connection: asyncpg.Connection) -> AsyncIterator[None]:
    """Statements of this transaction go by keys as a batch's do, until the block ends; where it fails the server undoes that."""
    for name, value in BY_KEYS.items():
        await connection.execute(f"set local {name} = '{value}'")
    yield
    for name in BY_KEYS:
        await connection.execute(f"set local {name} to default")


async def reach(dsn: str) -> None:
    """Raises ServerMissing unless Postgres answers at this address, UsageError for an address that contradicts itself."""
    try:
        connection = await asyncio.wait_for(asyncpg.connect(dsn), 10)
        await connection.close()
    except asyncpg.InterfaceError as wrong:
        raise UsageError(f"GONGJI_POSTGRES: {wrong}") from wrong
    except (asyncpg.PostgresError, OSError, TimeoutError) as trouble:
        raise ServerMissing("postgres", f"{worded(trouble)}; {_remedy(trouble)}") from trouble


def _remedy(trouble: Exception) -> str:
    if isinstance(trouble, asyncpg.InvalidPasswordError):
        return "it refuses the user or the password of GONGJI_POSTGRES"
    if isinstance(trouble, asyncpg.InvalidAuthorizationSpecificationError):
        return "it takes no such session: perhaps GONGJI_POSTGRES lacks sslmode=verify-full and sslrootcert=FILE"
    if isinstance(trouble, ssl.SSLError):
        return "sslrootcert in GONGJI_POSTGRES must be the authority of its certificate, and its host the certificate's"
    return "start it (gongji servers up) or set GONGJI_POSTGRES"


@asynccontextmanager
async def reader(dsn: str) -> AsyncIterator[asyncpg.Connection]:
    """A read-only session of the ops role, for audits, summaries and questions. Raises ServerMissing."""
    await reach(dsn)
    connection = await asyncpg.connect(dsn, server_settings={"application_name": "gongji-ops", "jit": "off"})
    try:
        await connection.execute('set role "gongji_ops"; set default_transaction_read_only = on')
        yield connection
    finally:
        await connection.close()
