"""The faults that services and servers meet, each as a block: it begins with the harm and ends when the harm is over.

Each is one of the rows of reliability's matrix, and one of the throws of the soak. What a fault stopped runs again after it.
"""

import signal
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Final

import psycopg
from breaking_redis import flushed, redis_away, restored_from_an_old_dump, wrong_by_hand
from deployment import Deployment, until
from slow_wire import slow_wire

from shared.events import SERVICES
from shared.runtime.points import POINTS

Block = Callable[[Deployment], AbstractContextManager[None]]


@dataclass(frozen=True)
class Fault:
    """``seconds``: how long it lasts. ``spread``: seconds over which claims are sent from its beginning on.

    ``brief``: of the short selection.
    """

    name: str
    block: Block
    seconds: float = 0.0
    brief: bool = False
    spread: float = 0.0


# -- services -----------------------------------------------------------------------------------------------------------


@contextmanager
def killed_at(running: Deployment, *, point: str) -> Iterator[None]:
    """Every service dies as by a power cut when it first reaches a point of the loop, and is started again."""
    running.stop()  # what is sent from here on waits for those who will die
    running.workers.clear()
    running.start(*SERVICES, GONGJI_CRASH_AT=f"{point}:1")
    died: set[str] = set()
    while died < set(SERVICES):  # each dies once: the next only gets something when the one before it works again
        until(lambda: any(not worker.alive for worker in running.workers), f"the next after {died} to die at {point}", 120)
        died |= set(running.restart_the_dead())
    yield


@contextmanager
def ended_in_good_order(running: Deployment) -> Iterator[None]:
    """SIGTERM to all at once; started again."""
    for worker in running.workers:
        worker.process.terminate()
    for worker in running.workers:
        worker.process.wait(timeout=60)
    assert {worker.process.returncode for worker in running.workers} == {0}
    running.restart_the_dead()
    yield


@contextmanager
def zombies(running: Deployment) -> Iterator[None]:
    """Workers freeze until their partitions are another's, and wake up believing that they hold them."""
    names = ("intake", "adjudication", "account")
    frozen = [running.of(name)[0] for name in names]
    epochs = _epochs(running)
    for worker in frozen:
        running.kill(worker, signal.SIGSTOP)
    running.start(*names)
    until(lambda: all(epoch > epochs[place] for place, epoch in _epochs(running).items()), "the partitions to move", 120)
    for worker in frozen:
        running.kill(worker, signal.SIGCONT)
    yield
    for name in names:
        _one_of(running, name)


def _epochs(running: Deployment) -> Mapping[str, int]:
    claims = "select topic || partition, epoch from runtime.lease where service = any(%s) and topic like 'claims.%%'"
    return dict(running.rows(claims, ["intake", "adjudication", "account"]))


@contextmanager
def one_four_one(running: Deployment) -> Iterator[None]:
    """Each service becomes four, and one again: some asked to end, some killed."""
    more = running.start(*SERVICES * 3)
    until(lambda: len(_owners(running)) >= 2 * len(SERVICES), "the partitions to be shared out", 120)
    for number, worker in enumerate(more):
        running.kill(worker, signal.SIGTERM if number % 2 else signal.SIGKILL)
    running.workers = [worker for worker in running.workers if worker.alive]
    yield


def _owners(running: Deployment) -> list[tuple[object, ...]]:
    return running.rows("select distinct service, owner from runtime.lease where owner <> ''")


def _one_of(running: Deployment, name: str) -> None:
    for surplus in running.of(name)[1:]:
        running.kill(surplus, signal.SIGTERM)
    running.workers = [worker for worker in running.workers if worker.alive]


# -- servers ------------------------------------------------------------------------------------------------------------


@contextmanager
def stopped(running: Deployment, *, name: str, number: signal.Signals = signal.SIGKILL) -> Iterator[None]:
    """A server ends at once, and is started again after the block."""
    running.servers.kill(name, number)
    yield
    running.servers.up()


@contextmanager
def frozen(running: Deployment, *, name: str) -> Iterator[None]:
    """A server answers nobody for as long as the block lasts."""
    running.servers.kill(name, signal.SIGSTOP)
    try:
        yield
    finally:
        running.servers.kill(name, signal.SIGCONT)


@contextmanager
def backends_ended(running: Deployment) -> Iterator[None]:
    """A session of each of three services is ended inside a transaction that has written: an operator's lock keeps it there."""
    for service, table in _HELD_AT.items():
        with psycopg.connect(running.servers.addresses.postgres) as operator:
            operator.execute(f"lock table {table} in share mode")
            until(partial(_end_who_waits, running, service), f"{service} to be ended before it writes to {table}", 120)
    yield


def _end_who_waits(running: Deployment, service: str) -> bool:
    return running.rows(_END_WHO_WAITS, f"gongji-{service}") != []


_HELD_AT: Final = {"account": "account.outcome", "adjudication": "adjudication.decision", "intake": "intake.outgoing"}
_END_WHO_WAITS = """
    with waiting as materialized (  -- the planner would else end backends before it looks at their names
        select pid from pg_stat_activity
        where application_name = %s and backend_xid is not null and wait_event_type = 'Lock'
    ) select pid from waiting where pg_terminate_backend(pid)
"""


@contextmanager
def refused_by_chance(running: Deployment, *, sqlstate: str) -> Iterator[None]:
    """Every third statement that writes a decision, an outcome or a counter fails as a conflict of transactions would."""
    tables = ("adjudication.decision", "adjudication.counter", "account.outcome", "intake.submission")
    with psycopg.connect(running.servers.addresses.postgres, autocommit=True) as books:
        books.execute(_REFUSE.format(sqlstate=sqlstate))
        for table in tables:
            books.execute(
                f"create trigger planted before insert or update on {table} for each statement execute function refuse()"
            )
        yield
        for table in tables:
            books.execute(f"drop trigger planted on {table}")
        [(refused,)] = books.execute("select last_value from refused").fetchall()
        books.execute("drop function refuse(); drop sequence refused")
    assert refused > 3, f"{refused} statements refused"


_REFUSE = """
    create sequence refused;
    grant usage on sequence refused to public;
    create function refuse() returns trigger language plpgsql as $$
    begin
        if random() < 0.33 then
            perform nextval('refused');  -- no rollback takes it back
            raise exception 'planted' using errcode = '{sqlstate}';
        end if;
        return null;
    end $$
"""


@contextmanager
def locked_by_an_operator(running: Deployment, *, table: str) -> Iterator[None]:
    """Somebody at a prompt locks a table, and goes to lunch."""
    with psycopg.connect(running.servers.addresses.postgres) as operator:
        operator.execute("set application_name = 'psql'")
        operator.execute(f"lock table {table} in access exclusive mode")
        yield
        assert operator.execute("select 1").fetchall() == [(1,)], "an operator's session was ended"
        operator.rollback()


@contextmanager
def slow_postgres(running: Deployment, *, milliseconds: int) -> Iterator[None]:
    """Whatever Postgres answers comes late; the services are led there and back one after the other."""
    with slow_wire(running.servers.addresses.postgres, milliseconds / 1000) as dsn:
        roll(running, GONGJI_POSTGRES=dsn)
        yield
        roll(running)


def roll(running: Deployment, **extra: str) -> None:
    """Replaces each service's process, one service after the other."""
    for name in SERVICES:
        before = running.of(name)
        running.start(name, **extra)
        for worker in before:
            running.kill(worker, signal.SIGTERM)
    running.workers = [worker for worker in running.workers if worker.alive]


def last(seconds: float) -> None:
    """Lets a fault last."""
    ends = time.monotonic() + seconds
    until(lambda: time.monotonic() >= ends, f"{seconds} s of a fault", seconds + 5)


_KILLS = {f"services: kill -9 {point.replace('_', ' ')}": partial(killed_at, point=point) for point in POINTS}
_FATAL = "services: kill -9 after commit"  # what is committed and not announced: the point where most is at stake

FAULTS: Final = (
    *(Fault(name, kill, brief=name == _FATAL, spread=20.0) for name, kill in _KILLS.items()),
    Fault("services: SIGTERM under load", ended_in_good_order),
    Fault("services: frozen until their partitions moved, then awake", zombies, brief=True),
    Fault("services: 1 → 4 → 1", one_four_one),
    Fault("Kafka: kill -9", partial(stopped, name="kafka"), brief=True),
    Fault("Kafka: frozen 30 s", partial(frozen, name="kafka"), 30.0),
    Fault("Postgres: immediate stop", partial(stopped, name="postgres", number=signal.SIGQUIT), brief=True),
    Fault("Postgres: kill -9", partial(stopped, name="postgres")),
    Fault("Postgres: sessions ended in their transactions", backends_ended, brief=True, spread=20.0),
    Fault("Postgres: serialization failures", partial(refused_by_chance, sqlstate="40001"), 5.0, brief=True),
    Fault("Postgres: deadlocks", partial(refused_by_chance, sqlstate="40P01"), 5.0),
    Fault("Postgres: the counters locked by an operator", partial(locked_by_an_operator, table="adjudication.counter"), 60.0),
    Fault("Postgres: the leases locked by an operator", partial(locked_by_an_operator, table="runtime.lease"), 60.0),
    Fault("Postgres: every answer 40 ms late", partial(slow_postgres, milliseconds=40), 10.0),
    Fault("Redis: FLUSHALL", flushed, brief=True),
    Fault("Redis: kill -9, back empty", partial(redis_away, how=stopped), brief=True, spread=20.0),
    Fault("Redis: frozen 10 s", partial(redis_away, how=frozen), 10.0),
    Fault("Redis: an old dump restored", restored_from_an_old_dump, spread=20.0),
    Fault("Redis: wrong values written by hand", wrong_by_hand, brief=True),
)  # fmt: skip
