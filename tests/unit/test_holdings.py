"""What a worker admits to its books, and what it forgets at the first doubt."""

import time
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, cast

import pytest

from shared.errors import Retry, Stop
from shared.runtime.batch import digest
from shared.runtime.cache import Hot
from shared.runtime.database import Database
from shared.runtime.holdings import Holdings
from shared.runtime.lease import Lease, Place
from shared.runtime.step import Filed, Record
from shared.runtime.takeover import Bounds, Taker, fits, proves
from shared.runtime.telemetry import Telemetry

TOPIC = "claims.accepted"
PLACE = (TOPIC, 0)


@dataclass
class Log:
    """A consumer that remembers where it was sent."""

    places: set[Place] = field(default_factory=lambda: {PLACE})
    went: list[tuple[Place, int]] = field(default_factory=list)
    parked: set[Place] = field(default_factory=set)

    def assigned(self) -> set[Place]:
        return set(self.places)

    def hold(self, place: Place) -> None:
        self.parked.add(place)

    def go(self, place: Place, offset: int) -> None:
        self.parked.discard(place)
        self.went.append((place, offset))

    async def bounds(self, places: Iterable[Place]) -> Mapping[Place, tuple[int, int]]:
        return dict.fromkeys(places, (0, 1000))

    async def advise(self, offsets: Mapping[Place, int]) -> None: ...

    async def waiting(self, offsets: Mapping[Place, int], *, resting: bool) -> int:  # noqa: ARG002 - the protocol names it
        return 0


@dataclass
class Taking:
    """Takes any lease, as it stands in ``leases``; or raises."""

    leases: dict[Place, Lease]
    failing: list[Exception] = field(default_factory=list)
    telemetry: Telemetry = field(default_factory=lambda: Telemetry("test", "holdings"))
    database: Database = field(default_factory=lambda: cast("Database", None))
    step: Any = field(default_factory=lambda: type("S", (), {"service": "test"}))

    async def take(self, place: Place, bounds: Bounds, ask: Callable[[], Awaitable[Bounds]]) -> tuple[Lease, int]:
        assert await ask() == bounds
        if self.failing:
            raise self.failing.pop(0)
        lease = self.leases[place]
        fits(lease, bounds)
        return lease, max(lease.next_offset - 1, 0)


@dataclass
class Redis:
    """A projection that may be away."""

    TROUBLE: ClassVar[tuple[type[Exception], ...]] = (OSError,)
    gone: bool = False
    written: list[int] = field(default_factory=list)

    def changed(self, filed: Sequence[Filed[Any]]) -> Sequence[Hot]:
        return [Hot("M", "2025", "used", one.decision, 1) for one in filed]

    async def away(self) -> str:
        return "away" if self.gone else ""

    async def reload(self, connection: Any, lease: Lease) -> tuple[Sequence[Hot], int]:  # noqa: ARG002 - the protocol names them
        return [], lease.out_seq

    async def write(self, rows: Sequence[Hot]) -> None:
        if self.gone:
            raise OSError("away")
        self.written += [row.used for row in rows]

    async def sweep(self, connection: Any) -> int:  # noqa: ARG002 - the protocol names it
        return 0


def record(offset: int, value: bytes = b"v", partition: int = 0) -> Record:
    return Record(TOPIC, partition, offset, 0, b"k", value)


def lease(next_offset: int = 10, last: bytes | None = b"v", partition: int = 0) -> Lease:
    known = digest(record(next_offset - 1, last)) if last is not None else None
    return Lease(TOPIC, partition, 1, next_offset, known, 0, 0, 0)


async def holding(
    *held: Lease, projection: Redis | None = None, clock: Callable[[], float] = time.monotonic
) -> tuple[Holdings, Log]:
    log = Log({one.place for one in held})
    holdings = Holdings(cast("Taker", Taking({one.place: one for one in held})), projection, clock=clock)
    holdings.log = log
    await holdings.assigned(log.places)
    return holdings, log


def offsets(admitted: Iterable[Record]) -> list[int]:
    return [one.offset for one in admitted]


async def test_the_record_applied_last_proves_the_log_and_is_not_applied_again() -> None:
    holdings, log = await holding(lease(10))
    assert log.went == [(PLACE, 9)]
    assert offsets(holdings.admit([record(9), record(10), record(11)])) == [10, 11]
    assert offsets(holdings.admit([record(11), record(12)])) == [11, 12]


async def test_what_was_fetched_before_the_seek_is_dropped_and_asked_for_once_more() -> None:
    holdings, log = await holding(lease(10))
    assert holdings.admit([record(n) for n in range(40, 50)]) == []
    assert log.went == [(PLACE, 9)] * 2  # one seek for the whole stale batch
    assert offsets(holdings.admit([record(9), record(10)])) == [10]


async def test_a_log_that_begins_later_is_believed_the_second_time_before_anything_was_applied() -> None:
    """An aborted transaction at its very beginning leaves no record there."""
    holdings, _ = await holding(lease(0, None))
    assert holdings.admit([record(3), record(4)]) == []
    assert offsets(holdings.admit([record(3), record(4)])) == [3, 4]


async def test_a_log_without_the_record_applied_last_stops_the_second_time() -> None:
    holdings, _ = await holding(lease(10))
    assert holdings.admit([record(12), record(13)]) == []
    with pytest.raises(Stop, match="is gone") as stop:
        holdings.admit([record(12), record(13)])
    assert stop.value.place == PLACE


async def test_a_log_with_another_record_there_stops_at_once() -> None:
    holdings, _ = await holding(lease(10))
    with pytest.raises(Stop, match="holds another record at 9"):
        holdings.admit([record(9, b"other"), record(10)])


async def test_a_partition_that_is_not_held_is_not_admitted() -> None:
    holdings, _ = await holding(lease(0, None))
    assert offsets(holdings.admit([record(0), record(0, partition=1), record(1)])) == [0, 1]


@pytest.mark.parametrize(
    ("next_offset", "bounds", "fault"),
    [
        (10, (0, 10), None),
        (10, (10, 10), None),
        (10, (0, 99), None),
        (0, (0, 0), None),
        (10, (11, 20), "starts at 11"),
        (10, (0, 9), "ends at 9"),
        (0, (1, 5), "starts at 1"),
    ],
)
def test_a_log_must_reach_up_to_the_next_record(next_offset: int, bounds: tuple[int, int], fault: str | None) -> None:
    if fault is None:
        fits(lease(next_offset), bounds)
    else:
        with pytest.raises(Stop, match=fault):
            fits(lease(next_offset), bounds)


@pytest.mark.parametrize("seen_before", [False, True])
def test_the_right_record_proves_the_log_whenever_it_comes(seen_before: bool) -> None:
    assert proves(lease(10), record(9), seen_before=seen_before)


async def test_trouble_forgets_and_waits_longer_each_time_until_a_batch_is_through() -> None:
    now = 1_000.0
    holdings, log = await holding(lease(10), clock=lambda: now)
    waits = []
    for _ in range(7):
        await holdings.trouble(Retry("x"), [PLACE])
        assert holdings.missing() == 1
        assert log.parked == {PLACE}
        started = now
        while holdings.missing():
            now += 0.1
            await holdings.assigned([])
        waits.append(round(now - started, 1))
    assert waits == [0.2, 0.5, 1.0, 2.0, 5.0, 5.0, 5.0]
    holdings.through()
    await holdings.trouble(Retry("x"), [PLACE])
    now += 0.25
    await holdings.assigned([])
    assert holdings.missing() == 0


async def test_a_stopped_partition_stays_parked_and_the_others_go_on() -> None:
    holdings, log = await holding(lease(10), lease(20, partition=1))
    await holdings.stop(Stop("no", PLACE), [PLACE, (TOPIC, 1)])
    await holdings.assigned([])
    assert log.parked == {PLACE}
    with pytest.raises(Retry):
        holdings.lease(PLACE)
    assert holdings.lease((TOPIC, 1)).next_offset == 20


async def test_a_stop_of_one_partition_at_taking_hinders_no_other() -> None:
    log = Log({PLACE, (TOPIC, 1)})
    taking = Taking({PLACE: lease(5_000), (TOPIC, 1): lease(20, partition=1)})
    holdings = Holdings(cast("Taker", taking), None)
    holdings.log = log
    await holdings.assigned(log.places)
    await holdings.assigned([])
    assert "ends at 1000" in taking.telemetry.stops[PLACE]
    assert holdings.lease((TOPIC, 1)).next_offset == 20


async def test_what_a_batch_left_out_of_redis_is_remembered_for_its_lease_and_the_others_go_on() -> None:
    one, other = lease(10), lease(20, partition=1)
    redis = Redis()
    holdings, _ = await holding(one, other, projection=redis)
    redis.gone = True
    one.out_seq = 1
    await holdings.project([Filed(1, TOPIC, 0, 0, 1, None)], [one])
    redis.gone = False
    one.out_seq, other.out_seq = 2, 1
    await holdings.project([Filed(2, TOPIC, 0, 1, 2, None), Filed(3, TOPIC, 1, 0, 1, None)], [one, other])
    other.out_seq = 2
    await holdings.project([Filed(4, TOPIC, 1, 1, 2, None)], [other])
    assert (one.projection_broken, one.projected_seq) == (True, 0)  # it is written again from the table, from the beginning
    assert (other.projection_broken, other.projected_seq) == (False, 2)  # or under load none would ever be whole again
    assert redis.written == [3, 4]


async def test_what_is_no_longer_assigned_is_no_longer_held() -> None:
    holdings, log = await holding(lease(10), lease(20, partition=1))
    log.places = {PLACE}
    await holdings.assigned([])
    with pytest.raises(Retry):
        holdings.lease((TOPIC, 1))
    assert holdings.missing() == 0
