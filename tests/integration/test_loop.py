"""The loop on the real broker and the real books, with a small step of the tests' own (``loop_world``).

What FastStream and aiokafka were measured to lose or double (architecture.md, section 2) is tried here one by one.
"""

import asyncio
import json
import random
import struct
import threading
from collections.abc import Sequence
from typing import Any

import pytest
from aiokafka import AIOKafkaProducer
from aiokafka.errors import CorruptRecordException
from aiokafka.record.util import calc_crc32c
from diary import Diary, Note, claims, line
from loop_worker import until
from loop_world import PARTITIONS, World

from shared.runtime import fetch
from shared.runtime.loop import FAILURES_IN_A_ROW
from shared.runtime.quarantine import REDRIVE_HEADER
from shared.runtime.step import Record

pytestmark = pytest.mark.servers


# -- what cannot be read ------------------------------------------------------------------------------------------------


async def test_records_that_cannot_be_read_take_no_neighbour_with_them(world: World) -> None:
    await world.send([line("C1"), b"{", None, b"\xff\x00", line("C2")])
    await world.worker()
    await world.applied(5)
    assert await world.noted() == ["C1", "C2"]
    assert [letter.value for letter in await world.dead()] == [b"{", b"", b"\xff\x00"]
    assert sorted(await world.announced()) == ["C1", "C2"]


async def test_a_large_record_is_read_beside_the_event_loop(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """In one process with the counter, whose requests it must not hold up."""
    began, heard = threading.Event(), threading.Event()
    waited: list[bool] = []

    def decode(_self: Diary, record: Record) -> Note:
        began.set()
        waited.append(heard.wait(20))
        return Note(**json.loads(record.value))

    monkeypatch.setattr(Diary, "decode", decode)
    await world.send([line("C1") + b" " * 100_000])
    await world.worker()
    await until(began.is_set, "the record to be read")
    heard.set()
    await world.applied(1)
    assert (await world.noted(), waited) == (["C1"], [True])


async def test_headers_of_any_bytes_are_kept_and_disturb_nothing(world: World) -> None:
    headers = [("x", b"\xff\xfe"), ("", b""), ("none", None), ("correlation_id", b"\x80"), ("content-type", b"\xff")]
    await world.send([line("C1"), b"{"], headers=headers)
    await world.worker()
    await world.applied(2)
    assert await world.noted() == ["C1"]
    [row] = await world.quarantined()
    assert row["reason"] == "unreadable"


async def test_a_header_whose_name_is_no_text_loses_no_record_of_any_partition(world: World) -> None:
    """aiokafka reads names as UTF-8 and throws away what it had already drained from other partitions when that fails."""
    await world.worker()
    await until(lambda: len(world.workers[0].held) == PARTITIONS, "all partitions to be held")
    for turn in range(5):
        await asyncio.gather(
            *(world.send([line(f"P{n}-{turn}-{i}") for i in range(50)], partition=n) for n in (0, 2, 3)),
            _send_with_bytes_as_header_name(world, [line(f"P1-{turn}-{i}") for i in range(3)]),
        )
    await world.applied(5 * 153)
    assert len(await world.noted()) == 5 * 153


async def _send_with_bytes_as_header_name(world: World, values: Sequence[bytes], partition: int = 1) -> None:
    producer = AIOKafkaProducer(bootstrap_servers=world.kafka)
    await producer.start()
    try:
        builder = producer.create_batch()
        for value in values:
            builder.append(timestamp=None, key=b"k", value=value, headers=[("QQQQ", b"v")])
        builder.close()
        raw = bytearray(builder._build())
        for _ in values:
            at = raw.index(b"QQQQ")
            raw[at : at + 4] = b"\xff\xfe\x00\x80"
        raw[17:21] = struct.pack(">I", calc_crc32c(bytes(raw[21:])))
        builder._buffer = raw
        await (await producer.send_batch(builder, world.source, partition=partition))
    finally:
        await producer.stop()


@pytest.mark.parametrize("codec", ["gzip", "snappy", "lz4", "zstd"])
async def test_every_compression_that_a_kafka_client_may_choose_is_read(world: World, codec: str) -> None:
    await _send_compressed(world, codec, [line(claim) for claim in claims(20)])
    await world.worker()
    await world.applied(20)
    assert await world.noted() == claims(20)


async def _send_compressed(world: World, codec: str, values: Sequence[bytes]) -> None:
    await world.send(values, compression=codec)


async def test_what_the_client_cannot_read_at_all_stops_its_partition_alone(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And what the same call had drained of the others, with their positions moved on, is fetched again."""
    read = fetch.Records.next_batch
    blocked, go_on = asyncio.Event(), asyncio.Event()

    def broken(records: fetch.Records) -> Any:
        batch = read(records)
        if b"ROTTEN" in bytes(batch._raw):
            raise CorruptRecordException("a bit fell over on the broker's disk")
        return batch

    async def wait(_: Any, filed: Sequence[Any]) -> None:
        if filed[0].decision.claim == "wait":
            blocked.set()
            await asyncio.wait_for(go_on.wait(), 20)

    monkeypatch.setattr(fetch.Records, "next_batch", broken)
    monkeypatch.setattr("random.shuffle", list.sort)  # in which the client asks for its partitions
    worker = await world.worker(world.diary(during=wait))
    await world.holds_all(worker)
    await asyncio.gather(*(world.send([line(f"first{n}")], partition=n) for n in range(PARTITIONS)))
    await world.applied(PARTITIONS)
    await world.send([line("wait")], partition=3)
    await blocked.wait()
    for partition in (0, 1):  # fetched with the rotten one, and drained before it
        await world.send([line(f"P{partition}-{i}") for i in range(20)], partition=partition)
    await world.send([line("ROTTEN")], partition=2)
    go_on.set()
    await until(lambda: bool(worker.telemetry.stops), "the partition to stop")
    await world.send([line(f"P1-{i}") for i in range(20, 40)], partition=1)
    await world.applied(PARTITIONS + 1 + 60)
    assert list(worker.telemetry.stops) == [(world.source, 2)]
    assert "CorruptRecordException" in worker.telemetry.stops[world.source, 2]


# -- what cannot be decided ---------------------------------------------------------------------------------------------


async def test_what_cannot_be_decided_is_set_aside_in_its_place_and_its_neighbours_are_decided(world: World) -> None:
    work = [line("C1"), line("C2", "fail"), line("C3"), line("C4", "forbid"), line("C5"), line("C3"), line("C6", "quiet")]
    await world.send([*work, line("C7", "reject")])
    worker = await world.worker()
    await world.applied(8)
    assert await world.noted() == ["C1", "C3", "C5", "C6", "C7"]
    assert {row["claim_key"]: row["reason"] for row in await world.quarantined()} == {"C2": "failed", "C4": "constraint"}
    [why] = [row["detail"] for row in await world.quarantined() if row["reason"] == "constraint"]
    assert why == 'CheckViolationError: new row for relation "entry" violates check constraint "entry_allowed"'  # and no row
    lease = (await world.leases())[0]
    assert (lease["decided"], lease["repeated"], lease["rejected"], lease["quarantined"]) == (4, 1, 1, 2)
    assert sorted(await world.announced()) == ["C1", "C3", "C5"]
    assert [letter.value for letter in await world.dead()] == [line("C2", "fail"), line("C4", "forbid")]
    assert worker.telemetry.stops == {}


async def test_a_constraint_is_bisected_to_its_offender_in_a_full_batch(world: World) -> None:
    names = claims(200)
    offenders = {"C0", "C77", "C78", "C199"}
    await world.send([line(name, "forbid" if name in offenders else "settle") for name in names])
    await world.worker()
    await world.applied(200)
    assert await world.noted() == [name for name in names if name not in offenders]
    assert {row["claim_key"] for row in await world.quarantined()} == offenders
    await world.is_gapless()


async def test_a_later_record_of_a_claim_waits_behind_what_was_set_aside(world: World) -> None:
    await world.send([line("C1", "fail"), line("C2"), line("C1")])
    worker = await world.worker()
    await world.applied(3)
    await world.send([line("C1", "quiet")])  # in a batch of its own: held back by the row, not by the batch
    await world.applied(4)
    assert await world.noted() == ["C2"]
    assert [row["reason"] for row in await world.quarantined()] == ["failed", "behind", "behind"]
    assert worker.telemetry.stops == {}


async def test_a_redriven_record_passes_its_own_row_and_its_followers_keep_their_order(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    await world.send([b'{"claim": "C1", "do": "fail"}', line("C1", "quiet"), line("C1")])
    worker = await world.worker()
    await world.applied(3)
    ids = [row["id"] for row in await world.quarantined()]
    monkeypatch.setattr(worker.step, "decide", _forgiving)  # the new version can decide it
    await world.send([line("C1", "reject")])  # newer than all three: stays behind until they are through
    await world.applied(4)
    for row, value in zip(ids, [b'{"claim": "C1", "do": "fail"}', line("C1", "quiet"), line("C1")], strict=True):
        await world.send([value], headers=[(REDRIVE_HEADER, str(row).encode())])
    await world.applied(7)
    rows = await world.quarantined()
    assert [row["state"] for row in rows] == ["redriven", "redriven", "redriven", "held"]
    entries = await world.books.fetch("select claim, note from diary.entry")
    assert [tuple(entry) for entry in entries] == [("C1", "fail")]  # the first of the claim, as if it had never been held


def _forgiving(event: Any, facts: set[str]) -> Any:
    if event.claim in facts:
        return None
    facts.add(event.claim)
    return event


async def test_a_redrive_header_that_does_not_belong_to_the_record_closes_nothing(world: World) -> None:
    await world.send([line("C1", "fail")])
    await world.worker()
    await world.applied(1)
    [row] = await world.quarantined()
    forged = [(REDRIVE_HEADER, str(row["id"]).encode())]
    await world.send([line("C9")], headers=forged)
    await world.send([line("C1")], headers=forged)
    await world.applied(3)
    rows = await world.quarantined()
    assert [(row["claim_key"], row["reason"], row["state"]) for row in rows] == [
        ("C1", "failed", "held"),
        ("C1", "behind", "held"),
    ]
    assert await world.noted() == ["C9"]


@pytest.mark.parametrize(
    "key", ["a\0b", random.Random(1).randbytes(4000).hex(), "\ud83d", "é" * 3000], ids=["nul", "long", "surrogate", "é"]
)
@pytest.mark.parametrize("do", ["settle", "fail"])
async def test_no_key_of_a_claim_stops_a_partition(world: World, key: str, do: str) -> None:
    await world.send([line(key, do), line("C1"), line(key, do), line("C2")])
    worker = await world.worker()
    await world.applied(4)
    assert [claim for claim in await world.noted() if len(claim) == 2] == ["C1", "C2"]
    assert worker.telemetry.stops == {}


async def test_python_failures_of_load_and_record_are_bisected_too(world: World) -> None:
    async def stumble(_: Any, filed: Sequence[Any]) -> None:
        if any(one.decision.do == "crash_record" for one in filed):
            raise KeyError("a bug in record")

    await world.send([line("C1"), line("C2", "crash_load"), line("C3"), line("C4", "crash_record"), line("C5")])
    await world.worker(world.diary(during=stumble))
    await world.applied(5)
    assert await world.noted() == ["C1", "C3", "C5"]
    assert [(row["claim_key"], row["reason"]) for row in await world.quarantined()] == [("C2", "failed"), ("C4", "failed")]


async def test_a_run_of_failures_stops_the_partition_and_the_others_go_on(world: World, caplog: pytest.LogCaptureFixture) -> None:
    await world.send([line(f"bad{i}-310102199001011234", "fail") for i in range(FAILURES_IN_A_ROW + 5)], partition=1)
    worker = await world.worker()
    await until(lambda: bool(worker.telemetry.stops), "the partition to stop")
    await world.send([line(claim) for claim in claims(10)], partition=2)
    await world.applied(10)
    assert await world.noted() == claims(10)
    assert await world.quarantined() == []
    [(place, why)] = worker.telemetry.stops.items()
    assert place == (world.source, 1)
    assert "310102199001011234" not in why + caplog.text  # an exception's words may carry an identity
    assert [record.levelname for record in caplog.records if "STOPPED" in record.message] == ["CRITICAL"]


async def test_failures_with_good_records_between_them_are_no_run(world: World) -> None:
    scattered = [line(f"C{i}", "fail" if i % 2 else "settle") for i in range(2 * FAILURES_IN_A_ROW + 20)]
    await world.send(scattered)
    worker = await world.worker()
    await world.applied(len(scattered))
    assert len(await world.quarantined()) == FAILURES_IN_A_ROW + 10
    assert worker.telemetry.stops == {}


async def test_a_run_is_not_broken_by_malformed_records(world: World) -> None:
    mixed = [value for i in range(FAILURES_IN_A_ROW + 1) for value in (line(f"C{i}", "fail"), b"{")]
    await world.send(mixed)
    worker = await world.worker(batch_max=7)
    await until(lambda: bool(worker.telemetry.stops), "the partition to stop")
    assert all("failures in a row" in why for why in worker.telemetry.stops.values())


async def test_malformed_records_alone_never_stop_a_partition(world: World) -> None:
    await world.send([b"{"] * (4 * FAILURES_IN_A_ROW))
    worker = await world.worker()
    await world.applied(4 * FAILURES_IN_A_ROW)
    assert worker.telemetry.stops == {}
