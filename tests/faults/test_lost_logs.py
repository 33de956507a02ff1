"""A log that is not the one the books know: its partition stops loudly, the others go on, and nothing is guessed."""

import asyncio
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import pytest
from aiokafka import TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, NewTopic, RecordsToDelete
from deployment import PARTITIONS, Deployment, Line, claims_of, day, deployment, until
from matrix import row
from servers import LocalServers
from trial import PATIENCE_S, applied_by
from verdict import compare

from shared.events import ADJUDICATED, ELIGIBLE, SUBMITTED
from shared.identity import part_of, partition_of

pytestmark = pytest.mark.matrix
_PLACE = 0  # the partition whose log is harmed


@pytest.fixture
def running(ruined_servers: LocalServers) -> Iterator[Deployment]:
    with deployment(ruined_servers) as made:
        made.start()
        yield made
        made.servers.up()


def lose_the_beginning(running: Deployment, topic: str, applied: int) -> None:
    """Retention took what was never applied: the log starts past ``next_offset``."""
    asyncio.run(_delete_before(running, topic, applied + 3))


async def _delete_before(running: Deployment, topic: str, offset: int) -> None:
    admin = AIOKafkaAdminClient(bootstrap_servers=running.servers.addresses.kafka)
    await admin.start()
    await admin.delete_records({TopicPartition(topic, _PLACE): RecordsToDelete(before_offset=offset)})
    await admin.close()


def lose_the_tail(running: Deployment, topic: str, _applied: int) -> None:
    """The broker dies and comes back without the last records of a log, as after an unclean election."""
    running.servers.kill("kafka")
    directory = running.servers.home / "servers" / "kafka" / "data" / f"{topic}-{_PLACE}"
    [segment] = directory.glob("*.log")
    with segment.open("r+b") as log:
        log.truncate(segment.stat().st_size // 2)  # in the middle of a batch: Kafka cuts there when it recovers
    for snapshot in directory.glob("*.snapshot"):
        snapshot.unlink()
    _forget_clean_stop(directory.parent)
    running.servers.up()


def _forget_clean_stop(data: Path) -> None:
    for checkpoint in ("recovery-point-offset-checkpoint", ".kafka_cleanshutdown"):
        (data / checkpoint).unlink(missing_ok=True)


def make_again(running: Deployment, topic: str, _applied: int) -> None:
    """A topic is deleted and made again, empty."""
    asyncio.run(_make_again(running, topic))


async def _make_again(running: Deployment, topic: str) -> None:
    admin = AIOKafkaAdminClient(bootstrap_servers=running.servers.addresses.kafka)
    await admin.start()
    await admin.delete_topics([topic])
    while topic in await admin.list_topics():  # noqa: ASYNC110 - Kafka tells nobody when it is done
        await asyncio.sleep(0.1)
    await admin.create_topics([NewTopic(topic, PARTITIONS, 1)])
    await admin.close()


class Harm(NamedTuple):
    """``service`` reads the harmed log and must stop for this reason."""

    name: str
    topic: str
    service: str
    do: Callable[[Deployment, str, int], None]
    said: str


HARMS = (
    Harm("Kafka: a log begins behind what was applied", SUBMITTED, "intake", lose_the_beginning, "the log starts at"),
    Harm("Kafka: the tail of claims.submitted lost", SUBMITTED, "intake", lose_the_tail, "the log ends at"),
    Harm("Kafka: the tail of claims.adjudicated lost", ADJUDICATED, "account", lose_the_tail, "the log ends at"),
    Harm("Kafka: claims.eligible deleted and made again", ELIGIBLE, "adjudication", make_again, "the log ends at"),
)


@pytest.mark.parametrize("harm", HARMS, ids=lambda harm: harm.name)
def test_the_partition_stops_and_says_why(running: Deployment, harm: Harm) -> None:
    _, topic, service, do, said = harm
    found = row(harm.name)
    lines = day(400, seed=60 + HARMS.index(harm))
    running.register(lines)
    running.send(claims_of(lines))
    running.drain(seconds=PATIENCE_S)
    for worker in running.of(service):
        running.kill(worker, signal.SIGTERM)
    running.send([line | {"claim_no": f"late-{n}"} for n, line in enumerate(_of_the_place(lines))])
    until(lambda: running.behind(lambda one: one != topic) == [], "the other services to be through", PATIENCE_S)
    found.in_flight = sum(running.ends(topic)) - applied_by(running)[topic]
    applied = _next_offset(running, service, topic)
    do(running, topic, applied)
    [worker] = running.start(service)
    struck = time.monotonic()
    until(lambda: said in worker.page("/ready")[1], lambda: f"{service} to say that it stopped: {worker.page('/ready')}")
    found.recovered = f"stops in {time.monotonic() - struck:.0f}"
    status, why = worker.page("/ready")
    assert (status, f"{topic}/{_PLACE}: {said}" in why) == (503, True)
    assert f"{topic}/{_PLACE}" in "".join(line for line in worker.log.read_text().splitlines() if '"CRITICAL"' in line)
    assert _next_offset(running, service, topic) == applied
    verdict = compare(running, lines)
    found.claims, found.lost = verdict.expected, len(verdict.lost)
    found.doubled, found.wrong = len(verdict.doubled), len(verdict.wrong)
    found.audit = "not of a lost log"
    assert verdict.clean, verdict


def _of_the_place(lines: list[Line]) -> list[Line]:
    """Claims on the way through the partition that is harmed: of its institutions and its members."""
    found = [
        line
        for line in claims_of(lines)
        if line["type"] == "claim" and _PLACE in (_partition(line["institution_id"]), _partition(line["member_id"]))
    ]
    assert len(found) > 20
    return found


def _partition(key: str) -> int:
    return partition_of(part_of(key), PARTITIONS)


def _next_offset(running: Deployment, service: str, topic: str) -> int:
    query = "select next_offset from runtime.lease where service = %s and topic = %s and partition = %s"
    return int(running.rows(query, service, topic, _PLACE)[0][0])
