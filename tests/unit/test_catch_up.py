"""Redis brought up to the books again costs settlement nothing: not while it is away, not on a long way back."""

import asyncio
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any, ClassVar, cast

import asyncpg
from simulation import still

from shared.runtime import lease as leases
from shared.runtime.cache import Hot
from shared.runtime.catch_up import CatchUp
from shared.runtime.database import Database
from shared.runtime.holdings import Holdings
from shared.runtime.lease import Advance, Lease
from shared.runtime.step import Filed
from shared.runtime.takeover import Taker
from shared.runtime.telemetry import Telemetry

SERVICE, PLACE = "test", ("claims.eligible", 0)


@dataclass
class Redis:
    """A projection in pages of ten decisions, each of one counter, that may be away."""

    TROUBLE: ClassVar[tuple[type[Exception], ...]] = (OSError,)
    gone: bool = False
    unreadable: Exception | None = None  # what Postgres says instead of a page
    asked: int = 0
    reloaded: list[int] = field(default_factory=list)
    written: list[int] = field(default_factory=list)
    during: Callable[[], None] = lambda: None

    async def away(self) -> str:
        self.asked += 1
        return "nobody is there" if self.gone else ""

    def changed(self, filed: Sequence[Filed[Any]]) -> Sequence[Hot]:
        return [Hot("M", "2025", "used", one.decision, 1) for one in filed]

    async def reload(self, connection: Any, lease: Lease) -> tuple[Sequence[Hot], int]:  # noqa: ARG002 - the protocol names them
        self.reloaded.append(lease.projected_seq)
        if self.unreadable is not None:
            raise self.unreadable
        through = min(lease.projected_seq + 10, lease.out_seq)
        return [Hot("M", "2025", "used", seq, 1) for seq in range(lease.projected_seq + 1, through + 1)], through

    async def write(self, rows: Sequence[Hot]) -> None:
        self.during()
        await asyncio.sleep(0)
        if self.gone:
            raise OSError("away")
        self.written += [row.used for row in rows]

    async def sweep(self, connection: Any) -> int:  # noqa: ARG002 - the protocol names it
        return 0


class Postgres(Database):
    """Opened again as often as it is dropped."""

    def __init__(self, books: Any) -> None:
        super().__init__("", role="", name="")
        self._books = books

    async def _open(self) -> asyncpg.Connection:
        return cast("asyncpg.Connection", still.connection(self._books))


@dataclass
class Way:
    """A lease that is so many decisions behind, in books and in a worker's hand."""

    lease: Lease
    catch_up: CatchUp
    holdings: Holdings
    busy: asyncio.Lock
    books: Any

    @property
    def marked(self) -> tuple[int, int]:
        row = self.books.rows("runtime.lease")[SERVICE, *PLACE]
        return row["relayed_seq"], row["projected_seq"]


async def behind(redis: Redis, decisions: int, clock: Callable[[], float] = time.monotonic) -> Way:
    books = still.books()
    database = Postgres(books)
    async with database.transaction() as tx:
        lease = await leases.take(tx, SERVICE, PLACE, "k", "somebody")
        await leases.advance(tx, SERVICE, [(lease, Advance(1, b"digest", decisions, decided=decisions))])
    lease.out_seq, lease.projection_broken = decisions, True
    step = SimpleNamespace(service=SERVICE)
    taker = cast("Taker", SimpleNamespace(step=step, database=database, telemetry=Telemetry(SERVICE, "catch up")))
    holdings = Holdings(taker, redis, clock=clock)
    holdings._held[PLACE] = lease
    assert holdings._catch_up is not None
    return Way(lease, holdings._catch_up, holdings, holdings.busy, books)


async def test_a_redis_that_is_away_costs_a_question_now_and_then_and_nothing_else() -> None:
    """A frozen one takes a second to be given up: no batch waits for that, and nothing is read for it from Postgres."""
    now, redis = 1_000.0, Redis(gone=True)
    way = await behind(redis, 35, lambda: now)
    async with way.busy:  # a batch is at work all the time
        for _ in range(40):  # eight seconds of sweeps
            now += 0.2
            await asyncio.wait_for(way.catch_up.go_on(), 5)
    assert (redis.asked, redis.reloaded, redis.written) == (2, [], [])


async def test_a_long_way_is_gone_page_by_page_and_each_page_is_marked() -> None:
    redis, marked = Redis(), []
    way = await behind(redis, 35)
    redis.during = lambda: marked.append(way.marked[1])
    await way.catch_up.go_on()
    assert redis.written == list(range(1, 36))
    assert marked == [0, 10, 20, 30]
    assert way.marked == (0, 35)
    assert not way.lease.projection_broken


async def test_a_page_that_redis_did_not_take_is_where_it_goes_on() -> None:
    now, redis = 1_000.0, Redis()
    way = await behind(redis, 35, lambda: now)
    redis.during = lambda: setattr(redis, "gone", len(redis.written) >= 20)
    await way.catch_up.go_on()
    assert (way.lease.projection_broken, way.marked[1]) == (True, 20)
    redis.gone, redis.during = False, lambda: None
    now += 5
    await way.catch_up.go_on()
    assert redis.written == list(range(1, 36))
    assert not way.lease.projection_broken


async def test_between_two_pages_a_batch_has_its_turn() -> None:
    redis = Redis()
    way = await behind(redis, 35)
    seen: list[int] = []

    async def batch() -> None:
        async with way.busy:
            seen.append(len(redis.written))

    batches: list[asyncio.Task[None]] = []
    redis.during = lambda: batches.append(asyncio.create_task(batch()))
    await way.catch_up.go_on()
    await asyncio.gather(*batches)
    assert seen == [10, 20, 30, 35]


async def test_a_very_long_way_leaves_the_rest_of_the_sweep_its_turn() -> None:
    now, redis = 1_000.0, Redis()
    way = await behind(redis, 1_000, lambda: now)

    def slow() -> None:
        nonlocal now
        now += 0.3

    redis.during = slow
    await way.catch_up.go_on()
    assert redis.written == list(range(1, 41))
    await way.catch_up.go_on()
    assert redis.written == list(range(1, 81))


async def test_a_lease_that_is_no_longer_held_is_nothing_to_catch_up_with() -> None:
    redis = Redis()
    way = await behind(redis, 35)
    redis.during = way.holdings._held.clear
    await way.catch_up.go_on()
    assert redis.written == list(range(1, 11))


async def test_what_cannot_be_read_for_redis_keeps_no_mark_and_no_lease_from_its_turn() -> None:
    for failure in (asyncpg.QueryCanceledError("too long"), asyncpg.DataError("no such bytes"), ValueError("no event")):
        redis = Redis(unreadable=failure)
        way = await behind(redis, 35)
        way.lease.relayed_seq = 35
        for _ in range(3):
            await way.holdings.sweep()
        assert redis.reloaded == [0]
        assert way.marked == (35, 0)
        assert way.holdings.lease(PLACE) is way.lease
