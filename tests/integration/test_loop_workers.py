"""Who works on what while workers come and go, and what waits meanwhile."""

import asyncio
from collections.abc import Iterable, Sequence
from typing import Any

import pytest
from diary import claims, line
from loop_worker import until
from loop_world import PARTITIONS, World, partition_for

from shared.runtime.lease import Place

pytestmark = pytest.mark.servers


async def test_workers_come_and_go_while_batches_run_and_every_claim_is_noted_once(world: World) -> None:
    """Rebalances do not wait for a running handler: the listener drains, and the fence holds."""

    async def slow(_: Any, __: Sequence[Any]) -> None:
        await asyncio.sleep(0.05)

    async def feed() -> None:
        for turn in range(20):
            await asyncio.gather(
                *(world.send([line(f"P{n}-{turn}-{i}") for i in range(15)], partition=n) for n in range(PARTITIONS)),
            )

    feeding = asyncio.create_task(feed())
    first = await world.worker(world.diary(during=slow), batch_max=10)
    more = [await world.worker(world.diary(during=slow), batch_max=10) for _ in range(2)]
    await until(lambda: all(worker.held for worker in [first, *more]), "all three to work")
    await more[0].stop()
    await first.crash()
    await feeding
    await world.applied(20 * 15 * PARTITIONS, seconds=60)
    noted = await world.noted()
    assert len(noted) == len(set(noted)) == 20 * 15 * PARTITIONS
    announced = list(dict.fromkeys(await world.announced()))
    by_source = await _by_source(world)
    for names in by_source.values():  # of one source partition and one target partition the order is kept
        for partition in range(PARTITIONS):
            mine = [name for name in names if partition_for(name) == partition]
            assert [name for name in announced if name in set(mine)] == mine


async def _by_source(world: World) -> dict[int, list[str]]:
    rows = await world.books.fetch("select source_partition, claim from diary.entry order by source_partition, source_offset")
    found: dict[int, list[str]] = {}
    for row in rows:
        found.setdefault(row["source_partition"], []).append(row["claim"])
    return found


async def test_a_worker_waits_for_its_batch_before_it_lets_a_partition_go(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    inside, go_on = asyncio.Event(), asyncio.Event()

    async def wait(_: Any, __: Sequence[Any]) -> None:
        inside.set()
        await asyncio.wait_for(go_on.wait(), 20)

    first = await world.worker(world.diary(during=wait))
    await world.holds_all(first)
    await world.send([line(claim) for claim in claims(10)])
    await inside.wait()
    revoked, asked_back, let_go = first.holdings.revoked, asyncio.Event(), asyncio.Event()

    async def revoke(places: Iterable[Place]) -> None:
        asked_back.set()
        await revoked(places)
        let_go.set()

    monkeypatch.setattr(first.holdings, "revoked", revoke)
    joining = asyncio.create_task(world.worker())
    await asyncio.wait_for(asked_back.wait(), 20)
    with pytest.raises(TimeoutError):  # time enough to let go, were it not for the batch
        await asyncio.wait_for(let_go.wait(), 1)
    go_on.set()
    second = await joining
    await until(lambda: bool(second.held) and bool(first.held), "both to work")
    await world.applied(10)
    assert await world.noted() == claims(10)
    assert len(await world.announced()) == 10


async def test_a_worker_takes_nothing_back_before_it_is_told_what_is_its_own(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Meanwhile the client still names the old partitions, and whoever has them now would be fenced at its first batch."""
    first = await world.worker()
    await world.holds_all(first)
    holdings, revoked = first.holdings, first.holdings.revoked
    between: list[tuple[int, int]] = []

    async def revoke(places: Iterable[Place]) -> None:
        await revoked(places)
        await holdings.sweep()
        assert holdings.log is not None
        between.append((len(holdings.log.assigned()), len(first.held)))

    monkeypatch.setattr(holdings, "revoked", revoke)
    second = await world.worker()
    await until(lambda: bool(second.held) and bool(first.held), "both to work")
    assert between == [(PARTITIONS, 0)]


async def test_what_waits_behind_a_long_batch_is_told_while_nothing_is_fetched(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    go_on = asyncio.Event()

    async def wait(_: Any, __: Sequence[Any]) -> None:
        await asyncio.wait_for(go_on.wait(), 20)

    worker = await world.worker(world.diary(during=wait))
    await world.holds_all(worker)
    told: list[int] = []
    monkeypatch.setattr(worker.holdings._telemetry, "lag", lambda records, _: told.append(records))
    await world.send([line("first")])
    await until(worker.holdings.busy.locked, "the batch to be worked on")
    await world.send([line(claim) for claim in claims(30)])
    await worker.holdings.advise()
    assert told[-1] == 31
    go_on.set()
    await world.applied(31)
