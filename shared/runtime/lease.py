"""The lease: who works on a partition, and up to where. ``next_offset`` in Postgres is the truth.

A holder is known by its epoch. Taking a lease raises the epoch; whoever finds another epoch than its own is *fenced*.
All lease rows of a batch are locked first, in the order of their partitions (architecture.md, section 2).
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

import asyncpg

from shared.errors import Fenced, Retry, Stop

Place = tuple[str, int]  # (topic, partition)


@dataclass(slots=True)
class Lease:
    """What a holder knows of its partition. Counts are what this batch adds; they are zero between batches."""

    topic: str
    partition: int
    epoch: int
    next_offset: int
    last_digest: bytes | None
    out_seq: int
    relayed_seq: int
    projected_seq: int
    verified: bool = False  # the record before next_offset was seen to be the one last applied
    failures_in_a_row: int = 0
    projection_broken: bool = False
    last_timestamp_ms: int = field(default=0)

    @property
    def place(self) -> Place:
        return (self.topic, self.partition)


@dataclass(slots=True)
class Advance:
    """How far one batch moves one lease."""

    next_offset: int
    last_digest: bytes
    out_seq: int
    decided: int = 0
    repeated: int = 0
    rejected: int = 0
    quarantined: int = 0

    @property
    def records(self) -> int:
        return self.decided + self.repeated + self.rejected + self.quarantined


_TAKE = """
insert into runtime.lease as l (service, topic, partition, cluster_id, epoch, owner, backend_pid)
values ($1, $2, $3, $4, 1, $5, pg_backend_pid())
on conflict on constraint lease_pk do update
set epoch = l.epoch + 1, owner = excluded.owner, backend_pid = excluded.backend_pid, updated_at = now()
returning cluster_id, epoch, next_offset, last_digest, out_seq, relayed_seq, projected_seq
"""

_FENCE = """
select topic, partition, epoch from runtime.lease
where service = $1 and (topic, partition) in (select * from unnest($2::text[], $3::int[]))
order by topic, partition for update
"""

_ADVANCE = """
update runtime.lease l set
    next_offset = a.next_offset, last_digest = a.last_digest, out_seq = a.out_seq,
    relayed_seq = a.relayed_seq, projected_seq = a.projected_seq,
    records = l.records + a.decided + a.repeated + a.rejected + a.quarantined,
    decided = l.decided + a.decided, repeated = l.repeated + a.repeated,
    rejected = l.rejected + a.rejected, quarantined = l.quarantined + a.quarantined, updated_at = now()
from unnest($2::text[], $3::int[], $4::bigint[], $5::bytea[], $6::bigint[], $7::bigint[], $8::bigint[],
            $9::bigint[], $10::bigint[], $11::bigint[], $12::bigint[])
    as a(topic, partition, next_offset, last_digest, out_seq, relayed_seq, projected_seq,
         decided, repeated, rejected, quarantined)
where l.service = $1 and l.topic = a.topic and l.partition = a.partition
"""

_MARK = """
with mine as (
    select m.* from unnest($2::text[], $3::int[], $4::bigint[], $5::bigint[], $6::bigint[])
        as m(topic, partition, epoch, relayed_seq, projected_seq)
    join runtime.lease l on l.service = $1 and (l.topic, l.partition, l.epoch) = (m.topic, m.partition, m.epoch)
    order by m.topic, m.partition for update of l
)
update runtime.lease l set relayed_seq = greatest(l.relayed_seq, least(l.out_seq, m.relayed_seq)),
       projected_seq = greatest(l.projected_seq, least(l.out_seq, m.projected_seq)), updated_at = now()
from mine m where l.service = $1 and (l.topic, l.partition) = (m.topic, m.partition)
"""


async def take(tx: asyncpg.Connection, service: str, place: Place, cluster_id: str, owner: str) -> Lease:
    """Takes the lease of a partition, fencing whoever held it. Raises Stop when it belongs to another cluster.

    Raises asyncpg.LockNotAvailableError when a frozen holder sits on the row: ``evict`` it and try again.
    """
    topic, partition = place
    row = await tx.fetchrow(_TAKE, service, topic, partition, cluster_id, owner)
    if row is None:
        raise Retry("the lease row vanished")
    if row["cluster_id"] != cluster_id:
        raise Stop(
            f"{service} on {topic}/{partition}: the lease belongs to Kafka cluster {row['cluster_id']}, this is {cluster_id}; "
            "if the books were moved on purpose, run `gongji lease adopt`",
            place,
        )
    return Lease(
        topic=topic,
        partition=partition,
        epoch=row["epoch"],
        next_offset=row["next_offset"],
        last_digest=row["last_digest"],
        out_seq=row["out_seq"],
        relayed_seq=row["relayed_seq"],
        projected_seq=row["projected_seq"],
    )


_EVICT = """
select count(*) filter (where pg_terminate_backend(a.pid)) from runtime.lease l
join pg_stat_activity a on a.backend_xid = l.xmax and a.application_name like 'gongji-%' and a.datname = current_database()
where l.service = $1 and l.topic = $2 and l.partition = $3 and a.pid <> pg_backend_pid()
"""


async def evict(tx: asyncpg.Connection, service: str, place: Place) -> int:
    """Terminates the backend of a holder that froze inside its transaction. Returns how many were ended (0 or 1).

    It is known by the lock it has on the row, not by the backend that took the lease: a connection is opened again after
    trouble. The services' role may not end a backend; the role that logged in may end its own.
    """
    await tx.execute("set local role none")
    return int(await tx.fetchval(_EVICT, service, *place) or 0)


async def fence(tx: asyncpg.Connection, service: str, leases: Sequence[Lease]) -> None:
    """Locks the lease rows of a batch, in order. Raises Fenced, naming the places, if any has another epoch."""
    rows = await tx.fetch(_FENCE, service, [lease.topic for lease in leases], [lease.partition for lease in leases])
    epochs = {(row["topic"], row["partition"]): row["epoch"] for row in rows}
    lost = sorted(lease.place for lease in leases if epochs.get(lease.place) != lease.epoch)
    if lost:
        raise Fenced(lost)


async def advance(tx: asyncpg.Connection, service: str, steps: Sequence[tuple[Lease, Advance]]) -> None:
    """Moves the leases of a batch, inside its transaction."""
    await tx.execute(
        _ADVANCE,
        service,
        [lease.topic for lease, _ in steps],
        [lease.partition for lease, _ in steps],
        [by.next_offset for _, by in steps],
        [by.last_digest for _, by in steps],
        [by.out_seq for _, by in steps],
        [lease.relayed_seq for lease, _ in steps],
        [lease.projected_seq for lease, _ in steps],
        [by.decided for _, by in steps],
        [by.repeated for _, by in steps],
        [by.rejected for _, by in steps],
        [by.quarantined for _, by in steps],
    )


async def mark(tx: asyncpg.Connection, service: str, leases: Sequence[Lease]) -> None:
    """Stores how far partitions were relayed and projected, when there is no next batch to carry it."""
    await tx.execute(
        _MARK,
        service,
        [lease.topic for lease in leases],
        [lease.partition for lease in leases],
        [lease.epoch for lease in leases],
        [lease.relayed_seq for lease in leases],
        [lease.projected_seq for lease in leases],
    )
