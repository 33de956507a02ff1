"""After a restore: the books meet a new, empty Kafka, refuse it, are told to take it up, and announce everything again."""

import shutil
from collections.abc import Iterator

import pytest
from deployment import Deployment, day, deployment
from servers import LocalServers

from deploy.local import servers as local

pytestmark = pytest.mark.servers


@pytest.fixture
def running(private_servers: LocalServers) -> Iterator[Deployment]:
    with deployment(private_servers) as made:
        yield made


def another_kafka(running: Deployment) -> None:
    """The same books and cache, and a broker that knows nothing."""
    home = running.servers.home
    local.down(home)
    shutil.rmtree(home / "servers" / "kafka")
    running.servers.up()


def test_books_take_up_a_new_cluster_and_go_on(running: Deployment) -> None:
    lines = day(120, 11)
    feed = [line for line in lines if line["type"] in ("claim", "reversal", "account_use")]
    running.start()
    running.register(lines)
    running.send([*feed[: len(feed) // 2], b"{"])
    running.drain()
    before = running.outcomes()
    running.audit()
    running.stop()
    adopted_nothing = running.command("lease", "adopt", "--reason", "for nothing")
    assert (adopted_nothing.returncode, "nothing to adopt" in adopted_nothing.stderr) == (1, True)

    another_kafka(running)
    refused = running.command("serve", "account")
    assert refused.returncode == 1
    assert "lease adopt" in refused.stderr
    assert running.command("lease", "adopt", "--reason", " ").returncode == 2
    adopted = running.command("lease", "adopt", "--reason", "Kafka was lost")
    assert adopted.returncode == 0, adopted.stderr
    again = "select count(*) from runtime.lease where service = 'adjudication' and projected_seq < out_seq"
    assert running.rows(again) == [(0,)]  # Redis was shown all of it, whichever log it came from

    running.start()
    running.drain()
    assert running.outcomes() == before  # all of it again, byte for byte, and nothing twice
    assert running.dead_letters() == [b"{"]
    running.send(feed)  # the first half is known, and answered with what it got
    running.send([b"["])  # a dead letter at a place that the old log had as well
    running.drain()
    after = running.outcomes()
    assert {identity: after[identity] for identity in before} == before
    assert len(after) > len(before)
    assert sorted(running.dead_letters()) == [b"[", b"{"]
    assert running.rows("select reason, before->>'cluster_id' <> after->>'cluster_id' from runtime.command_log") == [
        ("Kafka was lost", True)
    ]
    assert {epoch for (epoch,) in running.rows("select epoch from runtime.lease where topic = 'claims.submitted'")} == {3}
    listed = running.command("lease", "list", "--json")
    assert listed.returncode == 0
    assert len(listed.stdout.splitlines()) == len(running.rows("select from runtime.lease"))
    running.audit()
