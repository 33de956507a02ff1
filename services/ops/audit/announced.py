"""I11 and I17 on the topics: every decision was announced, and after de-duplication a topic is what the tables say.

One topic after the other; of each message only a digest with its partition and first offset is held.
"""
# ruff: noqa: S608 - SQL put together from this package's own names

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from hashlib import md5
from typing import Final, NamedTuple

from aiokafka import AIOKafkaConsumer, ConsumerRecord, TopicPartition
from aiokafka.errors import KafkaError, OffsetOutOfRangeError

from services.ops.audit.check import Check, Finding
from services.ops.audit.counts import OUTBOXES
from services.ops.audit.view import NOWHERE, View
from shared.errors import ServerMissing
from shared.events import ACCEPTED, ADJUDICATED, DEAD, OBLIGATIONS, REJECTED, SETTLED, SUBMITTED
from shared.runtime import access
from shared.runtime.ends import end_of_records
from shared.runtime.lease import Place
from shared.runtime.relay import REASON_MAX

READ: Final = (ACCEPTED, ADJUDICATED, SETTLED, REJECTED, OBLIGATIONS, DEAD)
_SECONDS: Final = 30.0
_NAMED: Final = {
    "intake.outgoing": "t.event_id",
    **dict.fromkeys(
        ("adjudication.decision", "account.outcome", "crossregion.obligation"),
        "t.institution_id || '/' || t.claim_no || ' ' || t.kind",
    ),
    "runtime.quarantine": "'quarantine ' || t.id",
}
# What is compared. Of a dead letter also why and where from, as ``relay`` writes them into headers, and the key it came with.
_WHY: Final = f"left(t.reason || ': ' || t.detail, {REASON_MAX}) || t.record_offset"
_COMPARED: Final = {"runtime.quarantine": f"t.value || convert_to({_WHY}, 'utf8') || coalesce(t.key, '')"}
_POISON: Final = "service = t.service and l.topic = t.topic and l.partition = t.partition"
_DECIDED: Final = "topic = t.source_topic and l.partition = t.source_partition"


class Seen(NamedTuple):
    """A message: where, and the digest of its bytes."""

    partition: int
    digest: bytes


@asynccontextmanager
async def log(bootstrap: str) -> AsyncIterator[AIOKafkaConsumer]:
    """A consumer that belongs to no group, so that looking disturbs nobody. Raises ServerMissing."""
    consumer = AIOKafkaConsumer(
        **access.kafka(bootstrap),
        enable_auto_commit=False,
        auto_offset_reset="none",
        isolation_level="read_committed",
        max_partition_fetch_bytes=8 * 1024 * 1024,
        check_crcs=False,
        fetch_max_wait_ms=20,  # a poll at the end of one topic would hold up the next
    )
    try:
        try:
            await asyncio.wait_for(consumer.start(), _SECONDS)
        except (KafkaError, OSError, TimeoutError) as trouble:
            raise await access.kafka_missing(bootstrap, trouble) from trouble
        yield consumer
    finally:
        await consumer.stop()


async def bounds(consumer: AIOKafkaConsumer, places: Iterable[Place]) -> tuple[dict[Place, int], dict[Place, int]]:
    """Where these partitions start, and where they end. Raises ServerMissing."""
    there = await consumer.topics()
    wanted = [TopicPartition(*place) for place in places if place[0] in there]
    try:
        async with asyncio.timeout(_SECONDS):
            starts = await consumer.beginning_offsets(wanted)
            ends = await consumer.end_offsets(wanted)
    except (KafkaError, OSError, TimeoutError) as trouble:
        raise ServerMissing("kafka", f"{type(trouble).__name__}: {trouble}; start it (gongji servers up)") from trouble
    return {(p.topic, p.partition): o for p, o in starts.items()}, {(p.topic, p.partition): o for p, o in ends.items()}


async def partitions_of(consumer: AIOKafkaConsumer, topics: Iterable[str]) -> dict[str, int]:
    """How many partitions these topics have, of those that are there. Raises ServerMissing."""
    starts, _ = await bounds(consumer, [(topic, 0) for topic in topics])  # after which the consumer knows their partitions
    return {topic: len(consumer.partitions_for_topic(topic) or ()) for topic, _ in starts}


async def ends_of_records(
    consumer: AIOKafkaConsumer, starts: Mapping[Place, int], ends: Mapping[Place, int], reached: Mapping[Place, int]
) -> dict[Place, int]:
    """The ends, and where a lease has not ``reached`` one, that of the records before it. Raises ServerMissing.

    Behind an outsider's transaction no lease ever would reach the log's own end, and nothing would be judged as being at rest.
    """
    found = dict(ends)
    try:
        for place in [place for place, end in ends.items() if reached.get(place, 0) < end]:
            async with asyncio.timeout(_SECONDS):
                found[place] = await end_of_records(consumer, place, starts[place], ends[place])
    except (KafkaError, OSError, TimeoutError) as trouble:
        raise ServerMissing("kafka", f"{type(trouble).__name__}: {trouble}; start it (gongji servers up)") from trouble
    return found


async def read(view: View, consumer: AIOKafkaConsumer, topic: str) -> AsyncIterator[ConsumerRecord]:
    """Everything on a topic up to where it ended after the snapshot. Raises ServerMissing."""
    left = {
        TopicPartition(topic, p)
        for p in range(view.partitions)
        if view.ends_after.get((topic, p), 0) > view.starts.get((topic, p), 0)
    }
    if not left:
        return
    consumer.assign(list(left))
    for place in left:
        consumer.seek(place, view.starts[place.topic, place.partition])
    try:
        while left:
            fetched = await _fetched(view, consumer, left)
            for place, records in fetched.items():
                for record in records:
                    if record.offset < view.ends_after[place.topic, place.partition]:
                        yield record
            for place in list(left):  # by position, because marks of transactions are no records
                if await consumer.position(place) >= view.ends_after[place.topic, place.partition]:
                    left.discard(place)
    except (KafkaError, OSError, TimeoutError) as trouble:
        raise ServerMissing("kafka", f"{type(trouble).__name__}: {trouble}; while reading {topic}") from trouble


async def _fetched(
    view: View, consumer: AIOKafkaConsumer, left: set[TopicPartition]
) -> Mapping[TopicPartition, Sequence[ConsumerRecord]]:
    """The next records. What retention took away since the audit began is left out, and ``view.starts`` moved behind it."""
    try:
        async with asyncio.timeout(_SECONDS):
            return dict(await consumer.getmany(*left, timeout_ms=1000, max_records=5000))
    except OffsetOutOfRangeError as pruned:
        gone: Iterable[TopicPartition] = pruned.args[0]
        view.starts |= (await bounds(consumer, [(place.topic, place.partition) for place in gone]))[0]
        for place in gone:
            consumer.seek(place, view.starts[place.topic, place.partition])
        return {}


def _outboxes(topic: str) -> list[tuple[str, str, str, str]]:
    """(service, table, how a row finds its lease, its topic) of the tables that announce there."""
    if topic == DEAD:
        return [("", "runtime.quarantine", _POISON, f"'{DEAD}'")]
    return [(service, table, f"service = '{service}' and l.{_DECIDED}", "t.target") for service, table in OUTBOXES]


async def _names(view: View, topic: str, missing: list[Seen]) -> list[str]:
    """The keys of rows whose message is missing."""
    names = []
    for _, table, _, target in _outboxes(topic):
        found = await view.connection.fetch(
            f"select {_NAMED[table]} as name from {table} t where {target} = $1 and {_digest(table)} = any($2::bytea[])",
            topic,
            [one.digest for one in missing],
        )
        names += [f"{table} {row['name']}" for row in found]
    return names


def _digest(table: str) -> str:
    return f"decode(md5({_COMPARED.get(table, 't.value')}), 'hex')"


def _compared(record: ConsumerRecord) -> bytes:
    value: bytes = record.value or b""
    if record.topic != DEAD:
        return value
    said: dict[str, bytes] = dict(record.headers)
    why = said.get("reason", b"").replace(b"\0", "\ufffd".encode())  # a text of Postgres holds no NUL
    return value + why + said.get("offset", b"") + (record.key or b"")


async def _compare(view: View, consumer: AIOKafkaConsumer, topic: str) -> Finding:
    """What is held is as much as the topic has: retention bounds that, and nothing bounds the tables."""
    check = Check(
        "I11",
        f"topic_equals_table: {topic}",
        "主题去重后等于表",
        "after de-duplication the topic is what the tables say",
        (topic,),
    )
    finding = Finding(check)
    messages = 0
    strangers: dict[Seen, int] = {}  # each message with the first offset at which it stands, until its row is found
    async for record in read(view, consumer, topic):
        messages += 1
        seen = Seen(record.partition, md5(_compared(record), usedforsecurity=False).digest())
        strangers.setdefault(seen, record.offset)
    distinct = len(strangers)
    missing, present = await _without_message(view, topic, strangers, finding)
    for (partition, _), offset in strangers.items():
        if offset < view.ends_before.get((topic, partition), 0):
            finding.breach(f"{topic}/{partition}@{offset}", "a message that is in no table")
    total = finding.total + len(missing)
    for name in await _names(view, topic, list(missing)[:100]) if missing else ():
        finding.breach(name, f"marked as announced, and not on {topic}")
    finding.total = total
    finding.notes.append(f"{messages} messages, {len(present)} of {distinct} distinct in {finding.rows} rows of the tables")
    if pruned := _pruned(view, topic):
        finding.notes.append(f"retention has begun to prune partitions {sorted(pruned)}: nothing there counts as missing")
    return finding


async def _without_message(view: View, topic: str, strangers: dict[Seen, int], finding: Finding) -> tuple[set[Seen], set[Seen]]:
    """Goes through the rows. What should be there and is not; and what is there, which is taken from the ``strangers``."""
    missing: set[Seen] = set()
    present: set[Seen] = set()
    in_flight: set[Seen] = set()
    pruned = _pruned(view, topic)
    for _, table, lease, target in _outboxes(topic):
        query = f"""
            select t.part * $2 / 1024 as partition, {_digest(table)} as digest, t.seq <= l.relayed_seq as announced
            from {table} t join runtime.lease l on l.{lease} where {target} = $1 and t.seq is not null
        """
        async for row in view.connection.cursor(query, topic, view.partitions, prefetch=5000):
            finding.rows += 1
            seen = Seen(row["partition"], row["digest"])
            if strangers.pop(seen, None) is not None:
                present.add(seen)
            elif seen in present:
                continue
            elif not row["announced"]:
                in_flight.add(seen)
            elif row["partition"] not in pruned:
                missing.add(seen)
    finding.in_flight = len(in_flight - missing)
    return missing, present


def _pruned(view: View, topic: str) -> set[int]:
    return {partition for (name, partition), start in view.starts.items() if name == topic and start > 0}


async def _submitted(view: View, consumer: AIOKafkaConsumer) -> Finding:
    """Records of outsiders are counted one by one, because their transactions leave gaps between offsets."""
    check = Check(
        "I17",
        "submissions_are_all_read",
        "提交主题的记录无一遗漏",
        "intake counted every record of the log up to where it is",
        (SUBMITTED, "runtime.lease"),
    )
    finding = Finding(check)
    counted: Counter[int] = Counter()
    async for record in read(view, consumer, SUBMITTED):
        lease = view.leases.get(("intake", (SUBMITTED, record.partition)), NOWHERE)
        counted[record.partition] += record.offset < lease.next_offset
        finding.rows += 1
    for partition in range(view.partitions):
        lease = view.leases.get(("intake", (SUBMITTED, partition)), NOWHERE)
        began = view.counts_began.get(f"intake {SUBMITTED}/{partition}", 0)
        if view.starts.get((SUBMITTED, partition), 0) == 0 and counted[partition] != lease.records - began:
            finding.breach(
                f"intake {SUBMITTED}/{partition}",
                f"the log has {counted[partition]} records before {lease.next_offset}, intake counts {lease.records - began}",
            )
    return finding


async def announced(view: View) -> list[Finding]:
    """Reads the topics through, unless that was left out."""
    if not view.topics:
        return []
    async with log(view.kafka) as consumer:
        findings = [await _compare(view, consumer, topic) for topic in READ]
        return [*findings, await _submitted(view, consumer)]
