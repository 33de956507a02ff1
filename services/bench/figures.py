"""What a run came to, read from the topics' own timestamps and from the kernel's accounting."""

import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Final, NamedTuple

from aiokafka import AIOKafkaConsumer, TopicPartition

from services.bench.load import Prepared, number_of
from shared.runtime import access

_TICKS: Final = os.sysconf("SC_CLK_TCK")


class Seen(NamedTuple):
    """A message of a topic: when the sender gave it to Kafka (Unix ms), and its value."""

    timestamp_ms: int
    value: bytes


async def messages(bootstrap: str, topics: Sequence[str], partitions: int) -> list[Seen]:
    """Everything that stands on these topics."""
    consumer = AIOKafkaConsumer(**access.kafka(bootstrap), max_partition_fetch_bytes=4_194_304)
    await consumer.start()
    try:
        places = [TopicPartition(topic, partition) for topic in topics for partition in range(partitions)]
        ends = {place: end for place, end in (await consumer.end_offsets(places)).items() if end}
        if not ends:
            return []
        consumer.assign(list(ends))
        await consumer.seek_to_beginning()
        seen: list[Seen] = []
        while ends:
            for place, fetched in (await consumer.getmany(timeout_ms=500, max_records=10_000)).items():
                seen += [Seen(one.timestamp, one.value) for one in fetched]
                if fetched[-1].offset + 1 >= ends.get(place, 0):
                    ends.pop(place, None)
        return seen
    finally:
        await consumer.stop()


def latencies_ms(records: Sequence[Prepared], start: float, rate: float, outcomes: Iterable[Seen]) -> list[float]:
    """From a record's intended send time to its first outcome on the wire, for the first record of each number. Sorted."""
    due: dict[tuple[str, str, str], float] = {}
    for i, record in enumerate(records):
        number = number_of(record.value)
        if number is not None:
            due.setdefault(number, start + i / rate)
    found: dict[tuple[str, str, str], float] = {}
    for seen in outcomes:
        number = number_of(seen.value)
        if number in due and number not in found:
            found[number] = seen.timestamp_ms - due[number] * 1000
    return sorted(found.values())


def percentile(ordered: Sequence[float], share: float) -> float:
    """The value below which a share (0…1) of the sorted values lies; 0 for none."""
    return ordered[min(len(ordered) - 1, int(len(ordered) * share))] if ordered else 0.0


def rate_of(timestamps_ms: Iterable[int]) -> float:
    """Messages a second between the first and the last."""
    ordered = sorted(timestamps_ms)
    if len(ordered) < 2:
        return 0.0
    return (len(ordered) - 1) / max(0.001, (ordered[-1] - ordered[0]) / 1000)


def cpu_seconds(roots: Mapping[str, int]) -> dict[str, float]:
    """Processor seconds used so far by each named process and all that it started (as far as they live or were waited for)."""
    parents: dict[int, list[int]] = {}
    used: dict[int, float] = {}
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit():
            continue
        try:
            fields = (entry / "stat").read_text().rpartition(")")[2].split()
        except OSError:
            continue
        parents.setdefault(int(fields[1]), []).append(int(entry.name))
        used[int(entry.name)] = (int(fields[11]) + int(fields[12])) / _TICKS
    return {name: _tree(pid, parents, used) for name, pid in roots.items()}


def _tree(pid: int, parents: Mapping[int, list[int]], used: Mapping[int, float]) -> float:
    return used.get(pid, 0.0) + sum(_tree(child, parents, used) for child in parents.get(pid, ()))
