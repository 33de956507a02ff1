"""Everything at random, by a seed, for as long as is wanted (`make soak HOURS=1`)."""

import random
import sys
import time
from collections.abc import Iterator

import pytest
from breaking import FAULTS, last
from deployment import Deployment, deployment
from servers import LocalServers
from trial import trial

_CLAIMS, _FAULTS_A_DAY = 300, 4


@pytest.fixture
def running(private_servers: LocalServers) -> Iterator[Deployment]:
    with deployment(private_servers) as made:
        made.start()
        yield made


@pytest.mark.matrix
def test_soak(running: Deployment, pytestconfig: pytest.Config) -> None:
    """Days of claims, each with some faults; after each day its outcomes are compared and the books audited."""
    hours = pytestconfig.getoption("--hours")
    given = pytestconfig.getoption("--soak-seed")
    seed = time.time_ns() % 1_000_000 if given is None else given
    sys.stderr.write(f"\nsoak for {hours} h; make soak HOURS={hours} SEED={seed} meets the same faults in the same order\n")
    chance = random.Random(seed)
    ends = time.monotonic() + hours * 3600
    days = 0
    while time.monotonic() < ends:
        days += 1
        made = trial(running, 450 * _FAULTS_A_DAY, seed=chance.randrange(1, 0xFFFF))
        for fault in chance.choices(FAULTS, k=_FAULTS_A_DAY):
            sys.stderr.write(f"day {days}: {fault.name}\n")
            lasts = min(fault.seconds, chance.uniform(1, 20))
            with made.fault(f"day {days}: {fault.name}", _CLAIMS, seconds=fault.spread or lasts), fault.block(running):
                last(lasts)
        made.end()
    assert days
