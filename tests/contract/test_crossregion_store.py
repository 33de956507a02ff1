"""Both stores of crossregion file the same obligations into the same windows: in memory, and in Postgres."""

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import asyncpg
import msgspec
import pytest
from simulation import still
from simulation.ledgers import CrossregionStore
from waiting import until_sessions_wait

from services.crossregion.memory import MemoryStore
from services.crossregion.netting import Net, Position
from services.crossregion.routing import Settled
from services.crossregion.steps import CrossregionStep
from services.crossregion.store import PostgresStore, Store
from services.crossregion.windows import announcement
from shared.errors import UsageError
from shared.events import SETTLED
from shared.outcome import Outcome, encode
from shared.runtime.step import Filed, Record

SQL = Path(__file__).parents[2] / "deploy/migrations/sql/0001_crossregion.sql"
HOME, AWAY = "130900", "440800"
NOW = datetime(2100, 1, 1, tzinfo=UTC)  # a closing is never earlier than the opening


class Clearing:
    """The step over a store, batch by batch, as the loop drives it."""

    def __init__(self, store: Store, tx: Any = None, partition: int = 0) -> None:
        self.store = store
        self.tx = tx
        self.step = CrossregionStep(store)
        self.partition = partition
        self.announced = 0

    async def file(self, *outcomes: Outcome) -> list[bool]:
        """Files a batch; says of each outcome whether it gave an obligation."""
        events = [self.decoded(outcome) for outcome in outcomes]
        facts = await self.step.load(self.tx, events)
        decisions = [self.step.decide(event, facts) for event in events]
        filed = []
        for decision in decisions:
            if decision is not None:
                self.announced += 1
                message = self.step.announce(decision)
                filed.append(Filed(decision, SETTLED, self.partition, 0, self.announced, message))
        await self.step.record(self.tx, filed)
        return [decision is not None for decision in decisions]

    def decoded(self, outcome: Outcome) -> Settled:
        return self.step.decode(Record(SETTLED, 0, 0, 0, None, encode(outcome)))


def outcome(number: str, fund: str, *, insured: str = HOME, care: str = AWAY, **fields: Any) -> Outcome:
    kind, word = fields.pop("kind", "claim"), "reversed" if fund.startswith("-") else "settled"
    named: dict[str, Any] = {"use_no": number} if kind == "account_use" else {"claim_no": number}
    shown: dict[str, Any] = {"insured_region": insured, "care_region": care, "fund_total": fund}
    return Outcome(kind=kind, institution_id="I1", member_id="M1", event_id="0", outcome=word, **named | shown | fields)


@pytest.fixture(params=["memory", "simulated", pytest.param("postgres", marks=pytest.mark.servers)])
async def clearing(request: pytest.FixtureRequest) -> AsyncIterator[Clearing]:
    if request.param == "memory":
        yield Clearing(MemoryStore())
        return
    if request.param == "simulated":
        yield Clearing(CrossregionStore(), tx=still.connection())
        return
    connection = await asyncpg.connect(request.getfixturevalue("fresh_database"))
    await connection.execute(SQL.read_text())
    async with connection.transaction():
        yield Clearing(PostgresStore(), tx=connection)
    await connection.close()


async def test_only_money_that_crosses_a_border_is_owed(clearing: Clearing) -> None:
    filed = await clearing.file(
        outcome("C1", "10.00"),
        outcome("C2", "10.00", care=HOME),
        outcome("C3", "0.00", cash="10.00"),
        outcome("U1", "0.00", kind="account_use", account="3.00"),
        outcome("C4", "0.00", account="1.00", family_account="2.50"),
    )
    assert filed == [True, False, False, True, True]
    window = await clearing.store.window(clearing.tx)
    assert window.positions == (Position(HOME, AWAY, 1_650, 3),)


async def test_a_repeat_is_dropped_in_the_same_batch_and_in_a_later_one(clearing: Clearing) -> None:
    one = outcome("C1", "10.00")
    assert await clearing.file(one, one) == [True, False]
    assert await clearing.file(one, outcome("C2", "1.00")) == [False, True]
    window = await clearing.store.window(clearing.tx)
    assert window.positions == (Position(HOME, AWAY, 1_100, 2),)


async def test_a_closed_window_stays_as_it_is_and_a_late_reversal_goes_into_the_next(clearing: Clearing) -> None:
    await clearing.file(outcome("C1", "10.00"), outcome("C2", "4.00", insured=AWAY, care=HOME))
    closed = await clearing.store.close(clearing.tx, NOW)
    await clearing.file(outcome("C1", "-10.00", kind="reversal"))
    assert closed == await clearing.store.window(clearing.tx, closed.window_id)
    assert closed.positions == (Position(HOME, AWAY, 1_000, 1), Position(AWAY, HOME, 400, 1))
    assert closed.nets == (Net(HOME, 400, 1_000), Net(AWAY, 1_000, 400))
    following = await clearing.store.window(clearing.tx)
    assert following.closed_at is None
    assert following.positions == (Position(HOME, AWAY, -1_000, 1),)
    assert closed.window_id < following.window_id


async def test_every_figure_is_traceable_to_its_claims(clearing: Clearing) -> None:
    await clearing.file(outcome("C2", "4.00"), outcome("C1", "10.00"), outcome("C1", "-10.00", kind="reversal"))
    window = await clearing.store.window(clearing.tx)
    obligations = await clearing.store.obligations(clearing.tx, window.window_id)
    assert [(one.key, one.amount) for one in obligations] == [
        (("I1", "C1", "claim", 0), 1_000),
        (("I1", "C1", "reversal", 0), -1_000),
        (("I1", "C2", "claim", 0), 400),
    ]
    assert window.positions == (Position(HOME, AWAY, 400, 3),)


async def test_a_closed_window_is_announced_until_it_is_noted(clearing: Clearing) -> None:
    await clearing.file(outcome("C1", "10.00"))
    closed = await clearing.store.close(clearing.tx, NOW)
    assert await clearing.store.unannounced(clearing.tx) == [closed.window_id]
    said = msgspec.json.decode(announcement(closed).value)
    assert said["regions"] == [
        {"region": HOME, "receivable": "0.00", "payable": "10.00", "net": "-10.00"},
        {"region": AWAY, "receivable": "10.00", "payable": "0.00", "net": "10.00"},
    ]
    again = await clearing.store.window(clearing.tx, closed.window_id)
    assert announcement(again).value == announcement(closed).value
    await clearing.store.announced(clearing.tx, [closed.window_id], NOW)
    assert await clearing.store.unannounced(clearing.tx) == []


async def test_an_empty_window_can_be_closed(clearing: Clearing) -> None:
    with pytest.raises(UsageError):
        await clearing.store.window(clearing.tx, 1)
    closed = await clearing.store.close(clearing.tx, NOW)
    assert (closed.positions, closed.nets) == ((), ())


@pytest.mark.servers
async def test_a_window_closes_only_when_nobody_is_filing_into_it(fresh_database: str) -> None:
    first, second, third = [await asyncpg.connect(fresh_database) for _ in range(3)]
    await first.execute(SQL.read_text())
    store = PostgresStore()
    one, other = Clearing(store, first), Clearing(store, third, partition=1)
    filing = first.transaction()
    await filing.start()
    await one.file(outcome("C1", "10.00"))  # opens the first window, uncommitted

    async def close() -> int:
        async with second.transaction():
            return (await store.close(second, NOW)).window_id

    async def file_later() -> None:
        async with third.transaction():
            await other.file(outcome("C2", "1.00"))

    closing = asyncio.create_task(close())
    await until_sessions_wait(fresh_database)
    late = asyncio.create_task(file_later())
    await until_sessions_wait(fresh_database, 2)
    assert not closing.done()
    assert not late.done()
    await filing.commit()
    closed = await store.window(first, await closing)
    await late
    assert closed.positions == (Position(HOME, AWAY, 1_000, 1),)
    assert (await store.window(first)).positions == (Position(HOME, AWAY, 100, 1),)
    for connection in (first, second, third):
        await connection.close()
