"""A wire to Postgres on which every answer comes late."""

import asyncio
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from urllib.parse import urlsplit

_CHUNK = 64 * 1024


@contextmanager
def slow_wire(dsn: str, delay_s: float) -> Iterator[str]:
    """The DSN of the same database behind a proxy of this process that holds every answer back for so long."""
    behind = urlsplit(dsn)
    assert behind.hostname is not None
    assert behind.port is not None
    ready, ports, over = threading.Event(), [0], threading.Event()
    wire = _Wire(behind.hostname, behind.port, delay_s)
    serving = threading.Thread(target=asyncio.run, args=(wire.serve(ports, ready, over),), name="slow wire", daemon=True)
    serving.start()
    assert ready.wait(10), "the proxy does not listen"
    credentials = behind.netloc.rpartition("@")[0]
    try:
        yield behind._replace(netloc=f"{credentials}@127.0.0.1:{ports[0]}").geturl()
    finally:
        over.set()
        serving.join(10)


class _Wire:
    def __init__(self, host: str, port: int, delay_s: float) -> None:
        self._place = (host, port)
        self._delay_s = delay_s
        self._calls: set[asyncio.Task[None]] = set()

    async def serve(self, ports: list[int], ready: threading.Event, over: threading.Event) -> None:
        server = await asyncio.start_server(self._called, "127.0.0.1", 0)
        ports[0] = server.sockets[0].getsockname()[1]
        ready.set()
        await asyncio.to_thread(over.wait)
        server.close()
        for call in self._calls:
            call.cancel()
        await asyncio.gather(*self._calls, return_exceptions=True)

    async def _called(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        call = asyncio.current_task()
        assert call is not None
        self._calls.add(call)
        try:
            answers, questions = await asyncio.open_connection(*self._place)
            await asyncio.gather(self._carry(reader, questions, 0.0), self._carry(answers, writer, self._delay_s))
        except OSError:
            pass  # either side may go at any time: that is the test
        finally:
            writer.close()
            self._calls.discard(call)

    async def _carry(self, source: asyncio.StreamReader, target: asyncio.StreamWriter, delay_s: float) -> None:
        try:
            while chunk := await source.read(_CHUNK):
                await asyncio.sleep(delay_s)
                target.write(chunk)
                await target.drain()
        finally:
            target.close()
