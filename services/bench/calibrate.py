"""What a benchmark ran on, and how long fixed work takes there, so that figures of two machines can be held side by side."""

import asyncio
import os
import platform
import time
from pathlib import Path
from typing import Any, Final

import asyncpg
import msgspec
from aiokafka import AIOKafkaProducer
from aiokafka.admin import AIOKafkaAdminClient, NewTopic

from shared.runtime import access
from shared.runtime.settings import Settings

_LOOPS: Final = 2_000_000
_DOCUMENTS: Final = 50_000
_ROWS: Final = 50_000
_AGAIN_SECONDS: Final = 0.05
_MESSAGES: Final = 20_000
_COMMITS: Final = 100


def machine() -> dict[str, Any]:
    """What this ran on."""
    lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    model = next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), platform.processor())
    pages = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    return {
        "processor": model,
        "cores": os.cpu_count(),
        "memory_gib": round(pages / 2**30, 1),
        "system": f"{platform.system()} {platform.release().partition('-')[0]}",
        "python": platform.python_version(),
        "load_before": round(os.getloadavg()[0], 2),  # above 0.5 somebody else was at work, and the figures are the worse for it
    }


def calibrate() -> dict[str, float]:
    """Milliseconds of fixed work of the processor alone."""
    begin = time.perf_counter()
    total = 0
    for number in range(_LOOPS):
        total += number * number % 7
    loop = time.perf_counter() - begin
    document = msgspec.json.encode({f"field{i}": f"{total}{i}" for i in range(40)})
    begin = time.perf_counter()
    for _ in range(_DOCUMENTS):
        msgspec.json.decode(document)
    return {"python_loop": _ms(loop), "json": _ms(time.perf_counter() - begin)}


async def calibrate_servers(settings: Settings) -> dict[str, float]:
    """Milliseconds of fixed work of Postgres (rows by COPY, small commits one after the other) and Kafka (messages of 1 KB)."""
    connection = await asyncpg.connect(settings.postgres)
    try:
        await connection.execute("create temporary table calibrate (k int primary key, v bytea)")
        await connection.execute("create table public.calibrate (k int primary key)")
        begin = time.perf_counter()
        await connection.copy_records_to_table("calibrate", records=[(n, b"x" * 200) for n in range(_ROWS)], schema_name=None)
        rows = time.perf_counter() - begin
        begin = time.perf_counter()
        for number in range(_COMMITS):
            await connection.execute("insert into public.calibrate values ($1)", number)
        commits = time.perf_counter() - begin
        await connection.execute("drop table public.calibrate")
    finally:
        await connection.close()
    return {"postgres_copy": _ms(rows), "postgres_commits": _ms(commits), "kafka_produce": _ms(await _produce(settings.kafka))}


async def _produce(bootstrap: str) -> float:
    """Seconds. On a topic of its own, which nothing else reads."""
    admin = AIOKafkaAdminClient(**access.kafka(bootstrap))
    await admin.start()
    try:
        await admin.create_topics([NewTopic("calibrate", 1, 1)])
        while any(topic["error_code"] for topic in await admin.describe_topics(["calibrate"])):  # noqa: ASYNC110
            await asyncio.sleep(_AGAIN_SECONDS)
    finally:
        await admin.close()
    producer = AIOKafkaProducer(**access.kafka(bootstrap), acks="all", enable_idempotence=True, max_batch_size=262_144)
    await producer.start()
    try:
        begin = time.perf_counter()
        for _ in range(_MESSAGES):
            await producer.send("calibrate", b"x" * 1_000, partition=0)
        await producer.flush()
        return time.perf_counter() - begin
    finally:
        await producer.stop()


def _ms(seconds: float) -> float:
    return round(seconds * 1000, 1)
