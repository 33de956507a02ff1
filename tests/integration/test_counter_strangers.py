"""Whatever comes in at the door: no 5xx, no stack trace, no death of the process, and an end to everything."""

import asyncio
import gzip
import json
import os
import random
import resource
import socket
import string
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import aiohttp
import pytest
import schemathesis
from counter_world import INSTITUTIONS, World, claim, connect, got, hang_up, head_of, logged, posted, world
from hypothesis import HealthCheck, given, seed, settings
from hypothesis import strategies as st
from schemathesis import GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)
from servers import LocalServers

from services.intake.api_openapi import CLAIM, document

HERE = INSTITUTIONS[0]
EXAMPLES = int(os.environ.get("GONGJI_TEST_EXAMPLES", "40"))  # of each operation
LINES = int(os.environ.get("GONGJI_TEST_LINES", "12000"))  # of the long stream
CHECKS = [not_a_server_error, status_code_conformance, content_type_conformance, response_schema_conformance]
SCALARS = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20) | st.just("1.00") | st.just("1e400")
JUNK = st.recursive(SCALARS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3))
FIELDS = st.sampled_from([*CLAIM, "lines", "quote", "family_payer", "excluded_as", "insured_region"]) | st.text(max_size=12)
HEADER = st.text(
    alphabet=string.printable.replace("\r", "").replace("\n", "").replace("\x0b", "").replace("\x0c", ""), max_size=40
)


@pytest.fixture(scope="module")
def counter(private_servers: LocalServers) -> Iterator[World]:
    with world(private_servers) as made:
        yield made


async def answer(reader: asyncio.StreamReader, seconds: float = 30) -> bytes:
    """All that comes until the counter ends the connection."""
    try:
        return await asyncio.wait_for(reader.read(), seconds)
    except ConnectionError:
        return b""


def resident_mib(counter: World) -> int:
    status = Path(f"/proc/{counter.deployment.of('intake')[0].process.pid}/status").read_text()
    return int(next(line for line in status.splitlines() if line.startswith("VmRSS")).split()[1]) // 1024


def requests() -> st.SearchStrategy[tuple[str, str, bytes, dict[str, str]]]:
    """Requests near the description: its places with odd segments, its records with odd fields, and plain garbage."""
    places = sorted(document()["paths"])
    segment = st.text(max_size=12).map(lambda text: json.dumps(text).encode().hex()) | st.sampled_from(
        ["%00", "%ff", "..", "%2F", "甲"]
    )
    names = ("{institution_id}", "{claim_no}", "{member_id}")

    def filled(path: str, one: str) -> str:
        for name in names:
            path = path.replace(name, one)
        return path

    place = st.builds(filled, st.sampled_from(places), segment | st.just(HERE))
    odd = ["?after=", "?after=AAAA", "?on=", "?on=9999-99-99", "?on=0001-01-01", "?kind=", "?kind=reversal", "?kind&kind", "?%"]
    query = st.just("") | st.sampled_from(odd)  # most places take no parameter, and refuse it
    record = st.builds(lambda field, value: json.dumps(CLAIM | {field: value}).encode(), FIELDS, JUNK)
    line = st.lists(record | st.binary(max_size=40), max_size=4).map(b"\n".join)
    method = st.sampled_from(["GET", "POST", "POST", "PUT", "HEAD", "PATCH", "OPTIONS"])
    headers = st.dictionaries(st.sampled_from(["Prefer", "X-Request-Id", "Content-Type", "Accept", "Range"]), HEADER, max_size=2)
    return st.tuples(method, st.builds(str.__add__, place, query), record | line | st.binary(max_size=60), headers)


def test_no_request_near_the_description_gets_a_5xx(counter: World) -> None:
    seen: dict[int, int] = {}

    @settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))
    @given(requests())
    def ask(request: tuple[str, str, bytes, dict[str, str]]) -> None:
        status, body = asyncio.run(exchange(counter, *request))
        seen[status] = seen.get(status, 0) + 1
        assert status < 500, (request, body)
        assert b"Traceback" not in body

    ask()
    assert {200, 400, 405, 422} <= seen.keys(), seen


@schemathesis.serializer("application/x-ndjson")
def _as_it_is(_context: Any, value: Any) -> bytes:
    return value if isinstance(value, bytes) else str(value).encode("utf-8", "replace")


def operations() -> dict[str, Any]:
    """Every operation of the description, by its id, as Schemathesis reads it."""
    found: list[Any] = list(schemathesis.openapi.from_dict(document()).get_all_operations())
    found = [result.ok() for result in found]
    return {operation.definition.raw["operationId"]: operation for operation in found}


@pytest.mark.parametrize("name", sorted(operations()))
def test_schemathesis_finds_nothing_that_the_description_does_not_say(counter: World, name: str) -> None:
    """By the description and against it: statuses, content types and bodies are the described ones, and none is a 5xx.

    ``make test-api`` asks more.
    """
    operation = operations()[name]
    seen: set[int] = set()
    kinds = st.sampled_from([GenerationMode.POSITIVE, GenerationMode.NEGATIVE])

    @seed(8)
    @settings(max_examples=EXAMPLES, deadline=None, database=None, suppress_health_check=list(HealthCheck))
    @given(kinds.flatmap(lambda kind: operation.as_strategy(generation_mode=kind)), st.booleans())
    def ask(case: Any, at_home: bool) -> None:
        for part in (case.path_parameters, case.body):
            if at_home and isinstance(part, dict) and "institution_id" in part:
                part["institution_id"] = HERE
        said = case.call(base_url=counter.url, headers=counter.headers() | {"Prefer": "wait=0"}, timeout=70)
        case.validate_response(said, checks=CHECKS)
        assert "Traceback" not in said.text
        seen.add(said.status_code)

    ask()
    assert len(seen) > 1, seen


async def exchange(counter: World, method: str, place: str, body: bytes, headers: dict[str, str]) -> tuple[int, bytes]:
    """One request in raw bytes, so that nothing is mended on the way."""
    reader, writer = await connect(counter)
    given_ = {"Host": "x", "Connection": "close", "Content-Length": str(len(body)), "Prefer": "wait=0"} | headers
    lines = [f"{method} {place} HTTP/1.1", *(f"{name}: {value}" for name, value in (given_ | counter.headers()).items()), "", ""]
    writer.write("\r\n".join(lines).encode() + body)
    said = await answer(reader, 70)
    await hang_up(writer)
    head, _, rest = said.partition(b"\r\n\r\n")
    return (int(head.split()[1]), rest) if head else (0, b"")


@pytest.mark.parametrize(
    "head",
    [
        b"GET / HTTP/1.1\r\nX: " + b"x" * 200_000,
        b"GET /" + b"x" * 200_000,
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" * 50 + b"\r\n\r\n",
        b"GET / HTTP/9.9\r\n\r\n",
        b"POST /v1/claims HTTP/1.1\r\nContent-Length: -1\r\n\r\n",
        b"POST /v1/claims HTTP/1.1\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
    ],
    ids=["a header without end", "a path without end", "another protocol", "another version", "less than nothing", "two lengths"],
)
async def test_what_is_no_http_is_ended(counter: World, head: bytes) -> None:
    reader, writer = await connect(counter)
    writer.write(head)
    said = await answer(reader, 15)
    assert b" 200 " not in said.partition(b"\r\n")[0] + b" "
    await hang_up(writer)


async def test_headers_that_come_too_slowly_are_not_waited_for(counter: World) -> None:
    reader, writer = await connect(counter)

    async def drip() -> None:
        for byte in b"GET / HTTP/1.1\r\nX-Slow: " + b"x" * 1000:
            writer.write(bytes([byte]))
            await asyncio.sleep(0.2)

    dripping = asyncio.create_task(drip())
    assert await answer(reader, 20) == b""
    dripping.cancel()
    await hang_up(writer)


async def test_a_body_that_comes_too_slowly_is_refused(counter: World) -> None:
    reader, writer = await connect(counter)
    writer.write(head_of(counter, "/v1/claims", "Content-Length: 9") + b"{")
    assert (await answer(reader, 40)).startswith(b"HTTP/1.1 408")
    await hang_up(writer)


async def test_bodies_without_end_are_refused_in_little_memory(counter: World) -> None:
    before = resident_mib(counter)
    for length in ("Content-Length: 5000000000", "Transfer-Encoding: chunked"):
        reader, writer = await connect(counter)
        writer.write(head_of(counter, "/v1/claims", length))
        piece = b"ffff\r\n" + b"x" * 0xFFFF + b"\r\n"
        try:
            for _ in range(1000):
                writer.write(piece)
                await asyncio.wait_for(writer.drain(), 10)
        except (ConnectionError, TimeoutError):
            pass
        said = await answer(reader)
        assert said == b"" or said.startswith(b"HTTP/1.1 413")
        await hang_up(writer)
    assert resident_mib(counter) - before < 64


@pytest.mark.parametrize("place", ["/v1/claims", "/v1/feed", "/v1/nowhere"])
@pytest.mark.parametrize("key", ["with a key", "without"])
async def test_headers_behind_a_body_that_never_end_are_not_kept(counter: World, place: str, key: str) -> None:
    before = resident_mib(counter)
    _, writer = await connect(counter)
    head = head_of(counter, place, "Transfer-Encoding: chunked")
    writer.write(head if key == "with a key" else head.replace(b"Authorization", b"X"))
    writer.write(b"1\r\nx\r\n0\r\n")
    taken = 0
    with suppress(ConnectionError):
        for taken in range(2_000):
            writer.write(b"X-%d: " % taken + b"x" * 50_000 + b"\r\n")
            await asyncio.wait_for(writer.drain(), 10)
    await hang_up(writer)
    assert taken < 1_999, "it is cut"
    assert resident_mib(counter) - before < 32


async def test_who_waits_for_leave_to_send_gets_it_before_the_answer_begins(counter: World) -> None:
    """``Expect: 100-continue``: many a client sends no body after another status, and some wait a second for nothing."""
    for place in ("/v1/claims", "/v1/feed"):
        body = json.dumps(claim()).encode()
        reader, writer = await connect(counter)
        writer.write(head_of(counter, place, f"Content-Length: {len(body)}\r\nExpect: 100-continue"))
        assert (await asyncio.wait_for(reader.readline(), 30)).startswith(b"HTTP/1.1 100 ")
        writer.write(body)
        said = await asyncio.wait_for(reader.readuntil(b'"settled_at"'), 60)
        assert b"HTTP/1.1 200 " in said
        await hang_up(writer)


async def test_a_line_without_end_ends_the_stream(counter: World) -> None:
    """In bare bytes: a client that closes while it has more to send would keep its socket."""
    reader, writer = await connect(counter)
    writer.write(head_of(counter, "/v1/feed", "Transfer-Encoding: chunked"))
    writer.write(b"2\r\n\n\n\r\n" + (b"c350\r\n" + b"x" * 50_000 + b"\r\n") * 100)
    said = await asyncio.wait_for(reader.readuntil(b"}\n"), 60)
    last = json.loads(said[said.index(b"\n{") :])
    assert (last["line"], last["problem"]["code"], last["problem"]["detail"]) == (None, "too_large", "line 3 is too large")
    await hang_up(writer)


def idle(counter: World, count: int) -> list[socket.socket]:
    """So many connections on which nothing is said. Each is open on both sides: the counter's listener has taken it."""
    host, port = counter.url.removeprefix("http://").split(":")
    return [socket.create_connection((host, int(port)), 30) for _ in range(count)]


async def test_a_long_stream_passes_in_flat_memory(counter: World) -> None:
    """Each line carries 8 KB that nobody wants, and is answered; all of them would be many times what is allowed here."""
    line = json.dumps(claim(surprise="x" * 8_000)).encode()
    highest = 0

    async def day() -> AsyncIterator[bytes]:
        for _ in range(LINES):
            yield line

    async with counter.client() as client:
        warm = 0
        answered = 0
        async for said in client.feed(day()):
            assert said["reasons"][0]["code"] == "malformed"
            answered += 1
            if answered == 2_000:  # what is on its way at once has been there
                warm = resident_mib(counter)
            elif answered % 500 == 0:
                highest = max(highest, resident_mib(counter))
    assert answered == LINES
    assert highest - warm < min(40, LINES * len(line) // 2**21), (warm, highest)


async def test_ten_thousand_idle_connections_cost_little_and_end(counter: World) -> None:
    """As many as this process may hold, where that is fewer."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    before = resident_mib(counter)
    waiting: list[socket.socket] = []
    try:
        while len(waiting) < min(10_000, hard - 512):
            waiting += await asyncio.to_thread(idle, counter, 500)
            async with counter.raw() as session:
                assert (await got(session, "/health"))[0] == 200, "the others are served meanwhile"
        assert resident_mib(counter) - before < 40 + len(waiting) // 25, "some 40 KiB each at most"
        await asyncio.to_thread(_ended, waiting)
        async with counter.raw() as session:
            assert (await posted(session, "/v1/claims", claim(), Prefer="wait=60"))[0] == 200
    finally:
        for one in waiting:
            one.close()
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def _ended(waiting: list[socket.socket]) -> None:
    for one in waiting:
        one.settimeout(60)
        try:
            assert one.recv(1) == b""
        except ConnectionResetError:
            continue


async def test_a_client_that_closes_its_half_is_not_waited_for_and_its_claim_is_settled(counter: World) -> None:
    asked = claim()
    body = json.dumps(asked).encode()
    for sent in (b"", b"GET / HT", head_of(counter, "/v1/claims", "Content-Length: 9") + b"{"):
        reader, writer = await connect(counter)
        writer.write(sent)
        writer.write_eof()
        assert await answer(reader, 15) == b"", "nobody is answered who did not ask"
        await hang_up(writer)
    reader, writer = await connect(counter)
    writer.write(head_of(counter, "/v1/claims", f"Content-Length: {len(body)}") + body)
    writer.write_eof()
    await answer(reader, 90)
    await hang_up(writer)
    async with counter.raw() as session:
        status, settled = await posted(session, "/v1/claims", asked, Prefer="wait=60")
    assert (status, settled["outcome"]) == (200, "settled")


async def test_compressed_bodies_are_refused_before_they_are_looked_at(counter: World) -> None:
    """A bomb of 200 KB does nothing here: no byte of its 200 MB is unpacked, in one record or in a stream."""
    bomb = gzip.compress(bytes(200_000_000), 9)
    before = resident_mib(counter)
    async with counter.raw() as session:
        for place in ("/v1/claims", "/v1/claims/trial", "/v1/feed"):
            for coding in ("gzip", "deflate", "br", "zstd", "gzip, gzip"):
                try:
                    async with session.post(place, data=bomb, headers={"Content-Encoding": coding}) as said:
                        assert said.status == 415
                except aiohttp.ClientOSError:
                    continue  # it closed while we still sent
    assert resident_mib(counter) - before < 64


async def test_clients_that_leave_in_the_middle_leave_nothing_behind(counter: World) -> None:
    chance = random.Random(3)
    for _ in range(60):
        _, writer = await connect(counter)
        body = json.dumps(claim(institution=HERE)).encode()
        place = chance.choice(["/v1/claims", "/v1/claims/trial", "/v1/feed"])
        whole = head_of(counter, place, f"Content-Length: {len(body)}") + body
        writer.write(whole[: chance.randrange(len(whole) + 1)])
        await asyncio.sleep(chance.choice([0, 0.02]))
        await hang_up(writer)
    async with counter.raw() as session:
        assert (await posted(session, "/v1/claims", claim(), Prefer="wait=60"))[0] == 200


async def test_an_institution_that_asks_too_much_is_told_when_to_come_again(counter: World) -> None:
    [intake] = counter.start("intake", GONGJI_API_RATE="1")
    began = time.monotonic()
    async with counter.raw() as session:
        answers: list[tuple[int, str | None]] = []
        for _ in range(30):
            async with session.get("/v1/outcomes") as said:
                await said.read()
                answers.append((said.status, said.headers.get("Retry-After")))
        assert set(answers) == {(200, None), (429, "1")}
        assert answers.count((200, None)) <= 2 + time.monotonic() - began
    assert {line["institution"] for line in logged(intake) if line["status"] == 429} not in (set(), {None}), "it is seen who does"
    async with counter.raw(INSTITUTIONS[1]) as session:
        assert (await got(session, "/v1/outcomes"))[0] == 200, "another one's asking is his own"


def test_nothing_died_and_nothing_was_logged_as_failed(counter: World) -> None:
    said: list[Any] = []
    for worker in counter.deployment.workers:
        assert worker.alive
        said += [line for line in worker.log.read_text().splitlines() if "a request failed" in line or "Traceback" in line]
    assert said == [], said[:3]
    counter.deployment.drain()
    counter.deployment.audit()
