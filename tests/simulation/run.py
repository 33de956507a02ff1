"""One run from a seed: a day under faults, then peace, mending, quiet; and the same day undisturbed, to compare with."""

import asyncio
from dataclasses import dataclass
from functools import cache
from typing import Final

from shared.errors import named
from simulation import clock
from simulation.chance import Chance
from simulation.feed import make
from simulation.verdict import Sight, breaches, differences, look
from simulation.world import Size, World

DAYS: Final = 256  # different days: what is undisturbed is worked out once for each
_MENDINGS: Final = 12
_MOST_WORKERS: Final = 3  # of a step


@dataclass(frozen=True)
class Run:
    """What came of a seed. ``breaches``: empty when nothing is wrong."""

    seed: int
    breaches: tuple[str, ...]
    chance: Chance
    applied: int


def simulate(seed: int) -> Run:
    """Runs a seed. The same seed gives the same run, decision by decision."""
    chance = Chance(seed)
    size = Size(
        partitions=chance.one_of((1, 2, 2, 3, 4)), workers=chance.one_of((1, 1, 2, 3)), batch_max=chance.one_of((1, 3, 10, 500))
    )
    day = seed % DAYS
    try:
        sight, applied, wrong = clock.run(_live(chance, day, size))
    except Exception as failure:  # noqa: BLE001 - whatever breaks, the seed is what matters
        return Run(seed, (f"{named(failure)}: {failure}",), chance, 0)
    if not chance.counted["tail lost"]:
        wrong += differences(undisturbed(day, size.partitions), sight)
    return Run(seed, tuple(wrong), chance, applied)


@cache
def undisturbed(day: int, partitions: int) -> Sight:
    """What a day gives when nothing happens. Raises AssertionError if even that is not in order."""
    sight, _, wrong = clock.run(_live(Chance(day, calm=True), day, Size(partitions)))
    assert not wrong, wrong
    return sight


async def _live(chance: Chance, day: int, size: Size) -> tuple[Sight, int, list[str]]:
    world = World(chance, make(day, size.partitions), size)
    try:
        if not chance.calm:
            world.beside(_commotion(world))
        await _enrol(world)
        await _storm(world)
        if chance.hits("tail lost"):
            world.lose_a_tail()
        chance.tell("-- peace --")
        chance.end()
        if world.exchanged:
            return look(world), world.applied, await world.wait_for_the_stop()
        await _mend(world)
        return look(world), world.applied, breaches(world)
    finally:
        world.over = True


async def _enrol(world: World) -> None:
    """The register first, and all of it: claims are judged by it. If need be, the storm holds its breath."""
    topics = [topic for topic in world.broker.partitions if topic.startswith("register.")]
    world.enrol()
    if not await world.quiet(topics, patience=30.0):
        likely = world.chance.end()
        await world.quiet(topics)
        world.chance.begin(likely)


async def _storm(world: World) -> None:
    """The day's lines, in bursts or at once, with everything that goes wrong meanwhile."""
    chance = world.chance
    sent, lines = 0, len(world.feed.submitted)
    while sent < lines:
        burst = lines if chance.calm else chance.number(1, 12)
        world.submit(sent, sent + burst)
        sent += burst
        if not chance.calm:
            await asyncio.sleep(chance.between(0.0, 2.0))
    if chance.calm:
        return
    await asyncio.sleep(chance.between(0.0, 15.0))
    if chance.happens(0.5):  # somebody mends and redrives while it is still stormy
        world.curses.clear()
        world.redrive()
        await asyncio.sleep(chance.between(0.0, 10.0))


async def _mend(world: World) -> None:
    """Everything through; then what was set aside, again and again, until nothing is held."""
    await world.quiet()
    world.curses.clear()
    for _ in range(_MENDINGS):
        if not world.redrive():
            break
        await world.quiet()
    if not world.chance.calm:
        await asyncio.sleep(15.0)  # the sweeps look at the cache every ten seconds
        await world.quiet()
    world.check()


async def _commotion(world: World) -> None:
    """What happens around the workers, once a second or so."""
    chance = world.chance
    while True:
        await asyncio.sleep(chance.between(0.3, 1.7))
        stage = chance.one_of(world.stages)
        if chance.hits("rebalance", stage.name):
            stage.group.shake()
        if len(stage.workers) < _MOST_WORKERS and chance.hits("scaled up", stage.name):
            world.start(stage)
        if len(stage.workers) > 1 and chance.hits("scaled down", stage.name):
            worker = chance.one_of(stage.workers)
            stage.workers.remove(worker)  # at once: one that stands still is not to be the last that is left
            world.beside(worker.stop())
        if chance.hits("flushed between"):
            world.shelf.flush()
