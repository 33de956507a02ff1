"""The counter's door: who has no certificate of the authority does not even get to ask, and only so many get in at once."""

import asyncio
import contextlib
import ssl
from collections.abc import Callable
from pathlib import Path
from typing import Any

import aiohttp
import pytest
import uvloop
from certificates import issue
from counter_world import hang_up

from services.client import CounterClient, Unknown
from services.intake.api_server import Door, listening
from shared.errors import UsageError


async def app(_scope: Any, _receive: Any, send: Any) -> None:
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b"in"})


async def test_only_certificates_of_the_authority_get_in(tmp_path: Path) -> None:
    ours, authority = issue(tmp_path, "authority")
    counter, _ = issue(tmp_path, "counter", authority)
    hospital, _ = issue(tmp_path, "hospital", authority)
    _, another = issue(tmp_path, "another")
    stranger, _ = issue(tmp_path, "stranger", another)
    door = Door("127.0.0.1", 0, 1.0, str(counter.certificate), str(counter.key), str(ours.certificate))
    async with listening(app, door) as url, aiohttp.ClientSession() as session:
        assert url.startswith("https://")
        for pair, welcome in ((hospital, True), (stranger, False), (None, False)):
            context = ssl.create_default_context(cafile=str(ours.certificate))
            if pair is not None:
                context.load_cert_chain(pair.certificate, pair.key)
            if welcome:
                async with session.get(url, ssl=context) as answer:
                    assert await answer.read() == b"in"
            else:
                with pytest.raises((aiohttp.ClientError, OSError)):
                    await session.get(url, ssl=context)


async def test_the_client_comes_in_with_its_institutions_certificate(tmp_path: Path) -> None:
    ours, authority = issue(tmp_path, "authority")
    counter, _ = issue(tmp_path, "counter", authority)
    hospital, _ = issue(tmp_path, "hospital", authority)
    context = ssl.create_default_context(cafile=str(ours.certificate))
    async with listening(
        app, Door("127.0.0.1", 0, 1.0, str(counter.certificate), str(counter.key), str(ours.certificate))
    ) as url:
        async with CounterClient(url, "key", tls=context) as client:
            with pytest.raises(Unknown):
                await client.reach()
        context.load_cert_chain(hospital.certificate, hospital.key)
        async with CounterClient(url, "key", tls=context) as client:
            await client.reach()


def loaded(monkeypatch: pytest.MonkeyPatch, **files: Path | str) -> Door:
    for name, file in files.items():
        monkeypatch.setenv(f"GONGJI_API_{name}", str(file))
    return Door.load()


def test_mutual_tls_that_cannot_be_had_is_never_left_out_in_silence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ours, _ = issue(tmp_path, "ours")
    (tmp_path / "no.pem").write_text("no certificate")
    assert loaded(monkeypatch, CERT=ours.certificate, CERT_KEY=ours.key, CLIENT_CA=ours.certificate).tls()["ssl_cert_reqs"] == 2
    for wrong in (tmp_path / "nowhere.pem", tmp_path / "no.pem", tmp_path):
        with pytest.raises(UsageError, match=f"GONGJI_API_CLIENT_CA={wrong}: "):
            loaded(monkeypatch, CLIENT_CA=wrong)
    monkeypatch.setenv("GONGJI_API_CERT", "")
    for name in ("CERT_KEY", "CLIENT_CA"):
        with pytest.raises(UsageError, match=f"GONGJI_API_{name}=.*: give GONGJI_API_CERT too"):
            loaded(monkeypatch, **{name: ours.certificate})
        monkeypatch.delenv(f"GONGJI_API_{name}")


def test_a_certificate_that_nobody_could_be_shown_is_named_before_anybody_asks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ours, _ = issue(tmp_path, "ours")
    other, _ = issue(tmp_path, "other")
    assert loaded(monkeypatch, CERT=ours.certificate, CERT_KEY=ours.key).tls() != {}
    (tmp_path / "no.pem").write_text("no certificate")
    for wrong in (tmp_path / "nowhere.pem", tmp_path / "no.pem", tmp_path):
        with pytest.raises(UsageError, match=f"GONGJI_API_CERT={wrong}"):
            loaded(monkeypatch, CERT=wrong, CERT_KEY=ours.key)
        with pytest.raises(UsageError, match=f"GONGJI_API_CERT_KEY={wrong}: "):
            loaded(monkeypatch, CERT=ours.certificate, CERT_KEY=wrong)
    with pytest.raises(UsageError, match=r"GONGJI_API_CERT_KEY=.*other.key: KEY_VALUES_MISMATCH"):
        loaded(monkeypatch, CERT=ours.certificate, CERT_KEY=other.key)
    monkeypatch.delenv("GONGJI_API_CERT_KEY")
    with pytest.raises(UsageError, match="its own key"):
        loaded(monkeypatch, CERT=ours.certificate)


async def test_the_door_without_a_certificate_is_plain() -> None:
    async with listening(app, Door("127.0.0.1", 0, 1.0)) as url, aiohttp.ClientSession() as session, session.get(url) as answer:
        assert (url[:7], await answer.read()) == ("http://", b"in")


async def test_connections_above_the_limit_are_ended_and_the_others_served(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("services.intake.api_server._MOST_CONNECTIONS", 3)
    async with listening(app, Door("127.0.0.1", 0, 1.0)) as url:
        host, port = url.removeprefix("http://").split(":")
        inside = [await asyncio.open_connection(host, int(port)) for _ in range(3)]
        over, writer = await asyncio.open_connection(host, int(port))
        with contextlib.suppress(ConnectionError):
            assert await asyncio.wait_for(over.read(), 5) == b"", "sooner than its headers would be waited for"
        await hang_up(writer)
        for reader, writer in inside:
            writer.write(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
            assert (await asyncio.wait_for(reader.readline(), 30)).startswith(b"HTTP/1.1 200 ")
            await hang_up(writer)


def own_door(directory: Path) -> tuple[Door, ssl.SSLContext]:
    """A door with TLS, and how a client comes in."""
    ours, _ = issue(directory, "ours")
    return Door("127.0.0.1", 0, 1.0, str(ours.certificate), str(ours.key)), ssl.create_default_context(
        cafile=str(ours.certificate)
    )


async def test_who_never_ends_his_handshake_is_counted_and_not_waited_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("services.intake.api_server._MOST_CONNECTIONS", 3)
    monkeypatch.setattr("services.intake.api_tls._HANDSHAKE_SECONDS", 2.0, raising=False)
    door, context = own_door(tmp_path)
    async with listening(app, door) as url, aiohttp.ClientSession() as session:
        port = int(url.rsplit(":", 1)[1])
        silent = [await asyncio.open_connection("127.0.0.1", port) for _ in range(3)]
        over, writer = await asyncio.open_connection("127.0.0.1", port)
        with contextlib.suppress(ConnectionError):
            assert await asyncio.wait_for(over.read(), 1) == b"", "sooner than a handshake would be waited for"
        await hang_up(writer)
        for reader, writer in silent:
            with contextlib.suppress(ConnectionError):
                assert await asyncio.wait_for(reader.read(), 10) == b""
            await hang_up(writer)
        async with session.get(url, ssl=context) as answer:
            assert await answer.read() == b"in"


@pytest.mark.parametrize("loop", [asyncio.new_event_loop, uvloop.new_event_loop])
def test_what_is_said_together_with_the_handshake_is_heard(tmp_path: Path, loop: Callable[[], asyncio.AbstractEventLoop]) -> None:
    """On the loop of the tests and on that of the services; many at once, so that each order of events comes about."""
    door, context = own_door(tmp_path)

    async def ask(port: int) -> bytes:
        reader, writer = await asyncio.open_connection("127.0.0.1", port, ssl=context)
        writer.write(b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        said = await asyncio.wait_for(reader.read(), 30)
        await hang_up(writer)
        return said.partition(b"\r\n\r\n")[2]

    async def all_at_once() -> list[bytes]:
        async with listening(app, door) as url:
            return list(await asyncio.gather(*(ask(int(url.rsplit(":", 1)[1])) for _ in range(200))))

    with asyncio.Runner(loop_factory=loop) as runner:
        assert {part for said in runner.run(all_at_once()) for part in said.split(b"\r\n")[1:2]} == {b"in"}


@pytest.mark.parametrize(
    "head",
    [
        lambda size: b"GET /" + b"x" * size + b" HTTP/1.1\r\n",
        lambda size: b"GET / HTTP/1.1\r\nA: " + b"x" * size + b"\r\n",
        lambda size: b"GET / HTTP/1.1\r\n" + b"A: xxxxxxx\r\n" * (size // 8),
    ],
    ids=["the path", "one header", "many headers"],
)
async def test_headers_above_the_limit_are_refused_also_when_they_come_all_at_once(head: Callable[[int], bytes]) -> None:
    async with listening(app, Door("127.0.0.1", 0, 1.0)) as url:
        host, port = url.removeprefix("http://").split(":")
        for size, status in ((20_000, b"200"), (40_000, b"400")):
            reader, writer = await asyncio.open_connection(host, int(port))
            writer.write(head(size) + b"Host: x\r\n\r\n")
            with contextlib.suppress(ConnectionError):
                assert (await asyncio.wait_for(reader.readline(), 30)).startswith(b"HTTP/1.1 " + status)
            await hang_up(writer)
