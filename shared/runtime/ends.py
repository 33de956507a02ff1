"""Where the records of a partition end. A log may end in what is no record to anybody: marks of transactions, aborted ones.

Outsiders write in transactions, and a lease is only moved by records: whoever compares it with the log's own end waits for ever.
"""

from typing import Final

from aiokafka import AIOKafkaConsumer, TopicPartition

from shared.runtime.lease import Place

_BACK: Final = 16  # offsets looked at first; as there is mostly one mark, this finds the record before it at once
_FURTHER: Final = 16
_POLL_MS: Final = 200


async def end_of_records(consumer: AIOKafkaConsumer, place: Place, start: int, end: int) -> int:
    """The offset behind the last record before ``end``; ``start``, where the log begins, if there is none.

    ``end`` itself while a transaction before it is open: what lies behind that is not known to be nothing. ``consumer`` reads
    what is committed, and is assigned to this partition. Raises KafkaError, OSError.
    """
    partition = TopicPartition(*place)
    consumer.assign([partition])
    width, before = _BACK, end
    while before > start:
        first = max(start, end - width)
        found = await _last_end(consumer, partition, first, before)
        if found is not None:
            return found
        width, before = width * _FURTHER, first
    return start


async def _last_end(consumer: AIOKafkaConsumer, partition: TopicPartition, first: int, end: int) -> int | None:
    """The offset behind the last record from ``first`` on and before ``end``; at least ``end`` if nobody can know yet."""
    consumer.seek(partition, first)
    found = None
    while await consumer.position(partition) < end:
        fetched = await consumer.getmany(partition, timeout_ms=_POLL_MS)
        for record in fetched.get(partition, ()):
            if record.offset < end:
                found = record.offset + 1
        settled = consumer.last_stable_offset(partition)
        if settled is not None and settled < end and await consumer.position(partition) >= settled:
            return end
    return found
