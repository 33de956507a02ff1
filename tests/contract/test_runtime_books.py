"""The loop's own statements and locks do the same over the books of the simulation as over Postgres."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any, cast

import asyncpg
import pytest
from simulation import still
from waiting import until_sessions_wait

from deploy import migrations
from shared.errors import Fenced, Retry, Stop
from shared.runtime import lease as leases
from shared.runtime import quarantine, relay
from shared.runtime.database import TROUBLE, Database
from shared.runtime.lease import Advance, Lease
from shared.runtime.quarantine import Poison
from shared.runtime.relay import Outgoing, announce_again
from shared.runtime.step import Record
from shared.runtime.takeover import Taker
from shared.runtime.telemetry import Telemetry

SERVICE, TOPIC = "intake", "claims.submitted"


@dataclass
class Bench:
    """Books, and how to open a session on them."""

    connect: Callable[[], Awaitable[Any]]
    waits: Callable[[Any], Awaitable[None]]
    opened: list[Any] = field(default_factory=list)

    async def session(self) -> Any:
        self.opened.append(await self.connect())
        return self.opened[-1]

    async def take(self, tx: Any, partition: int = 0, cluster: str = "k") -> Lease:
        async with tx.transaction():
            return await leases.take(tx, SERVICE, (TOPIC, partition), cluster, "somebody")

    async def move(self, tx: Any, lease: Lease, out_seq: int, **counts: int) -> None:
        async with tx.transaction():
            await leases.advance(tx, SERVICE, [(lease, Advance(lease.next_offset + 1, b"digest", out_seq, **counts))])


@pytest.fixture(params=["simulated", pytest.param("postgres", marks=pytest.mark.servers)])
def place(request: pytest.FixtureRequest) -> str:
    return "" if request.param == "simulated" else str(request.getfixturevalue("fresh_database"))


@pytest.fixture
async def bench(place: str) -> AsyncIterator[Bench]:
    if not place:
        books = still.books()

        async def open_one() -> Any:
            return still.connection(books)

        async def waits(session: Any) -> None:
            while session.waits_for is None:  # noqa: ASYNC110 - nobody is told who begins to wait
                await asyncio.sleep(0)

        yield Bench(open_one, waits)
        return
    await asyncio.to_thread(migrations.run, place)

    async def one_waits(_: Any) -> None:
        await until_sessions_wait(place)

    made = Bench(lambda: asyncpg.connect(place), one_waits)
    yield made
    for session in made.opened:
        await session.close()


def poison(offset: int, claim: str | None = "C1", headers: tuple[tuple[str, bytes], ...] = (), size: int = 0) -> Poison:
    return Poison(Record(TOPIC, 0, offset, 0, b"k", b"v%d" % offset + bytes(size), headers), "failed", "why", claim, 5)


async def aside(tx: Any, *rows: tuple[Poison, int], redriven: tuple[int, ...] = ()) -> None:
    async with tx.transaction():
        await quarantine.record(tx, SERVICE, rows, redriven)
        await quarantine.close(tx, redriven)


async def test_taking_a_lease_raises_its_epoch_and_keeps_the_rest(bench: Bench) -> None:
    tx = await bench.session()
    first = await bench.take(tx)
    await bench.move(tx, first, 3, decided=2, rejected=1)
    second = await bench.take(tx)
    assert (first.epoch, second.epoch) == (1, 2)
    assert (second.next_offset, second.last_digest, second.out_seq, second.relayed_seq) == (1, b"digest", 3, 0)
    with pytest.raises(Stop):
        await bench.take(tx, cluster="another")


async def test_a_lease_of_another_epoch_fences(bench: Bench) -> None:
    tx = await bench.session()
    old = [await bench.take(tx, number) for number in (0, 1)]
    await bench.take(tx, 1)
    with pytest.raises(Fenced) as fenced:
        await leases.fence(tx, SERVICE, old)
    assert fenced.value.args[0] == [(TOPIC, 1)]


async def test_marks_never_go_back_nor_past_what_was_decided_nor_for_another_epoch(bench: Bench) -> None:
    tx = await bench.session()
    lease = await bench.take(tx)
    await bench.move(tx, lease, 5, decided=5)

    async def marked(relayed: int, projected: int) -> tuple[int, int]:
        lease.relayed_seq, lease.projected_seq = relayed, projected
        async with tx.transaction():
            await leases.mark(tx, SERVICE, [lease])
        stored = await bench.take(tx)
        lease.epoch = stored.epoch
        return stored.relayed_seq, stored.projected_seq

    assert await marked(3, 2) == (3, 2)
    assert await marked(1, 4) == (3, 4)
    assert await marked(9, 9) == (5, 5)
    lease.relayed_seq = lease.projected_seq = 5
    await bench.move(tx, lease, 7, decided=2)
    lease.epoch -= 1
    assert await marked(7, 7) == (5, 5)


async def test_a_mark_above_what_was_decided_is_refused(bench: Bench) -> None:
    tx = await bench.session()
    lease = await bench.take(tx)
    lease.relayed_seq = 4
    with pytest.raises(asyncpg.CheckViolationError):
        await bench.move(tx, lease, 3)


async def test_a_rolled_back_transaction_leaves_nothing(bench: Bench) -> None:
    tx = await bench.session()
    lease = await bench.take(tx)
    given_up = tx.transaction()
    await given_up.start()
    await leases.advance(tx, SERVICE, [(lease, Advance(9, b"", 9))])
    await given_up.rollback()
    assert (await bench.take(tx)).next_offset == 0


async def test_a_lock_waits_for_its_holder_and_sees_what_he_committed(bench: Bench) -> None:
    one, other = await bench.session(), await bench.session()
    lease = await bench.take(one)
    holding = one.transaction()
    await holding.start()
    await leases.fence(one, SERVICE, [lease])
    taking = asyncio.create_task(bench.take(other))
    await bench.waits(other)
    await leases.advance(one, SERVICE, [(lease, Advance(7, b"", 0))])
    await holding.commit()
    assert (await taking).next_offset == 7


async def test_two_that_wait_for_each_other_are_told_apart(bench: Bench) -> None:
    one, other = await bench.session(), await bench.session()
    first, second = await bench.take(one, 0), await bench.take(one, 1)

    async def lock(session: Any, lease: Lease) -> None:
        await leases.fence(session, SERVICE, [lease])

    a, b = one.transaction(), other.transaction()
    await a.start()
    await b.start()
    await lock(one, first)
    await lock(other, second)
    waiting = asyncio.create_task(lock(one, second))
    await bench.waits(one)
    results = await asyncio.gather(lock(other, first), return_exceptions=True)
    if results[0] is not None:  # whichever of the two Postgres picks
        await b.rollback()
        await waiting
        await a.rollback()
    else:
        with pytest.raises(asyncpg.DeadlockDetectedError):
            await waiting
        await a.rollback()
        await b.rollback()
    assert results[0] is None or isinstance(results[0], asyncpg.DeadlockDetectedError)


async def test_a_frozen_holder_is_evicted_and_its_work_is_gone(bench: Bench) -> None:
    one, other = await bench.session(), await bench.session()
    lease = await bench.take(one)
    await one.execute("set application_name = 'gongji-test'") if isinstance(one, asyncpg.Connection) else None
    await one.transaction().start()
    await leases.advance(one, SERVICE, [(lease, Advance(5, b"", 0))])
    trying = other.transaction()
    await trying.start()
    await other.execute("set local lock_timeout = '0.1s'")
    with pytest.raises(asyncpg.LockNotAvailableError):
        await leases.take(other, SERVICE, (TOPIC, 0), "k", "next")
    await trying.rollback()
    async with other.transaction():
        assert await leases.evict(other, SERVICE, (TOPIC, 0)) == 1
    assert (await bench.take(other)).next_offset == 0
    with pytest.raises(TROUBLE):
        await one.fetch(leases._FENCE, SERVICE, [TOPIC], [0])


async def test_what_is_held_keeps_its_rank_when_it_fails_again(bench: Bench) -> None:
    tx = await bench.session()
    await aside(tx, (poison(0), 1), (poison(1), 2), (poison(2, None), 3))
    held = await quarantine.held(tx, SERVICE, ["C1", "C2"])
    (first, rank), (second, _) = sorted(held["C1"].items())
    assert rank == first
    again = (("gongji-redrive", str(first).encode()),)
    assert await quarantine.genuine(tx, SERVICE, {first: poison(0).record, second: poison(9).record}) == {first}
    await aside(tx, (poison(3, headers=again), 4), redriven=(first,))
    held = await quarantine.held(tx, SERVICE, ["C1"])
    assert sorted(held["C1"].values()) == [first, second]
    assert first not in held["C1"]
    assert await quarantine.genuine(tx, SERVICE, {first: poison(0).record}) == set()


async def test_one_record_is_set_aside_once(bench: Bench) -> None:
    tx = await bench.session()
    await aside(tx, (poison(0), 1))
    with pytest.raises(asyncpg.UniqueViolationError):
        await aside(tx, (poison(0), 2))
    with pytest.raises(asyncpg.UniqueViolationError):
        await aside(tx, (poison(1), 1))


async def test_what_was_not_relayed_is_announced_again_in_its_order(bench: Bench) -> None:
    tx = await bench.session()
    lease = await bench.take(tx)
    await aside(tx, (poison(1), 2), (poison(0), 1), (poison(2), 3))
    lease.out_seq, lease.relayed_seq = 3, 1
    sent: list[Outgoing] = []

    class Sender:
        async def send(self, outgoing: Any) -> None:
            sent.extend(outgoing)

    told: list[int] = []
    assert await announce_again(tx, cast("Any", Sender()), SERVICE, "intake.outgoing", lease, told=told.append) == 2
    assert told == [2]
    assert [one.message.value for one in sent] == [b"v1", b"v2"]
    assert dict(sent[0].headers)["offset"] == b"1"
    assert lease.relayed_seq == 3


async def test_what_was_announced_again_is_marked_when_the_lease_is_taken(bench: Bench) -> None:
    """A reversal waits for the mark of its claim, and while it waits its batch gives up every lease it touches."""
    tx = await bench.session()
    await bench.move(tx, await bench.take(tx), 1, decided=1)
    await aside(tx, (poison(0), 1))
    database = Database("", role="", name="")
    database._connection = tx

    class Sender:
        async def send(self, outgoing: Any) -> None: ...

    step = cast("Any", SimpleNamespace(service=SERVICE, outbox=None))
    taker = Taker(step, database, cast("Any", Sender()), Telemetry("test", "books"), "k", "next")
    await taker.take((TOPIC, 0), (0, 1), cast("Any", None))
    again = await bench.take(tx)
    assert (again.out_seq, again.relayed_seq) == (1, 1)


async def test_a_long_way_to_a_lease_is_gone_in_pages_and_what_was_acknowledged_stays_so(bench: Bench) -> None:
    """Large messages make small pages; trouble loses the page it comes in; each page shows that the process is alive."""
    tx = await bench.session()
    await bench.move(tx, await bench.take(tx), 4, decided=4)
    await aside(tx, *((poison(number, size=relay.PAGE_BYTES * 3 // 5), number + 1) for number in range(4)))
    database = Database("", role="", name="")
    database._connection = tx
    pages: list[int] = []
    telemetry = Telemetry("test", "books")

    class Sender:
        async def send(self, outgoing: Any) -> None:
            if pages == [2]:
                pages.append(0)
                raise Retry("no answer")
            pages.append(len(outgoing))

    step = cast("Any", SimpleNamespace(service=SERVICE, outbox=None))
    taker = Taker(step, database, cast("Any", Sender()), telemetry, "k", "next")
    telemetry.last_progress = 0.0
    with pytest.raises(Retry, match="no answer"):
        await taker.take((TOPIC, 0), (0, 1), cast("Any", None))
    assert telemetry.last_progress > 0
    assert (await bench.take(tx)).relayed_seq == 2
    await taker.take((TOPIC, 0), (0, 1), cast("Any", None))
    assert pages == [2, 0, 2]
    assert (await bench.take(tx)).relayed_seq == 4


async def test_bounds_older_than_the_lease_are_asked_for_again(bench: Bench) -> None:
    """Whoever had it went on after we had asked where the log ends: no reason to stop the partition."""
    tx = await bench.session()
    await bench.move(tx, await bench.take(tx), 0, decided=1)
    database = Database("", role="", name="")
    database._connection = tx
    step = cast("Any", SimpleNamespace(service=SERVICE, outbox=None))
    taker = Taker(step, database, cast("Any", None), Telemetry("test", "books"), "k", "next")
    answers = [(0, 1), (0, 0)]

    async def ask() -> tuple[int, int]:
        return answers.pop(0)

    lease, offset = await taker.take((TOPIC, 0), (0, 0), ask)
    assert (lease.next_offset, offset) == (1, 0)
    with pytest.raises(Stop, match="tail is lost"):
        await taker.take((TOPIC, 0), (0, 0), ask)
