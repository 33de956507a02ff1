"""A counter for tests: the five services on servers of their own, institutions with keys, and claims to settle."""

import asyncio
import itertools
import json
import re
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import Any

import aiohttp
import asyncpg
from deployment import PARTITIONS, Deployment, Worker, until
from servers import LocalServers

from services.client import CounterClient
from services.intake import keys
from shared.events import REGISTER_TYPES, SERVICES

Line = dict[str, Any]
INSTITUTIONS = ("H130900001", "H130900002")
MEMBERS = tuple(f"M13090000{number}" for number in range(1, 9))
FRESH = "M130900009"  # has used nothing yet
_LEASES = "select count(*) from runtime.lease where topic like 'register.%%'"
_numbers = itertools.count(1)


def register() -> list[Line]:
    """Two hospitals of Cangzhou, nine members, the first four with something on their accounts."""
    hospitals = [
        {
            "type": "institution", "institution_id": name, "region": "130900", "kind": "hospital", "level": "2",
            "designated_from": "2020-01-01", "pooled_outpatient": True, "networked": True,
        }
        for name in INSTITUTIONS
    ]  # fmt: skip
    members = [
        {
            "type": "member", "member_id": name, "region": "130900", "status": "active", "employment": "employee",
            "sector": "enterprise", "valid_from": "2020-01-01",
        }
        for name in (*MEMBERS, FRESH)
    ]  # fmt: skip
    credits_ = [
        {
            "type": "account_credit",
            "credit_no": f"K-{name}",
            "member_id": name,
            "amount": "120.00",
            "month": "2023-04",
            "reason": "x",
        }
        for name in MEMBERS[:4]
    ]
    return [*hospitals, *members, *credits_]


def claim(member: str = MEMBERS[0], in_scope: str = "300.00", *, institution: str = INSTITUTIONS[0], **fields: Any) -> Line:
    """A claim with a number that nobody has."""
    return {
        "type": "claim", "claim_no": f"N{next(_numbers)}", "institution_id": institution, "member_id": member,
        "benefit": "ordinary", "channel": "direct", "emergency": False, "use_account": True,
        "visited_at": "2023-05-02T09:30:00+08:00", "submitted_at": "2023-05-02T10:05:00+08:00",
        "total": in_scope, "own_paid": "0.00", "over_limit": "0.00", "pre_self_pay": "0.00", "in_scope": in_scope,
    } | fields  # fmt: skip


def reversal(of: Line) -> Line:
    """The cancelling of a claim."""
    named = {name: of[name] for name in ("claim_no", "institution_id")}
    return {"type": "reversal", "reversed_at": "2023-05-02T11:00:00+08:00", "reason": "录入有误"} | named


@dataclass
class World:
    """The deployment, where its counter listens, and a key for each institution."""

    deployment: Deployment
    url: str = ""
    keys: dict[str, str] = field(default_factory=dict)
    fixed: dict[str, str] = field(default_factory=dict)  # the environment by which intake comes back to the same address

    def start(self, *names: str, **extra: str) -> list[Worker]:
        """Starts services; a counter's address is remembered."""
        workers = self.deployment.start(*names, **extra)
        for worker in workers:
            if worker.name == "intake":
                self.url = address_of(worker)
                self.fixed = {"GONGJI_API": self.url.removeprefix("http://")}
        return workers

    def client(self, institution: str = INSTITUTIONS[0], **options: Any) -> CounterClient:
        return CounterClient(self.url, self.keys[institution], **options)

    def key_for(self, institution: str) -> str:
        """A new key."""
        key = keys.new_key()

        async def keep() -> None:
            connection = await asyncpg.connect(self.deployment.servers.addresses.postgres)
            await keys.keep(connection, institution, key, "test")
            await connection.close()

        asyncio.run(keep())
        return key.text

    def headers(self, institution: str = INSTITUTIONS[0]) -> dict[str, str]:
        return {"Authorization": f"Bearer {self.keys[institution]}"}

    def raw(self, institution: str = INSTITUTIONS[0]) -> aiohttp.ClientSession:
        """A session that asks once and takes what comes."""
        return aiohttp.ClientSession(self.url, headers=self.headers(institution))


def address_of(worker: Worker) -> str:
    """Where an intake process's counter listens."""
    found = re.search(rb"gongji: counter at (\S+)", worker.log.read_bytes())
    assert found is not None
    return found[1].decode()


@contextmanager
def world(servers: LocalServers) -> Iterator[World]:
    """Five services with a register, ended with the test."""
    servers.up()
    made = World(Deployment(servers))
    try:
        made.start(*SERVICES)
        until(
            lambda: made.deployment.rows(_LEASES) == [(len(REGISTER_TYPES) * PARTITIONS,)], "the leases on register topics", 120
        )
        made.deployment.register(register())
        made.keys = {name: made.key_for(name) for name in INSTITUTIONS}
        yield made
    finally:
        made.deployment.stop()


def head_of(counter: World, place: str, length: str, institution: str = INSTITUTIONS[0]) -> bytes:
    """The head of a POST with a key."""
    return f"POST {place} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {counter.keys[institution]}\r\n{length}\r\n\r\n".encode()


async def connect(counter: World) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """A bare connection."""
    host, port = counter.url.removeprefix("http://").split(":")
    return await asyncio.open_connection(host, int(port))


async def hang_up(writer: asyncio.StreamWriter) -> None:
    """Ends a bare connection at once, and is done when it has ended."""
    writer.transport.abort()
    with suppress(OSError):
        await writer.wait_closed()


async def posted(session: aiohttp.ClientSession, place: str, record: Line | bytes, **headers: str) -> tuple[int, Any]:
    """One request: the status, and what came."""
    body = record if isinstance(record, bytes) else json.dumps(record).encode()
    async with session.post(place, data=body, headers=headers) as answer:
        return answer.status, json.loads(await answer.read())


async def got(session: aiohttp.ClientSession, place: str) -> tuple[int, Any]:
    """One request: the status, and what came."""
    async with session.get(place) as answer:
        return answer.status, json.loads(await answer.read())


def complaints(worker: Worker) -> list[str]:
    """Whatever a process's log has of failures: traces, errors of what is ours or asyncio's, and anything not in our own form.

    What Kafka's client says while its broker is away is not among them, nor that requests were told 503 as a process ended.
    """
    found = []
    for line in worker.log.read_text().splitlines():
        if not line.startswith("{"):
            found += [] if line.startswith("gongji: ") else [line]
            continue
        said = json.loads(line)
        failed = said["level"] in {"ERROR", "CRITICAL"} and said["log"].partition(".")[0] in {
            "gongji",
            "asyncio",
            "uvicorn",
            "root",
        }
        if failed and said["message"].endswith("graceful shutdown exceeded"):
            continue
        if failed or "trace" in said or "never retrieved" in said["message"]:
            found.append(f"{worker.name}: {line[:2_000]}")
    return found


def logged(worker: Worker) -> list[Line]:
    """The access log."""
    until(lambda: b'"request"' in worker.log.read_bytes(), "a line of the access log")
    lines = (json.loads(line) for line in worker.log.read_text().splitlines() if line.startswith("{"))
    return [line for line in lines if line["log"] == "gongji.counter"]
