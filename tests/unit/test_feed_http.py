"""``gongji feed send --http`` before its first answer: addresses that are none, nobody there, somebody else there."""

import asyncio
import time

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from services.ops.feed_http import send_over_http
from shared.errors import ServerMissing, UsageError

LINES = [("day", 1, b"{}")]


async def send(url: str, said: list[str]) -> None:
    await send_over_http(url, "key", LINES, show=False, say=said.append, patience=0.5)


@pytest.mark.parametrize(
    "url", ["", "notaurl", "127.0.0.1:8080", "http://", "ftp://host:1", "http://host:x", "http://host:0", "http://[::1"]
)
async def test_what_is_no_address_is_a_usage_error_that_quotes_it(url: str) -> None:
    with pytest.raises(UsageError, match=r"--http: .* is no address of a counter"):
        await send(url, [])


@pytest.mark.parametrize("scheme", ["http", "https"])
async def test_nobody_there_is_said_at_once_and_ends_soon(unused_tcp_port: int, scheme: str) -> None:
    url, said, began = f"{scheme}://127.0.0.1:{unused_tcp_port}", list[str](), time.monotonic()
    with pytest.raises(ServerMissing, match=f"{url}: no connection: .*gongji serve all"):
        await send(url, said)
    assert time.monotonic() - began < 5
    assert [one.startswith(f"{url}: no connection: ClientConnectorError") for one in said] == [True]


async def test_a_plain_port_asked_for_tls_is_said_and_ends_soon() -> None:
    async with TestServer(web.Application()) as server:
        said: list[str] = []
        with pytest.raises(ServerMissing, match="SSL"):
            await send(str(server.make_url("")).replace("http:", "https:"), said)
        assert len(said) == 1


@pytest.mark.parametrize("status", [200, 404])
async def test_somebody_else_there_is_a_usage_error(status: int) -> None:
    async def page(_: web.Request) -> web.Response:
        return web.Response(text="<!doctype html>", status=status)

    application = web.Application()
    application.router.add_route("*", "/{any:.*}", page)
    async with TestServer(application) as server:
        with pytest.raises(UsageError, match=f"status {status}: what answers there is no counter"):
            await send(str(server.make_url("")), [])


async def test_a_counter_that_comes_a_moment_later_gets_the_lines(unused_tcp_port: int) -> None:
    async def feed(request: web.Request) -> web.Response:
        assert await request.read() == b"{}\n"
        return web.Response(text='{"type":"settlement","outcome":"settled"}\n')

    application = web.Application()
    application.router.add_post("/v1/feed", feed)
    url, said = f"http://127.0.0.1:{unused_tcp_port}", asyncio.Event()
    sending = asyncio.create_task(send_over_http(url, "key", LINES, show=False, say=lambda _: said.set(), patience=30))
    await said.wait()
    async with TestServer(application, port=unused_tcp_port):
        assert (await sending).outcomes == 1


async def test_a_line_that_is_too_long_is_named_and_the_others_are_sent() -> None:
    """At the counter it would end the stream, and each that begins with it."""

    async def feed(request: web.Request) -> web.Response:
        return web.Response(body=b'{"type":"settlement","outcome":"settled"}\n' * len((await request.read()).splitlines()))

    application = web.Application(client_max_size=10_000_000)
    application.router.add_post("/v1/feed", feed)
    lines = [("day", 1, b"{}"), ("day", 2, b"x" * 1_000_001), ("day", 3, b"{}")]
    async with TestServer(application) as server:
        answered = await send_over_http(str(server.make_url("")), "key", lines, show=False, say=lambda _: None)
    assert (answered.outcomes, answered.faults) == (2, [("day:2", "1000001 bytes; a record has at most 1000000: not sent")])
