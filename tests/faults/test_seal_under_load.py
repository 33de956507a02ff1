"""Sealing while claims settle and the sealers are killed: every posting is sealed once, and the chain is whole."""

import json
from collections.abc import Iterator

import pytest
from deployment import Deployment, chunks, day, deployment, until
from servers import LocalServers

from shared.events import REGISTER_TYPES


@pytest.fixture
def running(private_servers: LocalServers) -> Iterator[Deployment]:
    with deployment(private_servers) as made:
        made.start()
        yield made


def blocks(running: Deployment) -> int:
    return int(running.rows("select count(*) from account.block")[0][0])


@pytest.mark.matrix
def test_killed_sealers_under_load_leave_one_whole_chain(running: Deployment) -> None:
    running.start("account")  # two of them: two sealers
    lines = day(1200, seed=31)
    running.register(lines)
    for piece in chunks([line for line in lines if line["type"] not in REGISTER_TYPES], 3):
        before = blocks(running)
        running.send(piece)
        until(lambda: blocks(running) > before, "a block to be sealed while claims settle")  # noqa: B023 - used at once
        for worker in running.of("account"):
            running.kill(worker)
        running.restart_the_dead()
    running.drain()
    sealed = running.command("ledger", "seal")
    assert sealed.returncode == 0, sealed.stderr
    checked = running.command("ledger", "check", "--json")
    assert checked.returncode == 0, checked.stdout
    told = json.loads(checked.stdout)
    assert told["faults"] == []
    assert told["waiting"] == 0
    assert told["postings"] == running.rows("select count(*) from account.posting")[0][0] > 1000
    running.audit()
