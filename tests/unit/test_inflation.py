"""Compressed batches of outsiders: read when they are what they should be, refused before a bomb is unpacked."""

import resource
import subprocess
import sys
from pathlib import Path

import pytest
from aiokafka.errors import CorruptRecordException
from aiokafka.record.default_records import DefaultRecordBatchBuilder

from shared.runtime.fetch import Records
from shared.runtime.inflation import MOST_BYTES

HERE = Path(__file__).parent
CODECS = {"none": 0, "gzip": 1, "snappy": 2, "lz4": 3, "zstd": 4}


def batch(codec: int, *values: bytes) -> bytes:
    builder = DefaultRecordBatchBuilder(
        magic=2,
        compression_type=codec,
        is_transactional=0,
        producer_id=-1,
        producer_epoch=-1,
        base_sequence=-1,
        batch_size=1 << 30,
    )
    for offset, value in enumerate(values):
        builder.append(offset, timestamp=1, key=b"k", value=value, headers=[])
    return bytes(builder.build())


def read(fetched: bytes) -> list[bytes]:
    records, values = Records(fetched), []
    while records.has_next():
        values += [record.value for record in records.next_batch()]
    return values


@pytest.mark.parametrize("codec", CODECS.values(), ids=CODECS)
def test_what_outsiders_compress_is_read(codec: int) -> None:
    values = [b"x" * size for size in (1, 1_000, 900_000)]
    assert read(batch(codec, *values) + batch(0, b"next")) == [*values, b"next"]


@pytest.mark.parametrize("name", ["gzip", "lz4", "zstd"])
def test_a_bomb_is_refused(name: str) -> None:
    with pytest.raises(CorruptRecordException, match="unpacks to more"):
        read(batch(CODECS[name], bytes(MOST_BYTES + 1)))


def test_a_bomb_is_not_unpacked_in_memory() -> None:
    """In a process of its own that may have little: it reads the bomb that this one made."""
    bomb = batch(CODECS["zstd"], bytes(150_000_000))
    assert len(bomb) < 100_000
    code = "import sys; from test_inflation import read; read(sys.stdin.buffer.read())"
    room = 220 * 1024 * 1024

    def little() -> None:
        resource.setrlimit(resource.RLIMIT_DATA, (room, room))

    done = subprocess.run(
        [sys.executable, "-c", code], input=bomb, capture_output=True, check=False, timeout=300, preexec_fn=little,
        env={"PYTHONPATH": f"{HERE}:{HERE.parents[1]}"},
    )  # fmt: skip
    assert b"CorruptRecordException" in done.stderr, done.stderr[-500:]
