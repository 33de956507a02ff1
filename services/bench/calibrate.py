"""What a benchmark ran on, and how long fixed work takes there, so that figures of two machines can be held side by side."""

import asyncio
import os
import platform
import time
from importlib.metadata import version
from pathlib import Path
from typing import Any, Final

import asyncpg
import msgspec
from aiokafka import AIOKafkaProducer
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from redis.asyncio import Redis

from deploy.local.broker import JARS
from shared.runtime import access
from shared.runtime.settings import Settings

_LOOPS: Final = 2_000_000
_DOCUMENTS: Final = 50_000
_ROWS: Final = 50_000
_AGAIN_SECONDS: Final = 0.05
_MESSAGES: Final = 20_000
_COMMITS: Final = 100
_PACKAGES: Final = ("aiokafka", "asyncpg", "faststream", "msgspec", "redis", "uvloop")
# What makes a commit durable, and what a run has to work with.
_OF_POSTGRES: Final = ("fsync", "synchronous_commit", "full_page_writes", "shared_buffers", "max_wal_size")


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


async def versions(settings: Settings) -> dict[str, str]:
    """Of the servers and of the packages that talk to them."""
    connection = await asyncpg.connect(settings.postgres)
    cache = Redis.from_url(settings.redis)
    try:
        postgres, redis = await connection.fetchval("show server_version"), await cache.info("server")
    finally:
        await connection.close()
        await cache.aclose()
    kafka = next((jar.stem.rpartition("-")[2] for jar in JARS.glob("kafka-server-[0-9]*.jar")), "unknown")
    servers = {"kafka": kafka, "postgres": str(postgres).partition(" ")[0], "redis": str(redis["redis_version"])}
    return servers | {f"python {name}": version(name) for name in _PACKAGES}


async def of_servers(settings: Settings) -> dict[str, str | int]:
    """The settings that the figures depend on, as Postgres says them itself."""
    connection = await asyncpg.connect(settings.postgres)
    try:
        asked = {f"postgres_{name}": str(await connection.fetchval(f"show {name}")) for name in _OF_POSTGRES}
    finally:
        await connection.close()
    return {"partitions": settings.partitions, "batch_max": settings.batch_max, "seal": settings.seal, **asked}


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
