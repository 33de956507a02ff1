"""Services and servers fail while claims flow. The outcomes are those of an undisturbed run, and the books are clean.

`make test-faults` tries every fault alone, so that its row is its own; the default run lets one day meet the brief ones.
"""

from collections.abc import Iterator

import pytest
from breaking import FAULTS, Fault, last
from deployment import Deployment, deployment
from servers import LocalServers
from trial import Trial, trial

_CLAIMS, _FEWER = 500, 200  # a fault: half before it, half while it lasts


@pytest.fixture(scope="module")
def running(private_servers: LocalServers) -> Iterator[Deployment]:
    with deployment(private_servers) as made:
        made.start()
        yield made


@pytest.fixture(autouse=True)
def _whole(running: Deployment) -> Iterator[None]:
    """A server that a failed test left stopped runs for the next one. A service never dies of a fault of a server."""
    yield
    running.servers.wake()
    running.servers.up()
    assert running.restart_the_dead() == []


def meet(made: Trial, fault: Fault, claims: int) -> None:
    """Lets a trial meet a fault."""
    with made.fault(fault.name, claims, seconds=fault.spread or fault.seconds), fault.block(made.running):
        last(fault.seconds)


@pytest.mark.matrix
@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.name)
def test_a_fault_under_load_changes_nothing(running: Deployment, fault: Fault) -> None:
    made = trial(running, 800, seed=100 + FAULTS.index(fault))
    meet(made, fault, _CLAIMS)
    made.end()


def test_a_day_meets_the_brief_faults_one_after_the_other(running: Deployment) -> None:
    brief = [fault for fault in FAULTS if fault.brief]
    made = trial(running, 300 * len(brief), seed=99)
    for fault in brief:
        meet(made, fault, _FEWER)
    made.end()
