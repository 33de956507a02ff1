"""A trial: claims flow through a deployment, faults strike, and what came of it is compared with an undisturbed run."""

import asyncio
import json
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

from deployment import PARTITIONS, Deployment, Line, claims_of, day, destination, until
from matrix import Row, row
from verdict import compare

from shared.errors import Retry
from shared.events import ACCEPTED, ADJUDICATED, ELIGIBLE, SUBMITTED
from shared.identity import part_of
from shared.runtime.producer import Producer
from shared.runtime.relay import Outgoing
from shared.runtime.step import Message

PATH = (SUBMITTED, ACCEPTED, ELIGIBLE, ADJUDICATED)
PATIENCE_S = 300.0  # for a path to run dry: the machine may be busy with others
_SLICE, _SLICES = 40, 10  # records sent together, at most; and pieces that a load over some time comes in, at least
_APPLIED = "select topic, sum(records)::bigint from runtime.lease where topic = any(%s) group by topic"


class Load(threading.Thread):
    """Sends lines in the background, through whatever happens to the broker: what was not acknowledged is sent again.

    A slice is repeated whole and the next one waits for it, so each partition sees the first of each line in order.
    """

    def __init__(self, running: Deployment, lines: Sequence[Line | bytes], *, seconds: float = 0.0) -> None:
        super().__init__(name="load", daemon=True)
        self._kafka = running.servers.addresses.kafka
        self._lines = lines
        self._slice = min(_SLICE, max(len(lines) // _SLICES, 1)) if seconds else _SLICE
        self._pause = seconds * self._slice / max(len(lines), 1)
        self._over = threading.Event()
        self.repeated = 0
        self.failure: BaseException | None = None

    def run(self) -> None:
        try:
            asyncio.run(self._send())
        except BaseException as failure:  # noqa: BLE001 - told to whoever joins
            self.failure = failure

    async def _send(self) -> None:
        producer = Producer(self._kafka, dict.fromkeys((SUBMITTED,), PARTITIONS), ack_seconds=15)
        try:
            for start in range(0, len(self._lines), self._slice):
                await self._acknowledged(producer, [_outgoing(line) for line in self._lines[start : start + self._slice]])
                await asyncio.to_thread(self._over.wait, self._pause)
        finally:
            await producer.close()

    async def _acknowledged(self, producer: Producer, piece: Sequence[Outgoing]) -> None:
        while True:
            try:
                await producer.send(piece)
            except Retry:
                self.repeated += len(piece)
                await asyncio.sleep(0.3)
            else:
                return

    def finish(self) -> None:
        """Sends what is left without further pauses. Fails when that takes minutes."""
        self._over.set()
        self.join(PATIENCE_S)
        assert not self.is_alive(), f"the feed was not acknowledged in {PATIENCE_S} s"
        assert self.failure is None, self.failure


def _outgoing(line: Line | bytes) -> Outgoing:
    topic, key = destination(line)
    value = line if isinstance(line, bytes) else json.dumps(line, ensure_ascii=False).encode()
    return Outgoing(Message(topic, part_of(key), key.encode(), value))


@dataclass
class Trial:
    """A day of claims and the faults it meets. The verdict is about the whole day, and stands in the row of each fault."""

    running: Deployment
    lines: Sequence[Line]
    rows: list[Row] = field(default_factory=list)
    _left: list[Line] = field(default_factory=list)
    _loads: list[Load] = field(default_factory=list)

    @contextmanager
    def fault(self, name: str, claims: int, *, seconds: float = 0.0, mends: bool = True) -> Iterator[Row]:
        """The block is the fault, and its end is the fault's. So many claims are sent: half before, half while it lasts.

        It strikes when some are in flight.
        ``seconds``: over which the second half is spread. ``mends``: whether services go on by themselves afterwards.
        """
        found = row(name)
        self.rows.append(found)
        piece = self.take(claims)
        assert len(piece) == claims, f"{len(piece)} lines of the day are left, not {claims}"
        before, during = piece[: claims // 2], piece[claims // 2 :]
        applied = sum(applied_by(self.running).values())
        self._send(before)
        until(lambda: sum(applied_by(self.running).values()) > applied, "claims to be under way")
        self._send(during, seconds)
        until(lambda: self._strikes(found), "claims to be in flight")
        yield found
        if mends:
            found.recovered = self._goes_on()

    def take(self, claims: int) -> list[Line]:
        """The next so many lines of the day, which the caller sends."""
        piece, self._left = self._left[:claims], self._left[claims:]
        return piece

    def _send(self, lines: Sequence[Line | bytes], seconds: float = 0.0) -> None:
        self._loads.append(Load(self.running, lines, seconds=seconds))
        if len(self._loads) > 1:
            self._loads[-2].finish()  # one feed: what was to come before has come before
        self._loads[-1].start()

    def _strikes(self, found: Row) -> bool:
        """Whether claims are in flight, so that the fault meets some; once all are sent there may be none any more."""
        sending = self._loads[-1].is_alive()
        found.in_flight = in_flight(self.running)
        return found.in_flight > 0 or not sending

    def _goes_on(self) -> float:
        """Seconds until each service on the path has applied something new, or nothing is left."""
        ended = time.monotonic()
        before = applied_by(self.running)

        def goes_on() -> bool:
            now = applied_by(self.running)
            return all(now.get(topic, 0) > before.get(topic, 0) for topic in PATH) or not self.running.behind()

        until(goes_on, lambda: f"all services to go on; {self.running.behind()}", PATIENCE_S)
        return time.monotonic() - ended

    def all_sent(self) -> None:
        """Sends the rest of the day."""
        self._send(self._left)
        self._left = []
        self._loads[-1].finish()

    def end(self) -> None:
        """Sends the rest, waits until all of it is through, and fails unless nothing is lost, doubled or wrong."""
        self.all_sent()
        self.running.drain(seconds=PATIENCE_S)
        self.judge()

    def judge(self) -> None:
        """Compares and audits what is there. Fails unless nothing is lost, doubled or wrong."""
        verdict = compare(self.running, self.lines)
        for found in self.rows:
            found.claims = verdict.expected
            found.lost, found.doubled, found.wrong = len(verdict.lost), len(verdict.doubled), len(verdict.wrong)
        audited = self.running.command("audit", "--json")
        for found in self.rows:
            found.audit = "clean" if audited.returncode == 0 else "breaches"
        assert verdict.clean, verdict
        assert audited.returncode == 0, audited.stdout[-4000:] + audited.stderr[-2000:]


def trial(running: Deployment, claims: int, seed: int) -> Trial:
    """A day of its own, whose register is applied."""
    lines = day(claims, seed)
    running.register(lines)
    made = Trial(running, lines)
    made._left = claims_of(lines)
    return made


def applied_by(running: Deployment) -> dict[str, int]:
    """Records applied, by the topic of the path."""
    return dict(running.rows(_APPLIED, list(PATH)))


def in_flight(running: Deployment) -> int:
    """Claims that Kafka has and whose outcome is not decided, at least: what was announced twice counts as decided twice."""
    [(read, on_the_path)] = running.rows(_ON_THE_PATH)
    return sum(running.ends(SUBMITTED)) - int(read) + max(0, int(on_the_path))


_ON_THE_PATH = """
    select (select coalesce(sum(next_offset), 0) from runtime.lease where topic = 'claims.submitted'),
        (select count(*) from intake.outgoing where target = 'claims.accepted')
        - (select coalesce(sum(records), 0) from runtime.lease where topic = 'claims.adjudicated')
"""
