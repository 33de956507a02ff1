"""What a run came to, read from the topics' own timestamps and from the kernel's accounting."""

import os
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Final, NamedTuple

from aiokafka import AIOKafkaConsumer, TopicPartition

from services.bench.load import Number, Prepared, number_of
from shared.runtime import access

_TICKS: Final = os.sysconf("SC_CLK_TCK")


class Seen(NamedTuple):
    """A message of a topic: when the sender gave it to Kafka (Unix ms), and its value."""

    timestamp_ms: int
    value: bytes


async def messages(bootstrap: str, topics: Sequence[str], partitions: int, since_ms: int = 0) -> list[Seen]:
    """Everything on these topics that was given to Kafka at an instant (Unix ms) or later."""
    consumer = AIOKafkaConsumer(**access.kafka(bootstrap), max_partition_fetch_bytes=4_194_304)
    await consumer.start()
    try:
        places = [TopicPartition(topic, partition) for topic in topics for partition in range(partitions)]
        ends = await consumer.end_offsets(places)
        first = {
            place: at.offset for place, at in (await consumer.offsets_for_times(dict.fromkeys(places, since_ms))).items() if at
        }
        ends = {place: ends[place] for place, offset in first.items() if offset < ends[place]}
        consumer.assign(list(ends))
        for place in ends:
            consumer.seek(place, first[place])
        seen: list[Seen] = []
        while ends:
            for place, fetched in (await consumer.getmany(timeout_ms=500, max_records=10_000)).items():
                seen += [Seen(one.timestamp, one.value) for one in fetched if one.timestamp >= since_ms]
                if fetched[-1].offset + 1 >= ends.get(place, 0):
                    ends.pop(place, None)
        return seen
    finally:
        await consumer.stop()


class Latency(NamedTuple):
    """One record: when it was due (seconds after the first), and how long until its outcome stood on its topic (ms)."""

    due: float
    ms: float
    number: Number | None = None


def latencies_ms(records: Sequence[Prepared], start: float, rate: float, outcomes: Iterable[Seen]) -> list[Latency]:
    """From a record's intended send time to its first outcome on the wire, for the first record of each number."""
    due: dict[Number, float] = {}
    for i, record in enumerate(records):
        number = number_of(record.value)
        if number is not None:
            due.setdefault(number, start + i / rate)
    found: dict[Number, Latency] = {}
    for seen in sorted(outcomes, key=lambda one: one.timestamp_ms):
        number = number_of(seen.value)
        if number in due and number not in found:
            found[number] = Latency(due[number] - start, seen.timestamp_ms - due[number] * 1000, number)
    return list(found.values())


SHARES: Final = {"50": 0.5, "95": 0.95, "99": 0.99, "99_9": 0.999, "99_99": 0.9999, "100": 1.0}


def spread(latencies: Iterable[Latency]) -> dict[str, float]:
    """``p50_ms`` and so on: exact, from every single latency."""
    ordered = sorted(one.ms for one in latencies)
    return {f"p{name}_ms": round(percentile(ordered, share), 1) for name, share in SHARES.items()}


def by_second(latencies: Iterable[Latency]) -> list[tuple[float, float]]:
    """(p50, p99) in ms of what was due in each second of the load: a stall shows here and nowhere else."""
    seconds: dict[int, list[float]] = {}
    for one in latencies:
        seconds.setdefault(int(one.due), []).append(one.ms)
    return [
        (round(percentile(ordered, 0.5), 1), round(percentile(ordered, 0.99), 1))
        for ordered in (sorted(seconds.get(second, ())) for second in range(max(seconds, default=-1) + 1))
    ]


def left_behind(latencies: Sequence[Latency]) -> int:
    """How many outcomes were still to come when the last record was due: what a rate that cannot be carried piles up."""
    last = max((one.due for one in latencies), default=0.0)
    return sum(one.due + one.ms / 1000 > last for one in latencies)


def percentile(ordered: Sequence[float], share: float) -> float:
    """The value below which a share (0…1) of the sorted values lies; 0 for none."""
    return ordered[min(len(ordered) - 1, int(len(ordered) * share))] if ordered else 0.0


def rate_of(timestamps_ms: Iterable[int]) -> float:
    """Messages a second between the first and the last."""
    ordered = sorted(timestamps_ms)
    if len(ordered) < 2:
        return 0.0
    return (len(ordered) - 1) / max(0.001, (ordered[-1] - ordered[0]) / 1000)


def by_tenth(timestamps_ms: Sequence[int]) -> list[float]:
    """Messages a second in each tenth of them: whether work grows slower the more of it is done."""
    ordered, size = sorted(timestamps_ms), len(timestamps_ms) // 10
    return [rate_of(ordered[size * n : size * (n + 1)]) for n in range(10)] if size else []


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


def ms_by_thread(pid: int) -> Counter[str]:
    """Processor time (ms) used so far by the living threads of a process; those whose names differ by a number together."""
    used: Counter[str] = Counter()
    for entry in Path(f"/proc/{pid}/task").iterdir():
        try:
            before, _, after = (entry / "stat").read_text().rpartition(")")
        except OSError:
            continue
        fields = after.split()
        used[before.partition("(")[2].rstrip("0123456789 #-")] += (int(fields[11]) + int(fields[12])) * 1000 // _TICKS
    return used


def _tree(pid: int, parents: Mapping[int, list[int]], used: Mapping[int, float]) -> float:
    return used.get(pid, 0.0) + sum(_tree(child, parents, used) for child in parents.get(pid, ()))
