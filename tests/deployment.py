"""A deployment of its own for a test that breaks things: real servers, services as processes, a feed, the audit.

Every wait has a limit and fails with what it waited for; nothing here sleeps to hope.
"""

import asyncio
import json
import os
import re
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psycopg
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, ConsumerRecord, TopicPartition
from servers import LocalServers

from services.ops.generate import generate
from shared.events import DEAD, REGISTER_TYPES, REJECTED, SERVICES, SETTLED
from shared.identity import part_of, partition_of

Line = dict[str, Any]
PARTITIONS = 8
_TIMES = {"accepted_at", "settled_at"}


def one_institution_each(lines: Iterable[Line | bytes]) -> list[Line]:
    """A day on which every member goes to one institution only, and pays for nobody else.

    Between institutions a feed has no order, so only such a day has one right answer that any run must give.
    """
    home: dict[str, str] = {}
    kept: set[tuple[str, str]] = set()
    day = []
    for line in lines:
        if isinstance(line, bytes):
            continue
        if line["type"] in REGISTER_TYPES:
            day.append(line)
            continue
        number = (line["institution_id"], line.get("claim_no") or line.get("use_no", ""))
        member = line.get("member_id")
        if member is not None and home.setdefault(member, line["institution_id"]) == line["institution_id"]:
            kept.add(number)
        if number in kept:
            line.pop("family_payer", None)
            day.append(line)
    return day


def day(claims: int, seed: int, *, members: int | None = None) -> list[Line]:
    """A reproducible day with repeats, conflicts, reversals and mistakes, whose outcomes no interleaving can change."""
    regions = ("130900", "440800", "511900", "653100", "420300")
    return one_institution_each(generate(claims, members or claims, regions, seed))


@dataclass
class Worker:
    """One service process. ``crash_at`` is tried once; whoever starts it again starts it whole."""

    name: str
    process: subprocess.Popen[bytes]
    log: Path

    @property
    def alive(self) -> bool:
        return self.process.poll() is None

    def has_spoken(self) -> bool:
        """Ready, or dead."""
        return b" ready (" in self.log.read_bytes() or not self.alive

    def page(self, path: str) -> tuple[int, str]:
        """What it answers to operators there: /live, /ready, /metrics."""
        found = re.search(r" ready \((http://[^)]+)\)", self.log.read_text())
        assert found is not None
        try:
            with urllib.request.urlopen(found[1] + path, timeout=10) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as refused:
            with closing(refused):
                return refused.code, refused.read().decode()

    @property
    def resident(self) -> int:
        """Bytes of memory it holds."""
        pages = int(Path(f"/proc/{self.process.pid}/statm").read_text().split()[1])
        return pages * os.sysconf("SC_PAGE_SIZE")


@dataclass
class Deployment:
    """Services on servers of their own."""

    servers: LocalServers
    workers: list[Worker] = field(default_factory=list)
    _count: int = 0

    @property
    def environment(self) -> dict[str, str]:
        ours = {name: value for name, value in os.environ.items() if not name.startswith("GONGJI_")}
        return ours | {"GONGJI_HOME": str(self.servers.home), "GONGJI_PARTITIONS": str(PARTITIONS)}

    # -- services ----------------------------------------------------------------------------------------------

    def start(self, *names: str, **extra: str) -> list[Worker]:
        """Starts a process for each name and returns when all say that they are ready."""
        started = []
        for name in names or SERVICES:
            self._count += 1
            log = self.servers.home / f"{name}-{self._count}.log"
            with log.open("wb") as output:
                process = subprocess.Popen(
                    [sys.executable, "-m", "services", "serve", name], env=self.environment | extra, stdout=output, stderr=output
                )
            started.append(Worker(name, process, log))
        self.workers += started
        for worker in started:
            until(worker.has_spoken, f"{worker.name} to be ready")
            assert worker.alive or extra, worker.log.read_text()[-3000:]
        return started

    def of(self, name: str) -> list[Worker]:
        return [worker for worker in self.workers if worker.name == name and worker.alive]

    def kill(self, worker: Worker, number: signal.Signals = signal.SIGKILL) -> None:
        worker.process.send_signal(number)
        if number in (signal.SIGKILL, signal.SIGTERM):
            worker.process.wait(timeout=60)

    def stop(self) -> None:
        """Ends every service in good order."""
        for worker in self.workers:
            if worker.alive:
                worker.process.send_signal(signal.SIGCONT)
                worker.process.terminate()
        for worker in self.workers:
            worker.process.wait(timeout=60)

    def restart_the_dead(self) -> list[str]:
        """Starts again what died, and says what that was."""
        dead = [worker for worker in self.workers if not worker.alive]
        self.workers = [worker for worker in self.workers if worker.alive]
        if dead:
            self.start(*[worker.name for worker in dead])
        return [worker.name for worker in dead]

    # -- the feed ----------------------------------------------------------------------------------------------

    def register(self, lines: Sequence[Line]) -> None:
        """Sends the register lines of a day and waits until every consumer has applied them."""
        self.send([line for line in lines if line["type"] in REGISTER_TYPES])
        self.drain(lambda topic: topic.startswith("register."))

    def send(self, lines: Sequence[Line | bytes], *, partition: int | None = None) -> None:
        """Sends lines as a plain Kafka client would; returns when they are acknowledged."""
        asyncio.run(self._send(lines, partition))

    async def _send(self, lines: Sequence[Line | bytes], partition: int | None) -> None:
        producer = AIOKafkaProducer(
            bootstrap_servers=self.servers.addresses.kafka, acks="all", enable_idempotence=True, linger_ms=2
        )
        await producer.start()
        try:
            for line in lines:
                value = line if isinstance(line, bytes) else json.dumps(line, ensure_ascii=False).encode()
                topic, key = destination(line)
                place = partition_of(part_of(key), PARTITIONS) if partition is None else partition
                await producer.send(topic, value, key=key.encode() or None, partition=place)
            await producer.flush()
        finally:
            await producer.stop()

    # -- waiting -----------------------------------------------------------------------------------------------

    def rows(self, query: str, *arguments: Any) -> list[tuple[Any, ...]]:
        with psycopg.connect(self.servers.addresses.postgres, autocommit=True) as connection:
            return connection.execute(query, arguments).fetchall()

    def drain(self, topics: Callable[[str], bool] = lambda _: True, *, seconds: float = 120) -> None:
        """Waits until every step has applied and announced everything there is."""
        until(lambda: self.behind(topics) == [], lambda: f"the services to drain; behind: {self.behind(topics)}", seconds)

    def ends(self, topic: str) -> list[int]:
        """The ends of a topic's partitions."""
        return list(asyncio.run(self._ends({(topic, partition) for partition in range(PARTITIONS)})).values())

    def behind(self, topics: Callable[[str], bool] = lambda _: True) -> list[tuple[Any, ...]]:
        """The leases with records left to apply or to announce; what is wrong, while a server is away."""
        try:
            leases = self.rows("select service, topic, partition, next_offset, out_seq, relayed_seq from runtime.lease")
            ends = asyncio.run(self._ends({(topic, partition) for _, topic, partition, *_ in leases if topics(topic)}))
        except (psycopg.Error, OSError) as trouble:
            return [(str(trouble),)]
        behind = [
            (service, topic, partition, done, ends[topic, partition], out - relayed)
            for service, topic, partition, done, out, relayed in leases
            if topics(topic) and (done < ends[topic, partition] or relayed < out)
        ]
        return behind if leases else [("no lease yet",)]

    async def _ends(self, places: set[tuple[str, int]]) -> dict[tuple[str, int], int]:
        consumer = AIOKafkaConsumer(bootstrap_servers=self.servers.addresses.kafka)
        await consumer.start()
        try:
            ends = await consumer.end_offsets([TopicPartition(*place) for place in places])
        finally:
            await consumer.stop()
        return {(place.topic, place.partition): end for place, end in ends.items()}

    # -- what came of it ---------------------------------------------------------------------------------------

    def wire(self, *topics: str) -> list[tuple[str, bytes, bytes]]:
        """(topic, key, value) of everything on these topics, partition by partition."""
        return [(one.topic, one.key, one.value) for one in asyncio.run(self._wire(topics or (SETTLED, REJECTED)))]

    async def _wire(self, topics: Sequence[str]) -> list[ConsumerRecord]:
        places = {(topic, partition) for topic in topics for partition in range(PARTITIONS)}
        ends = await self._ends(places)
        wanted = [TopicPartition(*place) for place, end in ends.items() if end]
        if not wanted:
            return []
        consumer = AIOKafkaConsumer(bootstrap_servers=self.servers.addresses.kafka, auto_offset_reset="earliest")
        await consumer.start()
        records = []
        try:
            consumer.assign(wanted)
            await consumer.seek_to_beginning()
            left = set(wanted)
            while left:
                for place, fetched in (await consumer.getmany(timeout_ms=500, max_records=5000)).items():
                    records += fetched
                    if fetched[-1].offset + 1 >= ends[place.topic, place.partition]:
                        left.discard(place)
        finally:
            await consumer.stop()
        return records

    def outcomes(self) -> dict[str, dict[str, Any]]:
        """Every distinct outcome by its id, without its times. Fails if one id came with two contents."""
        found: dict[str, bytes] = {}
        for _, _, value in self.wire():
            identity = json.loads(value)["event_id"]
            assert found.setdefault(identity, value) == value, f"two contents under {identity}"
        return {name: {k: v for k, v in json.loads(value).items() if k not in _TIMES} for name, value in found.items()}

    def dead_letters(self) -> list[bytes]:
        """Each once: announced at least once, a dead letter is known by where its record stood."""
        letters = {tuple(one.headers)[1:]: one.value for one in asyncio.run(self._wire((DEAD,)))}
        return list(letters.values())

    def command(self, *arguments: str, **extra: str) -> subprocess.CompletedProcess[str]:
        """Runs a verb of the command line on this deployment. ``extra``: of its environment."""
        return subprocess.run(
            [sys.executable, "-m", "services", *arguments],
            env=self.environment | extra, capture_output=True, text=True, timeout=300, check=False,
        )  # fmt: skip

    def audit(self) -> None:
        """Fails with the breaches unless the books are clean."""
        done = self.command("audit", "--json")
        assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-2000:]


def destination(line: Line | bytes) -> tuple[str, str]:
    if isinstance(line, bytes):
        return "claims.submitted", ""
    if line["type"] not in REGISTER_TYPES:
        return "claims.submitted", str(line.get("institution_id") or "")
    key = line.get("member_id") or line.get("holder_id") or line.get("institution_id") or line.get("code")
    return f"register.{line['type']}", str(key)


def until(condition: Callable[[], bool], what: str | Callable[[], str], seconds: float = 120.0) -> None:
    """Waits for a condition, and fails naming it when it does not come."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"waited {seconds} s for {what() if callable(what) else what}"
        time.sleep(0.05)


@contextmanager
def deployment(servers: LocalServers) -> Iterator[Deployment]:
    """A deployment whose services end with the test."""
    made = Deployment(servers)
    try:
        yield made
    finally:
        made.stop()


def chunks(lines: Sequence[Line], count: int) -> list[Sequence[Line]]:
    """A feed in so many pieces of like size."""
    size = -(-len(lines) // count)
    return [lines[start : start + size] for start in range(0, len(lines), size)]


def claims_of(lines: Sequence[Line]) -> list[Line]:
    return [line for line in lines if line["type"] not in REGISTER_TYPES]
