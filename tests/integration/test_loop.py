"""The loop on the real broker and the real books, with a small step of the tests' own (``loop_world``).

What FastStream and aiokafka were measured to lose or double (architecture.md, section 2) is tried here one by one.
"""

import asyncio
import struct
from collections.abc import Sequence

import pytest
from aiokafka import AIOKafkaProducer
from aiokafka.record.util import calc_crc32c
from loop_world import PARTITIONS, World, line, until

pytestmark = pytest.mark.servers


def claims(count: int, name: str = "C") -> list[str]:
    return [f"{name}{number}" for number in range(count)]


# -- what cannot be read ------------------------------------------------------------------------------------------------


async def test_records_that_cannot_be_read_take_no_neighbour_with_them(world: World) -> None:
    await world.send([line("C1"), b"{", None, b"\xff\x00", line("C2")])
    await world.worker()
    await world.applied(5)
    assert await world.noted() == ["C1", "C2"]
    assert [letter.value for letter in await world.dead()] == [b"{", b"", b"\xff\x00"]
    assert sorted(await world.announced()) == ["C1", "C2"]


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
