"""A session with the books: transactions, row locks, deadlocks, and a connection that breaks.

Read committed, as the services use it: what a transaction wrote is its own until it commits, a lock waits for whoever has
it, two that wait for each other are told apart. A statement may fail, its connection may end, its outcome may stay unknown.
"""

from collections.abc import Iterator, Sequence
from typing import Any, Final, Protocol

import asyncpg

from simulation.books import Books, Spot

LOCK_SECONDS: Final = 10.0
IDLE_SECONDS: Final = 30.0  # in a transaction: its backend is ended


class Client(Protocol):
    """Whose connection it is: a process, which may stand still, or never come back."""

    name: str

    async def call(self) -> None:
        """Passes the time a message takes; returns when (and if) the process runs."""

    async def crash(self) -> None:
        """Dies here, if it is its fate; returns never then."""


class Connection:
    """One session. The loop's own code sees it as asyncpg's; the stores of this package ask it for rows."""

    def __init__(self, books: Books, client: Client, run: "Statement | None" = None) -> None:
        self.books = books
        self.client = client
        self._run = run
        self._ended = False
        self._in_transaction = False
        self._failed = False
        self._written: dict[Spot, Any] = {}
        self._lock_seconds = LOCK_SECONDS
        self.held: set[Spot] = set()
        self.waits_for: Spot | None = None
        self.statements = 0

    # -- as asyncpg ------------------------------------------------------------------------------------------------

    def transaction(self) -> "Transaction":
        return Transaction(self)

    def is_closed(self) -> bool:
        return self._ended

    def terminate(self) -> None:
        self.end()

    async def close(self, timeout: float | None = None) -> None:  # noqa: ARG002, ASYNC109 - asyncpg's own
        self.end()

    async def fetch(self, statement: str, *arguments: Any) -> list[dict[str, Any]]:
        await self.statement(statement.split("where", maxsplit=1)[0])
        if statement.startswith("set local lock_timeout"):
            self._lock_seconds = float(statement.split("'")[1].removesuffix("s"))
            return []
        if statement.startswith("set local"):
            return []
        assert self._run is not None
        try:
            return await self._run(self, statement, arguments)
        except asyncpg.PostgresError:
            self._failed = self._in_transaction
            raise
        finally:
            if not self._in_transaction:
                self.books.release(self)

    async def fetchrow(self, statement: str, *arguments: Any) -> dict[str, Any] | None:
        rows = await self.fetch(statement, *arguments)
        return rows[0] if rows else None

    async def fetchval(self, statement: str, *arguments: Any) -> Any:
        row = await self.fetchrow(statement, *arguments)
        return next(iter(row.values())) if row else None

    async def execute(self, statement: str, *arguments: Any) -> None:
        await self.fetch(statement, *arguments)

    # -- transactions ----------------------------------------------------------------------------------------------

    async def begin(self) -> None:
        await self.statement("begin")
        self._in_transaction = True
        self._lock_seconds = LOCK_SECONDS

    async def commit(self) -> None:
        """May end in four ways: done, not done, and both of them without an answer."""
        chance, whom = self.books.chance, self.client.name
        await self.client.call()
        self._must_live()
        if chance.hits("lost before commit", whom):
            self._lose()
        if chance.hits("crash in commit", whom):
            if chance.happens(0.5):
                self._apply()
            await self.client.crash()
        self._apply()
        if chance.hits("lost after commit", whom):
            self._lose()
        await self.client.call()

    async def rollback(self) -> None:
        self._must_live()
        self._over()
        await self.client.call()

    def end(self) -> None:
        """The connection is gone: Postgres rolls back what it had not committed."""
        self._ended = True
        self._over()
        if self.waits_for is not None:
            self.books.wake(self.waits_for)

    def end_if_idle(self, statements: int) -> None:
        """As idle_in_transaction_session_timeout does."""
        if self._in_transaction and self.waits_for is None and self.statements == statements:
            self.books.chance.tell("idle in its transaction: ended", self.client.name)
            self.end()

    def _apply(self) -> None:
        if not self._failed:
            for (table, key), row in self._written.items():
                self.books.rows(table)[key] = row
        self._over()

    def _over(self) -> None:
        self._in_transaction = self._failed = False
        self._written.clear()
        self.books.release(self)

    def _lose(self) -> None:
        self.end()
        raise asyncpg.ConnectionDoesNotExistError("connection was closed in the middle of operation")

    def _must_live(self) -> None:
        if self._ended:
            raise self.books.chance.one_of(_CLOSED)("the connection is closed")

    # -- statements ------------------------------------------------------------------------------------------------

    async def statement(self, what: str) -> None:
        """One round trip: passes time, and may fail as any statement can."""
        self.statements += 1
        await self.client.call()
        self._must_live()
        if self._failed:
            raise asyncpg.InFailedSQLTransactionError("current transaction is aborted")
        chance, whom = self.books.chance, self.client.name
        if chance.hits("connection lost", whom):
            self._lose()
        if chance.hits("backend ended", whom):
            self.end()
            raise asyncpg.AdminShutdownError("terminating connection due to administrator command")
        for kind, failure in _FAILURES:
            if chance.hits(kind, whom):
                self._failed = self._in_transaction
                raise failure(f"{kind}, at: {what.strip()[:40]}")

    def get(self, table: str, key: Any) -> Any:
        """A row as this transaction sees it; None where there is none."""
        spot = (table, key)
        return self._written[spot] if spot in self._written else self.books.rows(table).get(key)

    def all(self, table: str) -> Iterator[tuple[Any, Any]]:
        """Every row as this transaction sees it, in the order in which they came."""
        mine = {key: row for (name, key), row in self._written.items() if name == table}
        return iter((self.books.rows(table) | mine).items())

    def put(self, table: str, key: Any, row: Any) -> None:
        """Writes a row that is locked. Raises CheckViolationError."""
        assert (table, key) in self.held, f"{table} {key} is written without its lock"
        check = self.books.checks.get(table)
        if check is not None and not check(key, row):
            self._failed = self._in_transaction
            raise asyncpg.CheckViolationError(f"{table}: {key}")
        if self._in_transaction:
            self._written[table, key] = row
        else:
            self.books.rows(table)[key] = row

    async def lock(self, table: str, key: Any) -> None:
        """Locks a row, or its absence. Raises DeadlockDetectedError, LockNotAvailableError."""
        spot, books = (table, key), self.books
        while books.locks.get(spot, self) is not self:
            if self._closes_a_circle(spot):
                books.deadlocks.append(f"{self.client.name} at {spot}")
                books.chance.tell(f"deadlock at {spot}", self.client.name)
                self._failed = self._in_transaction
                raise asyncpg.DeadlockDetectedError(f"at {table}")
            self.waits_for = spot
            try:
                await books.wait(spot, self._lock_seconds)
            except TimeoutError:
                self._failed = self._in_transaction
                raise asyncpg.LockNotAvailableError(f"canceling statement due to lock timeout at {table}") from None
            finally:
                self.waits_for = None
            if self._ended:
                books.wake(spot)
                await self.client.call()
                self._must_live()
        books.locks[spot] = self
        self.held.add(spot)

    async def insert(self, table: str, key: Any, row: Any) -> None:
        """A new row. Raises UniqueViolationError."""
        if not await self.insert_or_leave(table, key, row):
            self._failed = self._in_transaction
            raise asyncpg.UniqueViolationError(f"{table}: {key} is there")

    async def insert_or_leave(self, table: str, key: Any, row: Any) -> bool:
        """A new row, unless there is one (on conflict do nothing); who is inserting it now is waited for."""
        if self.get(table, key) is not None:
            return False
        await self.lock(table, key)
        if self.get(table, key) is not None:
            self.held.discard((table, key))
            self.books.let_go(self, (table, key))
            return False
        self.put(table, key, row)
        return True

    def _closes_a_circle(self, spot: Spot) -> bool:
        holder = self.books.locks.get(spot)
        while holder is not None and holder is not self:
            holder = None if holder.waits_for is None else self.books.locks.get(holder.waits_for)
        return holder is self


_CLOSED: Final = (asyncpg.ConnectionDoesNotExistError, asyncpg.InterfaceError, asyncpg.InternalClientError)
_FAILURES: Final = (
    ("deadlock", asyncpg.DeadlockDetectedError),
    ("serialization", asyncpg.SerializationError),
    ("statement failed", asyncpg.OutOfMemoryError),
)


class Statement(Protocol):
    """Runs what the loop's own modules say in SQL."""

    async def __call__(self, tx: Connection, statement: str, arguments: Sequence[Any]) -> list[dict[str, Any]]: ...


class Transaction:
    """As asyncpg's."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    async def start(self) -> None:
        await self._connection.begin()

    async def commit(self) -> None:
        await self._connection.commit()

    async def rollback(self) -> None:
        await self._connection.rollback()

    async def __aenter__(self) -> None:
        await self.start()

    async def __aexit__(self, kind: type[BaseException] | None, *_: object) -> None:
        await (self.rollback() if kind else self.commit())
