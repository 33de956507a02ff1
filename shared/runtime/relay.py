"""The relay: what was decided is announced, in the order of its numbers, by the lease's owner.

Inline after the commit in the ordinary case; from the tables after a take-over. Consumers drop what they have.
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple, Protocol

import asyncpg

from shared.events import DEAD
from shared.runtime import lease as leases
from shared.runtime.lease import Lease
from shared.runtime.quarantine import Poison
from shared.runtime.step import Message

PAGE = 1000
PAGE_BYTES = 8 * 1024 * 1024  # and one message more: dead letters may be as large as that, each
REASON_MAX = 2_000  # characters of a dead letter's reason: the whole must fit where the record did, and little more


class Outgoing(NamedTuple):
    """A message with the headers it travels with."""

    message: Message
    headers: tuple[tuple[str, bytes], ...] = ()


class Sender(Protocol):
    """What the relay needs of a producer."""

    async def send(self, outgoing: Sequence[Outgoing]) -> None:
        """Sends in order and waits until every replica in sync has acknowledged. Raises Retry."""
        ...


def dead_letter(poison: Poison) -> Outgoing:
    """The message on ``claims.dead``: the original bytes, and in the headers why and where from."""
    record = poison.record
    headers = _why(poison.reason, poison.detail, record.topic, record.partition, record.offset)
    return Outgoing(Message(DEAD, poison.part, record.key or b"", record.value), headers)


def _why(reason: str, detail: str, topic: str, partition: int, offset: int) -> tuple[tuple[str, bytes], ...]:
    return (
        ("reason", f"{reason}: {detail}"[:REASON_MAX].encode("utf-8", "replace")),
        ("topic", topic.encode()),
        ("partition", str(partition).encode()),
        ("offset", str(offset).encode()),
    )


_POISON = """
select seq, null as target, part, key, value, reason, detail, topic, partition, record_offset
from runtime.quarantine
where service = $1 and topic = $2 and partition = $3 and seq > $4
"""
_DECIDED = """
select seq, target, part, key, value, null as reason, null as detail, null as topic, 0 as partition, 0 as record_offset
from {outbox}
where source_topic = $2 and source_partition = $3 and seq > $4
"""


# Each table gives its next rows in the order of its index: sorted together, all that is left would be read for every page. How
# much is before a row is known without reading what is before it: a value's length stands where the value does not.
_PAGE = """
select * from (
    select *, coalesce(sum(octet_length(value)) over (order by seq rows between unbounded preceding and 1 preceding), 0) as before
    from (select * from ({tables}) as both_tables order by seq limit {rows}) as rows_of_a_page
) as measured
where before < {size} order by seq
"""


def _unannounced(outbox: str | None) -> str:
    tables = [_POISON, _DECIDED.format(outbox=outbox)] if outbox else [_POISON]
    pages = " union all ".join(f"({table} order by seq limit {PAGE})" for table in tables)
    return _PAGE.format(tables=pages, rows=PAGE, size=PAGE_BYTES)


async def announce_again(
    connection: asyncpg.Connection,
    sender: Sender,
    service: str,
    outbox: str | None,
    lease: Lease,
    *,
    told: Callable[[int], None],
) -> int:
    """Announces everything above ``relayed_seq``, after a take-over. Returns how many. Raises Retry.

    ``lease.relayed_seq`` follows what was acknowledged, page by page, and is marked at once: whoever takes the lease next goes
    on from there, and a batch that waits for the mark gives its leases up before a sweep could store it. ``told`` is called
    with each page's number of messages.
    """
    query = _unannounced(outbox)
    announced = 0
    while lease.relayed_seq < lease.out_seq:
        rows = await connection.fetch(query, service, lease.topic, lease.partition, lease.relayed_seq)
        if not rows:
            break
        await sender.send([_outgoing(row) for row in rows])
        lease.relayed_seq = rows[-1]["seq"]
        await leases.mark(connection, service, [lease])
        announced += len(rows)
        told(len(rows))
    return announced


def _outgoing(row: asyncpg.Record) -> Outgoing:
    if row["target"] is not None:
        return Outgoing(Message(row["target"], row["part"], row["key"], row["value"]))
    headers = _why(row["reason"], row["detail"], row["topic"], row["partition"], row["record_offset"])
    return Outgoing(Message(DEAD, row["part"], row["key"] or b"", row["value"]), headers)
