"""The relay: what was decided is announced, in the order of its numbers, by the lease's owner.

Inline after the commit in the ordinary case; from the tables after a take-over. Consumers drop what they have.
"""

from collections.abc import Sequence
from typing import NamedTuple, Protocol

import asyncpg

from shared.events import DEAD
from shared.runtime.lease import Lease
from shared.runtime.quarantine import Poison
from shared.runtime.step import Message

PAGE = 1000
_REASON_MAX = 2_000  # characters of a dead letter's reason: the whole must fit where the record did, and little more


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
        ("reason", f"{reason}: {detail}"[:_REASON_MAX].encode("utf-8", "replace")),
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


def _unannounced(outbox: str | None) -> str:
    both = f"{_POISON} union all {_DECIDED.format(outbox=outbox)}" if outbox else _POISON
    return f"select * from ({both}) as both_tables order by seq limit {PAGE}"  # noqa: S608 - a table's name from our own code


async def announce_again(connection: asyncpg.Connection, sender: Sender, service: str, outbox: str | None, lease: Lease) -> int:
    """Announces everything above ``relayed_seq``, after a take-over. Returns how many. Raises Retry.

    ``lease.relayed_seq`` follows what was acknowledged, page by page.
    """
    query = _unannounced(outbox)
    announced = 0
    while lease.relayed_seq < lease.out_seq:
        rows = await connection.fetch(query, service, lease.topic, lease.partition, lease.relayed_seq)
        if not rows:
            break
        await sender.send([_outgoing(row) for row in rows])
        lease.relayed_seq = rows[-1]["seq"]
        announced += len(rows)
    return announced


def _outgoing(row: asyncpg.Record) -> Outgoing:
    if row["target"] is not None:
        return Outgoing(Message(row["target"], row["part"], row["key"], row["value"]))
    headers = _why(row["reason"], row["detail"], row["topic"], row["partition"], row["record_offset"])
    return Outgoing(Message(DEAD, row["part"], row["key"] or b"", row["value"]), headers)
