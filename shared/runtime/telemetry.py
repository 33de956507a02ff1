"""What a service tells its operators: counters and gauges for Prometheus, structured logs on stderr.

No identity stands in either: member ids never come here, and whoever must log one uses ``shared.identity.mask``.
"""

import json
import logging
import sys
import time
import traceback
from collections.abc import Iterable, Sequence
from typing import Any

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from shared.runtime.lease import Advance, Lease, Place

log = logging.getLogger("gongji.telemetry")

REGISTRY = CollectorRegistry()
_STEP = ("service", "step")
_RECORDS = Counter("gongji_records", "Records applied, by what became of them", (*_STEP, "became"), registry=REGISTRY)
_OUTCOMES = Counter("gongji_settled", "Answers given, by outcome", (*_STEP, "outcome"), registry=REGISTRY)
_BATCHES = Counter("gongji_batches", "Transactions committed", _STEP, registry=REGISTRY)
_BATCH_SIZE = Histogram(
    "gongji_batch_records", "Records a transaction", _STEP, buckets=(1, 5, 20, 50, 100, 200, 500, 1000), registry=REGISTRY
)
_FENCED = Counter("gongji_fenced", "Leases found in other hands", _STEP, registry=REGISTRY)
_TAKEN = Counter("gongji_leases_taken", "Leases taken", _STEP, registry=REGISTRY)
_EVICTED = Counter("gongji_evicted", "Frozen holders whose backend was ended", _STEP, registry=REGISTRY)
_AGAIN = Counter("gongji_announced_again", "Messages announced again after a take-over", _STEP, registry=REGISTRY)
_RETRIES = Counter("gongji_retries", "Batches tried again after server trouble", _STEP, registry=REGISTRY)
_REDIS = Counter("gongji_projection_failures", "Batches whose projection to Redis failed", _STEP, registry=REGISTRY)
_WRONG = Counter("gongji_projection_wrong", "Members whose counters in Redis differed from Postgres", _STEP, registry=REGISTRY)
_HELD = Gauge("gongji_leases_held", "Partitions held", _STEP, registry=REGISTRY)
_STOPPED = Gauge("gongji_partitions_stopped", "Partitions that stopped and need a person (alarm)", _STEP, registry=REGISTRY)
_MISSING = Gauge("gongji_partitions_missing", "Partitions assigned but not worked on", _STEP, registry=REGISTRY)
_BACKLOG = Gauge("gongji_relay_backlog", "Messages decided and not yet acknowledged", _STEP, registry=REGISTRY)
_UNPROJECTED = Gauge("gongji_projection_backlog", "Decisions not yet in Redis", _STEP, registry=REGISTRY)
LAG_RECORDS = Gauge("gongji_lag_records", "Records waiting in Kafka", _STEP, registry=REGISTRY)
LAG_SECONDS = Gauge("gongji_lag_seconds", "Age of the oldest record not yet applied", _STEP, registry=REGISTRY)


class _Json(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        line: dict[str, Any] = {
            "at": time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(record.created)) + f".{int(record.msecs):03d}Z",
            "level": record.levelname,
            "log": record.name,
            "message": record.getMessage(),
        }
        line.update(getattr(record, "fields", {}))
        if record.exc_info:
            line["trace"] = _without_words(record.exc_info[1])
        return json.dumps(line, ensure_ascii=False, default=str)


def _without_words(failure: BaseException | None) -> list[str]:
    """Where a failure came from and of what kind it is; its words may carry an identity."""
    frames = traceback.extract_tb(failure.__traceback__) if failure is not None else []
    return [f"{frame.filename}:{frame.lineno} {frame.name}" for frame in frames] + [type(failure).__name__]


class Unhurried(logging.Filter):
    """Lets a client's words through once in a while: without a broker aiokafka says the same a hundred times a second."""

    def __init__(self, seconds: float = 10.0) -> None:
        super().__init__()
        self._seconds = seconds
        self._said: dict[tuple[str, str], tuple[float, int]] = {}  # -> until when it is not said again, and how often it was not

    def filter(self, record: logging.LogRecord) -> bool:
        if record.name.partition(".")[0] not in _CHATTY:
            return True
        words = (record.name, record.getMessage())
        until, unsaid = self._said.get(words, (0.0, 0))
        if record.created < until:
            self._said[words] = (until, unsaid + 1)
            return False
        if len(self._said) >= _MOST_WORDS:
            self._said.clear()
        self._said[words] = (record.created + self._seconds, 0)
        if unsaid:
            record.fields = {"not_repeated": unsaid}
        return True


_CHATTY = ("aiokafka", "alembic", "faststream", "uvicorn")
_MOST_WORDS = 1_000


def log_to_stderr(level: str) -> None:
    """Structured logs, one JSON object a line, for the whole process."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_Json())
    handler.addFilter(Unhurried())
    logging.basicConfig(level=level, handlers=[handler], force=True)
    for chatty in _CHATTY:
        logging.getLogger(chatty).setLevel(max(logging.WARNING, logging.getLogger().level))
    sys.unraisablehook = _told  # the interpreter would print the failure with its words


def _told(unraisable: Any) -> None:
    failure = unraisable.exc_value
    log.error("a failure that nobody could take", exc_info=(type(failure), failure, unraisable.exc_traceback))


class Telemetry:
    """What one step's loop has to say."""

    def __init__(self, service: str, step: str) -> None:
        self._labels = (service, step)
        self._log = logging.getLogger(f"gongji.{service}.{step}")
        self.last_progress = time.monotonic()
        self.ready = False
        self.stops: dict[Place, str] = {}

    def _say(self, level: int, message: str, **fields: Any) -> None:
        self._log.log(level, message, extra={"fields": fields})

    def settled(self, advances: Iterable[Advance], outcomes: Iterable[str]) -> None:
        """A batch is through: committed, projected, announced. ``outcomes``: of those of its decisions that have one."""
        for outcome in outcomes:
            _OUTCOMES.labels(*self._labels, outcome).inc()
        records = 0
        for by in advances:
            records += by.records
            for became in ("decided", "repeated", "rejected", "quarantined"):
                if count := getattr(by, became):
                    _RECORDS.labels(*self._labels, became).inc(count)
        _BATCHES.labels(*self._labels).inc()
        _BATCH_SIZE.labels(*self._labels).observe(records)

    def took(self, place: Place, epoch: int, again: int) -> None:
        """A lease was taken, and so many messages announced again."""
        self.stops.pop(place, None)
        _TAKEN.labels(*self._labels).inc()
        self._say(logging.INFO, "lease taken", topic=place[0], partition=place[1], epoch=epoch, announced_again=again)

    def announced_again(self, messages: int) -> None:
        """So many were acknowledged on the way to a lease: a long way, during which no sweep comes to its end."""
        _AGAIN.labels(*self._labels).inc(messages)
        self.last_progress = time.monotonic()

    def fenced(self, lost: Sequence[Place]) -> None:
        """Leases turned out to be in other hands."""
        _FENCED.labels(*self._labels).inc(len(lost))
        self._say(logging.WARNING, "fenced", places=list(lost))

    def evicted(self, place: Place, ended: int) -> None:
        """A frozen holder's backend was ended."""
        _EVICTED.labels(*self._labels).inc(ended)
        self._say(logging.WARNING, "frozen holder evicted", topic=place[0], partition=place[1], backends=ended)

    def trouble(self, why: Exception) -> None:
        """A server is in trouble; the batch will be tried again."""
        _RETRIES.labels(*self._labels).inc()
        self._say(logging.WARNING, "trouble, trying again", why=str(why))

    def projection_failed(self, why: Exception) -> None:
        """Redis did not take what it should show, or it could not be read; settlement goes on."""
        _REDIS.labels(*self._labels).inc()
        self._say(logging.WARNING, "redis is not kept up, settlement goes on", why=str(why))

    def projection_swept(self, wrong: int) -> None:
        """A sample of Redis was compared with Postgres; so many members differed and were deleted."""
        if wrong:
            _WRONG.labels(*self._labels).inc(wrong)
            self._say(logging.ERROR, "redis showed what postgres does not know; deleted", members=wrong)

    def stopped(self, place: Place, why: str) -> None:
        """A partition stopped: an alarm."""
        self.stops[place] = why
        self._say(logging.CRITICAL, "PARTITION STOPPED, a person must look", topic=place[0], partition=place[1], why=why)

    def left(self, place: Place) -> None:
        """A partition is no longer this worker's: whether it goes on, another says."""
        self.stops.pop(place, None)

    def swept(self, held: Iterable[Lease], stopped: int, missing: int) -> None:
        """The state of things, once a second."""
        leases = list(held)
        self.last_progress = time.monotonic()
        self.ready = not missing
        _HELD.labels(*self._labels).set(len(leases))
        _STOPPED.labels(*self._labels).set(stopped)
        _MISSING.labels(*self._labels).set(missing)
        _BACKLOG.labels(*self._labels).set(sum(lease.out_seq - lease.relayed_seq for lease in leases))
        _UNPROJECTED.labels(*self._labels).set(
            sum(lease.out_seq - lease.projected_seq for lease in leases if lease.projection_broken)
        )

    def lag(self, records: int, seconds: float) -> None:
        """How far behind the log this step is."""
        LAG_RECORDS.labels(*self._labels).set(records)
        LAG_SECONDS.labels(*self._labels).set(seconds)
