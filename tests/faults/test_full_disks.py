"""The disks of Kafka and of Postgres run full while claims flow. With space given back, all is as if nothing had been."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from breaking import last
from deployment import Deployment, deployment, until
from servers import LocalServers
from small_disk import needs_mounts, small_disk
from trial import trial

from deploy.local import servers as local
from deploy.local.database import Database

pytestmark = pytest.mark.matrix
_FULL_S = 8.0


@pytest.fixture
def running(ruined_servers: LocalServers) -> Iterator[Deployment]:
    needs_mounts()
    local.down(ruined_servers.home)
    with deployment(ruined_servers) as made:
        yield made
        made.stop()
        local.down(ruined_servers.home)


def _postgres(running: Deployment, *names: str) -> Path:
    return Database(running.servers.home / "servers" / "postgres").data.joinpath(*names)


def _kafka(running: Deployment) -> Path:
    return running.servers.home / "servers" / "kafka" / "data"


DISKS: dict[str, tuple[Callable[[Deployment], Path], int]] = {
    "Postgres: disk full under the tables": (lambda running: _postgres(running, "base"), 160),
    "Postgres: disk full under the write-ahead log": (lambda running: _postgres(running, "pg_wal"), 96),
    "Kafka: disk full": (_kafka, 220),
}


@pytest.mark.parametrize("name", DISKS)
def test_a_full_disk_holds_claims_up_and_loses_none(running: Deployment, name: str) -> None:
    where, mib = DISKS[name]
    with small_disk(where(running), mib) as disk:
        running.servers.up()
        running.start()
        made = trial(running, 800, seed=71 + list(DISKS).index(name))
        with made.fault(name, 500, seconds=_FULL_S):
            disk.fill()
            last(_FULL_S)
            disk.give_back()
            running.servers.up()
        made.end()
        assert running.restart_the_dead() == []
        running.stop()
        until(lambda: not any(worker.alive for worker in running.workers), "the services to end")
        local.down(running.servers.home)
