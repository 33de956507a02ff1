"""The loop while a server is in trouble: it tries again, sets nothing aside, and learns what became of a commit."""

from collections.abc import Sequence
from typing import Any

import asyncpg
import pytest
from asyncpg.transaction import Transaction
from diary import claims, line
from loop_world import World

pytestmark = pytest.mark.servers


@pytest.mark.parametrize(
    "trouble",
    [
        asyncpg.DeadlockDetectedError("deadlock detected"),
        asyncpg.SerializationError("could not serialize access"),
        asyncpg.QueryCanceledError("statement timeout"),
        asyncpg.TooManyConnectionsError("too many"),
        asyncpg.ConnectionDoesNotExistError("gone"),
        OSError("network"),
        TimeoutError(),
    ],
    ids=lambda trouble: type(trouble).__name__,
)
async def test_trouble_of_a_server_is_tried_again_and_sets_nothing_aside(world: World, trouble: Exception) -> None:
    left = [trouble, trouble]

    async def during(_: Any, __: Sequence[Any]) -> None:
        if left:
            raise left.pop()

    await world.send([line("C1")])  # alone, so that nothing could be bisected
    await world.worker(world.diary(during=during))
    await world.applied(1)
    assert left == []
    assert await world.noted() == ["C1"]
    assert await world.quarantined() == []
    assert await world.announced() == ["C1"]


async def test_a_backend_ended_inside_a_transaction_loses_nothing(world: World) -> None:
    ended: list[bool] = []

    async def during(tx: asyncpg.Connection, _: Sequence[Any]) -> None:
        if len(ended) < 3:
            ended.append(await world.books.fetchval("select pg_terminate_backend($1)", tx.get_server_pid()))

    await world.worker(world.diary(during=during), batch_max=20)
    await world.send([line(claim) for claim in claims(100)])
    await world.applied(100)
    assert len(ended) == 3
    assert await world.noted() == claims(100)
    assert sorted(await world.announced()) == sorted(claims(100))


@pytest.mark.parametrize("committed", [True, False])
async def test_a_commit_of_unknown_outcome_is_resolved_by_the_lease(
    world: World, monkeypatch: pytest.MonkeyPatch, committed: bool
) -> None:
    """The connection goes as the commit is sent, before or after the server did it."""
    commit = Transaction.commit
    unknown = 3

    async def uncertain(transaction: Transaction) -> None:
        nonlocal unknown
        connection: asyncpg.Connection = getattr(transaction, "_connection")  # noqa: B009 - the stubs do not show it
        batch = await connection.fetchval("select count(*) from diary.entry where xmin = pg_current_xact_id()::xid")
        if not (batch and unknown):
            return await commit(transaction)
        unknown -= 1
        if committed:
            await commit(transaction)
        connection.terminate()
        raise asyncpg.ConnectionDoesNotExistError("connection was closed in the middle of operation")

    monkeypatch.setattr(Transaction, "commit", uncertain)
    await world.worker(batch_max=20)
    await world.send([line(claim) for claim in claims(100)])
    await world.applied(100)
    assert unknown == 0
    assert await world.noted() == claims(100)
    assert sorted(await world.announced()) == sorted(claims(100))
    await world.is_gapless()
