"""The counter's listener: uvicorn with a limit to everything a stranger can make it hold before a key was looked at."""

import asyncio
import contextlib
import os
import resource
import socket
import ssl
from asyncio import TimerHandle
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Self

import uvicorn
from starlette.types import ASGIApp
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle

from services.intake.api_guard import LINE
from services.intake.api_tls import take_in
from shared.errors import UsageError
from shared.runtime.ending import ended
from shared.runtime.listener import Place, listener, place_of
from shared.runtime.pem import usable

_HEADER_SECONDS: Final = 10.0  # from the connection, or the end of the request before, to the end of the headers
_HEADER_BYTES: Final = 32_768
_MOST_CONNECTIONS: Final = 12_288  # some 15 KiB each
_OTHER_FILES: Final = 256  # of this process: Kafka, Postgres, Redis, logs
_DRAIN_SECONDS: Final = 10
_UNREAD_MS: Final = 60_000  # so long a client may leave what was sent to it unread, also when nobody waits for that any more


@dataclass(frozen=True)
class Door:
    """Where the counter listens, and how much one institution may ask (requests a second)."""

    host: str
    port: int
    rate: float
    certificate: str | None = None
    certificate_key: str | None = None
    client_authority: str | None = None  # mutual TLS: clients need a certificate of this authority, and their key

    @classmethod
    def load(cls) -> Self:
        """Reads ``GONGJI_API*`` from the environment. Raises UsageError."""
        host, port = place_of("GONGJI_API")
        rate = os.environ.get("GONGJI_API_RATE", "200")
        if not (rate.isascii() and rate.isdecimal() and int(rate) > 0):
            raise UsageError(f"GONGJI_API_RATE={rate!r}: a whole number of requests a second is needed")
        files = (os.environ.get(f"GONGJI_API_{name}") or None for name in ("CERT", "CERT_KEY", "CLIENT_CA"))
        door = cls(host, port, float(rate), *files)
        door.check_files()
        return door

    def check_files(self) -> None:
        """Raises UsageError for files that would leave the door plainer than was asked for, or unable to open."""
        if self.certificate is None:
            for name, file in (("CERT_KEY", self.certificate_key), ("CLIENT_CA", self.client_authority)):
                if file is not None:
                    raise UsageError(f"GONGJI_API_{name}={file}: give GONGJI_API_CERT too; the counter has no TLS without it")
            return
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        named = f"GONGJI_API_CERT={self.certificate}"
        if self.certificate_key is not None:
            with usable(f"GONGJI_API_CERT_KEY={self.certificate_key}", "the key of GONGJI_API_CERT is needed, in PEM"):
                Path(self.certificate_key).read_bytes()
            named += f", GONGJI_API_CERT_KEY={self.certificate_key}"
        with usable(named, "a certificate and its own key are needed, in PEM and without a password"):
            context.load_cert_chain(self.certificate, self.certificate_key, password="")
        if self.client_authority is not None:
            with usable(f"GONGJI_API_CLIENT_CA={self.client_authority}", "an authority's certificates are needed, in PEM"):
                context.load_verify_locations(self.client_authority)

    def tls(self) -> dict[str, Any]:
        """The settings of uvicorn for TLS; none without a certificate."""
        if self.certificate is None:
            return {}
        needs = ssl.CERT_REQUIRED if self.client_authority else ssl.CERT_NONE
        return {
            "ssl_certfile": self.certificate,
            "ssl_keyfile": self.certificate_key,
            "ssl_ca_certs": self.client_authority,
            "ssl_cert_reqs": needs,
        }


class _Protocol(HttpToolsProtocol):
    """Ends a connection whose headers do not come, or do not end; and any above the number that can be held."""

    _deadline: TimerHandle | None = None
    _header_bytes = 0  # as they come in, also of what has not ended
    _head_bytes = 0  # of one request, as they are read
    _answering: RequestResponseCycle | None = None
    most_connections = _MOST_CONNECTIONS

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        if len(self.connections) > self.most_connections:
            transport.abort()
            return
        self._expect_headers()

    def connection_lost(self, exc: Exception | None) -> None:
        self._headers_are_there()
        self._leave()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        if self._deadline is not None:
            self._header_bytes += len(data)
        super().data_received(data)
        if self._header_bytes > _HEADER_BYTES and not self.transport.is_closing():
            self.cut()

    def on_url(self, url: bytes) -> None:
        self._weigh(url)
        super().on_url(url)

    def on_header(self, name: bytes, value: bytes) -> None:
        if self._deadline is not None:
            self._weigh(name, value)
            super().on_header(name, value)
        else:  # behind the body: nobody asks for these, and uvicorn would keep as many as come
            self._header_bytes += len(name) + len(value)

    def _weigh(self, *pieces: bytes) -> None:
        """What comes all at once is read before its bytes are counted. Whatever is raised here is answered with 400."""
        self._head_bytes += sum(map(len, pieces))
        if self._head_bytes > _HEADER_BYTES:
            raise ValueError("too many bytes of headers")

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self._head_bytes = 0
        self._expect_headers()

    def on_headers_complete(self) -> None:
        self._headers_are_there()
        self._header_bytes = 0
        super().on_headers_complete()

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: Any) -> None:
        self._answering = cycle
        cycle.scope[LINE] = self  # type: ignore[typeddict-unknown-key]
        super()._start_asgi_task(cycle, app)

    def is_down(self) -> bool:
        """Whether the connection has ended; uvicorn is told a turn later, and would complain of an answer without end."""
        if self.transport.is_closing():
            self._leave()
        return self.transport.is_closing()

    def cut(self) -> None:
        """Ends the connection at once."""
        self._leave()
        self.transport.abort()

    def _leave(self) -> None:
        """Nobody is there to be answered. Of pipelined requests uvicorn would only tell the one that came last."""
        if self._answering is not None:
            self._answering.disconnected = True
            self._answering.message_event.set()

    def _expect_headers(self) -> None:
        if self._deadline is None:
            self._header_bytes = 0
            self._deadline = self.loop.call_later(_HEADER_SECONDS, self._give_up)

    def _headers_are_there(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None

    def _give_up(self) -> None:
        self._deadline = None
        if not self.transport.is_closing():
            self.transport.abort()


class _Server(uvicorn.Server):
    """uvicorn without its signal handlers: this process has its own."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


@contextlib.asynccontextmanager
async def listening(app: ASGIApp, door: Door) -> AsyncIterator[str]:
    """Serves until the block ends, then lets answers under way finish. Gives the address. Raises UsageError."""
    _Protocol.most_connections = min(_MOST_CONNECTIONS, _files() - _OTHER_FILES)
    taken = listener("GONGJI_API", Place(door.host, door.port), backlog=1024)
    taken.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, _UNREAD_MS)
    config = uvicorn.Config(
        app, http=_Protocol, ws="none", lifespan="off", log_config=None, access_log=False, server_header=False,
        proxy_headers=False, timeout_keep_alive=30, timeout_graceful_shutdown=_DRAIN_SECONDS, **door.tls(),
    )  # fmt: skip
    config.load()
    server = _Server(config)
    serving = asyncio.create_task(server.serve(sockets=[] if config.ssl else [taken]))
    taking_in = [asyncio.create_task(take_in(taken, config.ssl, *_behind(server)))] if config.ssl else []
    scheme = "https" if door.certificate else "http"
    try:
        yield f"{scheme}://{door.host}:{taken.getsockname()[1]}"
    finally:
        await ended(*taking_in)
        server.should_exit = True
        await serving


def _behind(server: _Server) -> tuple[Callable[[], asyncio.Protocol], Callable[[int], bool]]:
    """What goes on with a connection, and whether there are too many with so many more."""
    inside = server.server_state
    return (
        lambda: _Protocol(config=server.config, server_state=inside, app_state={}),
        lambda more: len(inside.connections) + more >= _Protocol.most_connections,
    )


def _files() -> int:
    """How many files the process may open, after asking for as many as it can get."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = _MOST_CONNECTIONS + _OTHER_FILES
    if soft < wanted:
        soft = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    return soft
