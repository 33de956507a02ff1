"""More than the counter can answer, from clients that give up, read slowly and hang up: the next is answered, nothing fails."""

import asyncio
import json
import random
import signal
import socket
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from counter_world import (
    INSTITUTIONS,
    MEMBERS,
    Line,
    World,
    claim,
    complaints,
    connect,
    got,
    hang_up,
    head_of,
    posted,
    reversal,
    world,
)
from deployment import until
from servers import LocalServers

pytestmark = pytest.mark.matrix
SECONDS = 20.0
UNREAD_SECONDS = 60.0
HERE, THERE = INSTITUTIONS
Client = Callable[[World, str, random.Random], Awaitable[None]]


@pytest.fixture(scope="module")
def counter(private_servers: LocalServers) -> Iterator[World]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONWARNINGS", "always::ResourceWarning")  # whatever is not closed is said on stderr
        with world(private_servers) as made:
            yield made


@pytest.fixture(scope="module")
def unread(counter: World) -> Iterator[socket.socket]:
    """A client that asks, again and again, and reads nothing: what is left unread is more than the kernel holds."""
    host, port = counter.url.removeprefix("http://").split(":")
    with socket.socket() as client:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4_096)
        client.connect((host, int(port)))
        client.settimeout(5)
        with suppress(TimeoutError):
            while True:
                client.sendall(b"GET /openapi.json HTTP/1.1\r\nHost: x\r\n\r\n" * 100)
        yield client


def held(counter: World, client: socket.socket) -> bool:
    """Whether the kernel still has the counter's side of a connection."""
    ours, theirs = client.getsockname()[1], int(counter.url.rpartition(":")[2])
    rows = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
    return any(row[1].endswith(f":{theirs:04X}") and row[2].endswith(f":{ours:04X}") and row[3] != "06" for row in rows)


async def gives_up(counter: World, url: str, chance: random.Random) -> None:
    """Asks for one thing, and mostly leaves before the answer."""
    one = claim(chance.choice(MEMBERS), f"{chance.randrange(1, 90)}.00")
    number = f"/v1/claims/{HERE}/{one['claim_no']}"
    asked: list[tuple[str, str, Line | None]] = [
        ("POST", "/v1/claims", one), ("POST", "/v1/claims/trial", one), ("POST", "/v1/reversals", reversal(one)),
        ("GET", "/v1/outcomes", None), ("GET", number, None), ("GET", f"/v1/members/{one['member_id']}/counters", None),
    ]  # fmt: skip
    method, place, record = chance.choice(asked)
    timeout = aiohttp.ClientTimeout(total=chance.choice([0.005, 0.05, 0.3, 20]))
    headers = counter.headers() | {"Prefer": "wait=10"}
    async with aiohttp.request(method, url + place, json=record, headers=headers, timeout=timeout) as said:
        await said.read()
        assert said.status in {200, 202, 404, 409, 422, 429, 503}, (place, said.status)


async def cuts_its_stream(counter: World, _url: str, chance: random.Random) -> None:
    """Streams lines, reads some of the answers or none, slowly, and hangs up in the middle of a line."""
    reader, writer = await connect(counter)
    try:
        writer.write(head_of(counter, "/v1/feed", "Transfer-Encoding: chunked"))
        for _ in range(chance.randrange(1, 6)):
            lines = b"".join(json.dumps(claim(chance.choice(MEMBERS), "2.00")).encode() + b"\n" for _ in range(100))
            writer.write(f"{len(lines):x}\r\n".encode() + lines + b"\r\n")
            for _ in range(chance.choice([0, 0, 10])):
                await asyncio.wait_for(reader.read(chance.choice([1, 65_536])), 0.5)
        writer.write(b"ff\r\n{")
        await asyncio.sleep(chance.random())
    finally:
        await hang_up(writer)


async def until_over(deadline: float, client: Client, *arguments: Any) -> int:
    """One client after the other. What a client meets on its way out is its own."""
    count = 0
    while time.monotonic() < deadline:
        with suppress(aiohttp.ClientError, OSError, TimeoutError):
            await client(*arguments)
        count += 1
        await asyncio.sleep(0)
    return count


async def test_clients_that_give_up_under_a_flood_leave_no_failure_and_the_next_is_answered(
    counter: World, unread: socket.socket
) -> None:
    assert held(counter, unread)
    chance = random.Random(11)
    staying = counter.url
    [going] = counter.start("intake")  # another instance, which ends while its requests wait
    flood = [claim(MEMBERS[number % 8], "1.00", institution=THERE) for number in range(6_000)]
    feeding = asyncio.create_task(asyncio.to_thread(counter.deployment.send, flood))
    deadline = time.monotonic() + SECONDS
    clients: list[Awaitable[int]] = []
    for number in range(60):
        url = counter.url if number % 3 else staying
        clients.append(until_over(deadline, gives_up, counter, url, random.Random(chance.random())))
    clients += [until_over(deadline, cuts_its_stream, counter, "", random.Random(chance.random())) for _ in range(8)]
    crowd = asyncio.gather(*clients)
    await asyncio.sleep(SECONDS / 2)
    await asyncio.to_thread(counter.deployment.kill, going, signal.SIGTERM)
    counter.url = staying
    counts = await crowd
    await feeding
    assert sum(counts) > 300, counts
    async with counter.raw() as session:
        status, settled = await posted(session, "/v1/claims", claim(), Prefer="wait=60")
        assert (status, settled["outcome"]) == (200, "settled")
        assert (await got(session, "/v1/outcomes"))[0] == 200
    assert going.process.returncode == 0


def test_who_never_reads_is_cut_off(counter: World, unread: socket.socket) -> None:
    until(lambda: not held(counter, unread), "the counter to hang up", UNREAD_SECONDS + 30)


def test_no_service_failed_and_the_books_are_clean(counter: World) -> None:
    counter.deployment.drain(seconds=300)
    counter.deployment.audit()
    running = list(counter.deployment.workers)
    counter.deployment.stop()
    assert {worker.process.returncode for worker in running} == {0}
    assert [complaint for worker in running for complaint in complaints(worker)] == []
