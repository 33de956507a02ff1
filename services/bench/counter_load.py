"""The counter's clients, a process of its own: requests on a fixed schedule, whatever becomes of them (an open loop).

``python -m services.bench.counter_load HOST PORT CALLS ANSWERS``: one file read, one written. Latency counts from the moment
a request was due, so a counter that makes its clients wait cannot hide it. Plain HTTP/1.1 over kept connections, because a whole
client library would take a share of the machine that is being measured.
"""

import asyncio
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Final, NamedTuple

import msgspec
import uvloop

_LEAD_SECONDS: Final = 1.0
_LINKS_AT_FIRST: Final = 64  # open before the first request is due: hospitals keep theirs open

Link = tuple[asyncio.StreamReader, asyncio.StreamWriter]


class Call(NamedTuple):
    """A request: what it is (claim, trial), when it is due (seconds from the start), and its bytes."""

    what: str
    due: float
    request: bytes


class Answer(NamedTuple):
    """What came of one call: its HTTP status (0: nothing), and when, in ms from when it was due."""

    what: str
    status: int
    ms: float


class Clients:
    """Kept connections to one counter; as many as there are requests under way."""

    def __init__(self, host: str, port: int) -> None:
        self._address = (host, port)
        self._free: list[Link] = []

    async def open(self, count: int) -> None:
        """Opens so many connections ahead."""
        self._free += [await asyncio.open_connection(*self._address) for _ in range(count)]

    def close(self) -> None:
        """Ends those that are kept."""
        for _, writer in self._free:
            writer.close()

    async def call(self, call: Call, start: float) -> Answer:
        """Sends one request and waits for its answer, however long that takes."""
        link = None
        try:
            link = self._kept() or await asyncio.open_connection(*self._address)
            status = await _exchange(link, call.request)
        except (OSError, EOFError, ValueError):
            status = 0
            if link is not None:
                link[1].close()
        else:
            self._free.append(link)
        return Answer(call.what, status, (time.monotonic() - start - call.due) * 1000)

    def _kept(self) -> Link | None:
        """A connection that the counter has not ended meanwhile: it keeps none for long on which nobody asks."""
        while self._free:
            link = self._free.pop()
            if not link[0].at_eof():
                return link
            link[1].close()
        return None


async def _exchange(link: Link, request: bytes) -> int:
    reader, writer = link
    writer.write(request)
    head = await reader.readuntil(b"\r\n\r\n")
    length = head.lower().partition(b"content-length:")[2].split(b"\r\n", 1)[0]
    await reader.readexactly(int(length))
    return int(head[9:12])


async def run(host: str, port: int, calls: Sequence[Call]) -> list[Answer]:
    """Makes every call when it is due. ``calls`` in the order of their time."""
    clients = Clients(host, port)
    await clients.open(_LINKS_AT_FIRST)
    start = time.monotonic() + _LEAD_SECONDS
    under_way = []
    for call in calls:
        await asyncio.sleep(max(0.0, start + call.due - time.monotonic()))
        under_way.append(asyncio.create_task(clients.call(call, start)))
    answers = await asyncio.gather(*under_way)
    clients.close()
    return list(answers)


def main(host: str, port: str, asked: str, answered: str) -> None:
    """Runs the calls of a file, and writes their answers to another."""
    calls = msgspec.msgpack.decode(Path(asked).read_bytes(), type=list[Call])
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        answers = runner.run(run(host, int(port), calls))
    Path(answered).write_bytes(msgspec.msgpack.encode(answers))


if __name__ == "__main__":
    main(*sys.argv[1:])
