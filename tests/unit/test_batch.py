"""A batch on its way to decisions: nothing is counted twice, poison takes no neighbour, the order is kept."""

from collections.abc import Sequence
from typing import Any, ClassVar, NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.errors import Unreadable
from shared.events import DEAD, REJECTED, SETTLED
from shared.runtime import batch
from shared.runtime.batch import Batch, Entry, Undecidable, decide, hold_back, read
from shared.runtime.lease import Lease, Place
from shared.runtime.quarantine import REDRIVE_HEADER, Poison, indexable
from shared.runtime.step import Filed, Message, Record

TOPIC = "claims.accepted"


class Task(NamedTuple):
    """What one record wants: ``do`` is settle, reject, quiet, repeat, fail, late (unreadable in decide), bad, bug."""

    claim: str | None
    do: str


class Scripted:
    """A step that does what its records say."""

    service: ClassVar[str] = "scripted"
    topics: ClassVar[tuple[str, ...]] = (TOPIC,)

    def __init__(self, outbox: str | None = "scripted.row") -> None:
        self.outbox = outbox

    def decode(self, record: Record) -> Task:
        do, _, claim = record.value.decode().partition(":")
        if do == "bad":
            raise Unreadable("no claim")
        if do == "bug":
            raise KeyError("a bug of the decoder")
        return Task(claim or None, do)

    def key(self, event: Task) -> str | None:
        return event.claim

    async def load(self, tx: Any, events: Sequence[Task]) -> None: ...

    def decide(self, event: Task, facts: list[Task]) -> Task | None:
        if event.do == "fail":
            raise ValueError("stumbles")
        if event.do == "late":
            raise Unreadable("only seen now")
        facts.append(event)
        return None if event.do == "repeat" else event

    def announce(self, decision: Task) -> Message | None:
        if decision.do == "quiet":
            return None
        return Message(REJECTED if decision.do == "reject" else SETTLED, 0, b"", (decision.claim or "").encode())

    async def record(self, tx: Any, filed: Sequence[Filed[Task]]) -> None: ...


def record(do: str, claim: str = "", *, partition: int = 0, offset: int = 0, redrive: int | None = None) -> Record:
    headers = ((REDRIVE_HEADER, str(redrive).encode()),) if redrive is not None else ()
    return Record(TOPIC, partition, offset, 0, b"k", f"{do}:{claim}".encode(), headers)


def leases(partitions: int = 1) -> dict[Place, Lease]:
    return {(TOPIC, n): Lease(TOPIC, n, 1, 100 * n, None, 10 * n, 0, 0) for n in range(partitions)}


def settle(step: Scripted, entries: list[Entry], held: dict[str, dict[int, int]], places: dict[Place, Lease]) -> Batch[Task]:
    """What the loop does with a batch: again from the start for each that cannot be decided."""
    while True:
        hold_back(entries, {key: dict(ranks) for key, ranks in held.items()})
        try:
            return decide(step, [], entries, places)
        except Undecidable as failed:
            failed.entry.condemn(failed.reason, failed.detail)


def became(entries: Sequence[Entry]) -> list[str]:
    return [entry.poison.reason if entry.poison else "decided" for entry in entries]


# -- holding back -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("records", "held", "expected"),
    [
        pytest.param([("settle", "A", None)], {}, ["decided"], id="nothing held"),
        pytest.param([("settle", "A", None)], {"A": {5: 5}}, ["behind"], id="a predecessor in quarantine"),
        pytest.param([("settle", "B", None)], {"A": {5: 5}}, ["decided"], id="another claim"),
        pytest.param([("fail", "A", None), ("settle", "A", None)], {}, ["failed", "behind"], id="a predecessor in the batch"),
        pytest.param([("settle", "A", None), ("fail", "A", None)], {}, ["decided", "failed"], id="a successor holds nobody"),
        pytest.param([("bad", "A", None), ("settle", "A", None)], {}, ["unreadable", "decided"], id="unreadable has no claim"),
        pytest.param([("late", "A", None), ("settle", "A", None)], {}, ["unreadable", "behind"], id="readable, then not"),
        pytest.param([("settle", "A", 5)], {"A": {5: 5}}, ["decided"], id="a redrive passes its own row"),
        pytest.param([("settle", "A", 5)], {"A": {5: 5, 7: 7}}, ["decided"], id="and rows after it"),
        pytest.param([("settle", "A", 7)], {"A": {5: 5, 7: 7}}, ["behind"], id="but none before it"),
        pytest.param([("settle", "A", 9)], {"A": {5: 5, 9: 3}}, ["decided"], id="rank goes before id"),
        pytest.param([("settle", "A", 5), ("settle", "A", 7)], {"A": {5: 5, 7: 7}}, ["decided"] * 2, id="two in order"),
        pytest.param([("settle", "A", 7), ("settle", "A", 5)], {"A": {5: 5, 7: 7}}, ["behind", "decided"], id="two turned round"),
        pytest.param(
            [("fail", "A", 5), ("settle", "A", 7)], {"A": {5: 5, 7: 7}}, ["failed", "behind"], id="the first fails again"
        ),
        pytest.param(
            [("settle", "A", None), ("settle", "A", 5)], {"A": {5: 5}}, ["behind", "decided"], id="a newer one before it"
        ),
        pytest.param([("settle", "A", 6)], {"A": {5: 5}}, ["behind"], id="a redrive of a row that is not held is no redrive"),
        pytest.param([("settle", "B", 5)], {"A": {5: 5}}, ["decided"], id="a redrive of another claim's row passes nothing"),
    ],
)
def test_a_record_waits_for_what_came_before_it(
    records: list[tuple[str, str, int | None]], held: dict[str, dict[int, int]], expected: list[str]
) -> None:
    made = [record(do, claim, offset=n, redrive=redrive) for n, (do, claim, redrive) in enumerate(records)]
    entries = read(Scripted(), made)
    settle(Scripted(), entries, held, leases())
    assert became(entries) == expected


def test_what_waited_in_one_try_may_pass_in_the_next() -> None:
    entries = read(Scripted(), [record("settle", "A")])
    hold_back(entries, {"A": {1: 1}})
    assert entries[0].poison is not None
    hold_back(entries, {})
    assert entries[0].poison is None


# -- laws ---------------------------------------------------------------------------------------------------------------

tasks = st.tuples(
    st.sampled_from(["settle", "settle", "reject", "quiet", "repeat", "fail", "late", "bad", "bug"]),
    st.sampled_from("ABCD"),
    st.integers(0, 2),
)


def naive(wanted: Sequence[tuple[str, str, int]]) -> list[str]:
    """The fate of each record, one after the other, by a second and simpler reading of the rules."""
    blocked: set[str] = set()
    fates = []
    for do, claim, _ in wanted:
        if do in ("bad", "bug"):
            fates.append("unreadable" if do == "bad" else "failed")
        elif claim in blocked:
            fates.append("behind")
        elif do in ("fail", "late"):
            blocked.add(claim)
            fates.append("failed" if do == "fail" else "unreadable")
        else:
            fates.append(do)
    return fates


@given(st.lists(tasks, max_size=30), st.booleans())
def test_every_record_is_counted_once_and_numbers_have_no_gap(wanted: list[tuple[str, str, int]], with_table: bool) -> None:
    step, places = Scripted("scripted.row" if with_table else None), leases(3)
    offsets = {n: 100 * n for n in range(3)}
    records = []
    for do, claim, partition in wanted:
        records.append(record(do, claim, partition=partition, offset=offsets[partition]))
        offsets[partition] += 1
    entries = read(step, records)
    used = {place: lease for place, lease in places.items() if any(entry.place == place for entry in entries)}
    done = settle(step, entries, {}, used)

    fates = naive(wanted)
    for place, by in done.advances.items():
        mine = [fate for fate, (_, _, partition) in zip(fates, wanted, strict=True) if partition == place[1]]
        quarantined = sum(fate in ("unreadable", "failed", "behind") for fate in mine)
        counted = (by.decided, by.repeated, by.rejected, by.quarantined)
        assert counted == (mine.count("settle") + mine.count("quiet"), mine.count("repeat"), mine.count("reject"), quarantined)
        assert by.records == len(mine)
        assert by.next_offset == offsets[place[1]]
        seqs = [filed.seq for filed in done.filed if (filed.topic, filed.partition) == place and filed.seq is not None]
        seqs += [seq for poison, seq in done.poison if (poison.record.topic, poison.record.partition) == place]
        assert sorted(seqs) == list(range(10 * place[1] + 1, by.out_seq + 1))
    assert [filed.decision.do for filed in done.filed] == [fate for fate in fates if fate in ("settle", "reject", "quiet")]
    assert [poison.reason for poison, _ in done.poison] == [fate for fate in fates if fate in ("unreadable", "failed", "behind")]
    announced = [fate for fate in fates if fate not in ("quiet", "repeat")]
    assert [one.message.topic == DEAD for one in done.outgoing] == [
        fate in ("unreadable", "failed", "behind") for fate in announced
    ]


@given(st.lists(tasks, max_size=20))
def test_poison_keeps_its_bytes_and_takes_no_neighbour(wanted: list[tuple[str, str, int]]) -> None:
    """With the poison taken out beforehand, the rest is decided as with it, unless it waits behind it."""
    records = [record(do, claim, offset=n) for n, (do, claim, _) in enumerate(wanted)]
    done = settle(Scripted(), read(Scripted(), records), {}, leases())
    assert {poison.record for poison, _ in done.poison} | {records[filed.offset] for filed in done.filed} <= set(records)
    poisonous = {claim for do, claim, _ in wanted if do in ("fail", "late")}
    healthy = [
        one for one, (do, claim, _) in zip(records, wanted, strict=True) if do not in ("bad", "bug") and claim not in poisonous
    ]
    alone = settle(Scripted(), read(Scripted(), healthy), {}, leases())
    assert [f.decision for f in alone.filed] == [f.decision for f in done.filed if f.decision.claim not in poisonous]


def test_the_last_record_of_each_partition_names_the_log() -> None:
    records = [record("settle", "A", partition=0), record("bad", partition=1), record("fail", "B", partition=1, offset=1)]
    entries = read(Scripted(), records)
    done = settle(Scripted(), entries, {}, leases(2))
    assert done.advances[TOPIC, 0].last_digest == batch.digest(records[0])
    assert done.advances[TOPIC, 1].last_digest == batch.digest(records[2])


def test_a_digest_tells_key_and_value_apart() -> None:
    one = Record(TOPIC, 0, 0, 0, b"a", b"b")
    assert len({batch.digest(one), batch.digest(one._replace(key=b"ab", value=b"")), batch.digest(one._replace(value=b"c"))}) == 3
    assert batch.digest(one._replace(offset=9, timestamp_ms=9)) == batch.digest(one)


@pytest.mark.parametrize("key", ["5:H0001:C1", "x" * 400, "号" * 400])
def test_an_ordinary_key_is_kept_as_it_is(key: str) -> None:
    assert indexable(key) == key


@given(st.text(st.characters(exclude_categories=[]), max_size=600))
def test_any_key_can_be_stored_and_indexed(key: str) -> None:
    kept = indexable(key)
    assert "\0" not in kept
    assert len(kept) <= 400
    assert kept == indexable(key)
    kept.encode()


def test_a_poison_has_the_part_of_its_key() -> None:
    [entry] = read(Scripted(), [record("bad")._replace(key=None)])
    assert isinstance(entry.poison, Poison)
    assert entry.poison.part == 0
