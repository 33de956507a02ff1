"""The counter's client against counters that are played: what it sends again, when it gives up, and what it leaves behind."""

import asyncio
import itertools
import json
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import suppress

import pytest
from aiohttp import web
from aiohttp.test_utils import BaseTestServer, TestServer

from services import client
from services.client import CounterClient, Refused, Unknown

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
CLAIM = {"type": "claim", "claim_no": "N1"}
SETTLED = {"type": "settlement", "outcome": "settled"}


def played(handler: Handler) -> TestServer:
    application = web.Application(client_max_size=0)
    application.router.add_route("*", "/{any:.*}", handler)
    return TestServer(application)


def at(server: BaseTestServer, *, patience: float = 20) -> CounterClient:
    return CounterClient(str(server.make_url("")), "key", patience=patience)


async def numbered(count: int, size: int = 10) -> AsyncIterator[bytes]:
    for number in range(count):
        yield b'{"number": %d, "padding": "%s"}' % (number, b"x" * size)


async def echo(request: web.Request) -> web.StreamResponse:
    """A counter that settles whatever comes."""
    answer = web.StreamResponse()
    await answer.prepare(request)
    async for _ in request.content:
        await answer.write(json.dumps(SETTLED).encode() + b"\n")
    return answer


async def test_a_proxys_page_about_a_counter_in_trouble_is_no_answer() -> None:
    asked = 0

    async def proxy(_: web.Request) -> web.Response:
        nonlocal asked
        asked += 1
        return web.Response(status=502, text="<html>Bad Gateway</html>") if asked == 1 else web.json_response(SETTLED)

    async with played(proxy) as server, at(server) as counter:
        assert await counter.settle(CLAIM) == SETTLED
    assert asked == 2


@pytest.mark.parametrize(("status", "text"), [(200, "<html>"), (200, "[]"), (404, "<html>"), (404, "[]"), (404, "{}"), (401, "")])
async def test_who_is_no_counter_is_not_believed(status: int, text: str) -> None:
    """Least of all that nothing stands under a number."""

    async def stranger(_: web.Request) -> web.Response:
        return web.Response(status=status, text=text)

    async with played(stranger) as server, at(server) as counter:
        with pytest.raises(Refused, match=f"status {status}: what answers there is no counter"):
            await counter.settle(CLAIM)
        with pytest.raises(Refused, match=f"status {status}: what answers there is no counter"):
            await counter.outcome("H1", "N1")


async def test_what_is_still_on_its_way_is_asked_for_when_the_counter_says() -> None:
    asked: list[float] = []

    async def busy(_: web.Request) -> web.Response:
        asked.append(time.monotonic())
        if len(asked) == 3:
            return web.json_response(SETTLED)
        return web.json_response({"status": "in_progress"}, status=202, headers={"Retry-After": "1"})

    async with played(busy) as server, at(server) as counter:
        assert await counter.settle(CLAIM) == SETTLED
    assert all(later - sooner >= 0.9 for sooner, later in itertools.pairwise(asked))


async def test_a_stream_that_is_refused_ends_whatever_is_still_to_be_sent() -> None:
    lines: list[asyncio.StreamWriter] = []

    async def refuses(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        lines.append(writer)
        await reader.readuntil(b"\r\n\r\n")
        await asyncio.sleep(0.5)  # the client is ahead by as much as it may be, and nobody reads
        body = b'{"code": "unauthorized", "detail": "no valid API key"}'
        writer.write(b"HTTP/1.1 401 Unauthorized\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body))
        await writer.drain()

    async with await asyncio.start_server(refuses, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        async with CounterClient(f"http://127.0.0.1:{port}", "key") as counter:
            answers = counter.feed(numbered(100_000, 5_000))
            with pytest.raises(Refused, match="unauthorized"):
                await within(10, anext(answers))
        [line] = lines
        line.transport.abort()
        with suppress(OSError):
            await line.wait_closed()


async def test_a_stream_to_nobody_ends_when_patience_does(unused_tcp_port: int) -> None:
    async with CounterClient(f"http://127.0.0.1:{unused_tcp_port}", "key", patience=0.5) as counter:
        with pytest.raises(Unknown, match="the stream was cut"):
            await within(10, anext(counter.feed(numbered(100_000))))


async def test_a_lull_is_not_what_patience_is_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is unknown while nothing waits for its answer, however long the next line takes."""
    monkeypatch.setattr(client, "_SILENCE_SECONDS", 0.2)

    async def slow() -> AsyncIterator[bytes]:
        yield b"1"
        await asyncio.sleep(2)
        yield b"2"

    connected = 0

    async def brief(request: web.Request) -> web.StreamResponse:
        """It answers nobody at the second time."""
        nonlocal connected
        connected += 1
        return web.Response(status=503) if connected == 2 else await echo(request)

    async with played(brief) as server, at(server, patience=1) as counter:
        assert [answer async for answer in counter.feed(slow())] == [SETTLED, SETTLED]
    assert connected == 3, "and nobody is asked for nothing meanwhile"


async def test_a_record_on_several_lines_is_no_line() -> None:
    async def pretty() -> AsyncIterator[bytes]:
        yield b"1"
        yield json.dumps(CLAIM, indent=2).encode()

    async with played(echo) as server, at(server) as counter:
        answers = counter.feed(pretty())
        assert await anext(answers) == SETTLED, "what came before the fault is answered"
        with pytest.raises(ValueError, match="a record stands on one line"):
            await anext(answers)


def in_turn(*answers: Callable[[], web.Response]) -> Handler:
    """A counter that gives these answers, one a request, and the last one from then on."""
    left = list(answers)

    async def answer(request: web.Request) -> web.Response:
        await request.read()
        return (left.pop(0) if len(left) > 1 else left[0])()

    return answer


def streamed(*lines: Mapping[str, object]) -> Callable[[], web.Response]:
    return lambda: web.Response(text="".join(json.dumps(line) + "\n" for line in lines))


def settled() -> web.Response:
    return web.json_response(SETTLED)


def told(code: str, status: int) -> dict[str, object]:
    """The last line of a stream that ends with a problem."""
    return {"type": "problem", "line": None, "problem": {"code": code, "status": status, "detail": "so it is"}}


@pytest.mark.parametrize("status", [408, 429, 500, 503])
async def test_a_counter_in_trouble_is_asked_again_until_patience_ends(status: int) -> None:
    async with played(in_turn(lambda: web.Response(status=status), settled)) as server, at(server) as counter:
        assert await counter.settle(CLAIM) == SETTLED
    async with played(in_turn(lambda: web.Response(status=status))) as server, at(server, patience=0.5) as counter:
        with pytest.raises(Unknown, match=f"POST /v1/claims: status {status}"):
            await within(5, counter.settle(CLAIM))


async def test_a_rejection_is_an_outcome_and_a_refusal_is_none() -> None:
    rejected = {"type": "rejection", "outcome": "rejected"}
    answers = (
        lambda: web.json_response({"outcome": rejected, "code": "x"}, status=422),
        lambda: web.json_response({"code": "x"}, status=422),
    )
    async with played(in_turn(*answers)) as server, at(server) as counter:
        assert await counter.settle(CLAIM) == rejected
        with pytest.raises(Refused, match="x"):
            await counter.settle(CLAIM)


async def test_a_door_that_never_answers_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client, "_REACH_SECONDS", 0.2)
    leaving = asyncio.Event()

    async def silent(_: web.Request) -> web.Response:
        await leaving.wait()
        return settled()

    async with played(silent) as server, at(server) as counter:
        with pytest.raises(Unknown, match="no connection: TimeoutError"):
            await within(5, counter.reach())
        leaving.set()


async def test_what_a_stream_left_on_its_way_is_settled_by_itself() -> None:
    first = streamed({"type": "in_progress", "line": 1}, {"type": "settlement", "outcome": "other"})
    async with played(in_turn(first, settled)) as server, at(server) as counter:
        assert [one["outcome"] async for one in counter.feed(numbered(2))] == ["settled", "other"]


@pytest.mark.parametrize("end", [(), (told("unavailable", 503),)], ids=["no word", "the end of the process"])
async def test_a_stream_that_ends_before_its_last_line_goes_on_and_says_so(end: tuple[dict[str, object], ...]) -> None:
    said: list[str] = []
    async with played(in_turn(streamed(SETTLED, *end), streamed(SETTLED))) as server:
        async with CounterClient(str(server.make_url("")), "key", cut=said.append) as counter:
            assert [one async for one in counter.feed(numbered(2))] == [SETTLED, SETTLED]
        assert said == ["ClientError: unavailable" if end else "ClientError: the stream ended early"]
    async with played(in_turn(streamed(*end))) as server, at(server, patience=0.5) as counter:
        with pytest.raises(Unknown, match="the stream was cut"):
            await within(5, anext(counter.feed(numbered(2))))


async def test_a_stream_that_ends_in_a_refusal_is_not_sent_again() -> None:
    async with played(in_turn(streamed(SETTLED, told("too_large", 413)))) as server, at(server) as counter:
        answers = counter.feed(numbered(2))
        assert await anext(answers) == SETTLED
        with pytest.raises(Refused, match="too_large: so it is"):
            await within(5, anext(answers))


async def test_lines_are_not_read_far_ahead_of_a_counter_that_takes_none() -> None:
    read = 0

    async def counted() -> AsyncIterator[bytes]:
        nonlocal read
        async for one in numbered(200_000, 5_000):
            read += 1
            yield one

    lines: list[asyncio.StreamWriter] = []

    async def deaf(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        lines.append(writer)
        await reader.readuntil(b"\r\n\r\n")

    async with await asyncio.start_server(deaf, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        async with CounterClient(f"http://127.0.0.1:{port}", "key") as counter:
            asking = asyncio.ensure_future(anext(counter.feed(counted())))
            seen = -1
            async with asyncio.timeout(30):
                while seen != read or not read:  # until nothing more is read
                    seen = read
                    await asyncio.sleep(0.5)
            asking.cancel()
            with suppress(asyncio.CancelledError):
                await asking
        for line in lines:
            line.transport.abort()
            with suppress(OSError):
                await line.wait_closed()
    assert read < 20_000, "what fits into the line's buffers, and a thousand"


async def within(seconds: float, work: Awaitable[object]) -> object:
    """The result; a failure where none comes in time, also of what would only end when it is told to twice."""
    task = asyncio.ensure_future(work)
    done, _ = await asyncio.wait([task], timeout=seconds)
    assert done, "it never ends"
    return task.result()
