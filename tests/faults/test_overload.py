"""A feed far above capacity: memory stays flat, the lag is shown, and the order is kept."""

from collections.abc import Iterator

import pytest
from deployment import Deployment, deployment, until
from matrix import row
from servers import LocalServers
from trial import PATH, PATIENCE_S, Load, applied_by, in_flight, trial

pytestmark = pytest.mark.matrix
_GROWTH = 64 << 20  # bytes that a service may gain while its lag is thousands of claims; its batches hold 500


@pytest.fixture
def running(private_servers: LocalServers) -> Iterator[Deployment]:
    with deployment(private_servers) as made:
        made.start()
        yield made


def test_a_minute_of_overload_fills_kafka_and_no_process(running: Deployment) -> None:
    made = trial(running, 9000, seed=81)
    found = row("overload: a day's claims at once")
    made.rows.append(found)
    warm = made.take(600)
    first = Load(running, warm)
    first.start()
    first.finish()
    running.drain(seconds=PATIENCE_S)
    before = {worker.name: worker.resident for worker in running.workers}
    most, lag = dict(before), 0.0
    load = Load(running, made.take(100_000))
    load.start()
    load.finish()
    found.in_flight = in_flight(running)
    assert found.in_flight > 2000, "no overload"

    def through() -> bool:
        nonlocal lag
        for worker in running.workers:
            most[worker.name] = max(most[worker.name], worker.resident)
        lag = max(lag, _lag(running))
        return running.behind() == []

    until(through, lambda: f"the path to run dry: {applied_by(running)} of {PATH}", PATIENCE_S)
    grown = {name: (most[name] - before[name]) >> 20 for name in before}
    found.recovered = f"memory +{max(grown.values())} MiB"
    assert max(grown.values()) < _GROWTH >> 20, grown
    assert lag > 1000, "the metric of the lag does not show it"
    assert running.restart_the_dead() == []
    made.end()


def _lag(running: Deployment) -> float:
    """Records that the services say they have not applied: the backlog stands before whoever is slowest."""
    lines = [line for worker in running.workers for line in worker.page("/metrics")[1].splitlines()]
    return sum(float(line.rpartition(" ")[2]) for line in lines if line.startswith("gongji_lag_records{"))
