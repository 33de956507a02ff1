"""A line to the counter that is cut, again and again, at any byte of a request or an answer."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from random import Random


class CutLine:
    """Carries bytes to an address until a connection's measure is full; ``cuts`` counts.

    ``measure``: bytes of the first at most. Later ones live longer, so that all ends.
    """

    def __init__(self, host: str, port: int, chance: Random) -> None:
        self._address = (host, port)
        self._chance = chance
        self.cuts = 0
        self.measure = 4_000
        self._carrying: set[asyncio.Task[None]] = set()

    async def carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One connection."""
        task = asyncio.current_task()
        assert task is not None
        self._carrying.add(task)
        task.add_done_callback(self._carrying.discard)
        ends = [writer]
        try:
            there_reader, there_writer = await asyncio.open_connection(*self._address)
            ends.append(there_writer)
            left = [self._chance.randrange(self.measure * (1 + self.cuts))]
            async with asyncio.TaskGroup() as both:
                both.create_task(self._pass_on(reader, there_writer, left))
                both.create_task(self._pass_on(there_reader, writer, left))
        except* OSError:
            pass
        finally:
            for end in ends:
                end.transport.abort()

    async def _pass_on(self, source: asyncio.StreamReader, target: asyncio.StreamWriter, left: list[int]) -> None:
        while piece := await source.read(65_536):
            target.write(piece[: left[0]])
            left[0] -= len(piece)
            if left[0] <= 0:
                self.cuts += 1
                raise ConnectionAbortedError
            await target.drain()
        raise ConnectionAbortedError  # one side has gone, so the other goes too

    async def end(self) -> None:
        """Cuts whatever is left."""
        for task in tuple(self._carrying):
            task.cancel()
        await asyncio.gather(*self._carrying, return_exceptions=True)


@asynccontextmanager
async def cut_line(url: str, chance: Random) -> AsyncIterator[tuple[str, CutLine]]:
    """The address of such a line to a counter."""
    host, port = url.removeprefix("http://").split(":")
    line = CutLine(host, int(port), chance)
    listener = await asyncio.start_server(line.carry, "127.0.0.1", 0)
    try:
        yield f"http://127.0.0.1:{listener.sockets[0].getsockname()[1]}", line
    finally:
        listener.close()
        await line.end()
