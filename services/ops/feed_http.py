"""A feed through the counter, as an institution sends it: with its key, its own claims, an answer for each line."""

import asyncio
import sys
import time
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterable
from dataclasses import dataclass, field
from typing import Final
from urllib.parse import urlsplit

import msgspec

from services.client import CounterClient, Refused, Unknown
from services.ops.send import MAX_LINE_BYTES, Numbered
from shared.errors import ServerMissing, UsageError

_PATIENCE_SECONDS: Final = 30.0
_AGAIN_SECONDS: Final = 1.0


@dataclass
class Answered:
    """What came back. ``faults``: (file:line, what is wrong) of lines that the counter did not take."""

    outcomes: int = 0
    rejected: int = 0
    faults: list[tuple[str, str]] = field(default_factory=list)


async def send_over_http(
    url: str, key: str, lines: Iterable[Numbered], *, show: bool, say: Callable[[str], None], patience: float = _PATIENCE_SECONDS
) -> Answered:
    """Streams the lines; with ``show`` prints each answer as it comes; ``say`` hears of trouble as it comes.

    ``patience``: seconds for a first connection. Raises ServerMissing, UsageError.
    """
    check_address(url)
    answered = Answered()
    places: deque[str] = deque()  # of the lines on their way

    async def sent() -> AsyncIterator[bytes]:
        for name, number, raw in lines:
            if len(raw) > MAX_LINE_BYTES:  # the counter would end the stream at it, and each that is sent again
                answered.faults.append((f"{name}:{number}", f"{len(raw)} bytes; a record has at most {MAX_LINE_BYTES}: not sent"))
            elif raw.strip():
                places.append(f"{name}:{number}")
                yield raw
                await asyncio.sleep(0)

    try:
        async with CounterClient(url, key, cut=lambda why: say(f"the stream was cut ({why}); going on")) as counter:
            await _reach(counter, url, say, patience)
            async for answer in counter.feed(sent()):
                place = places.popleft()
                if show:
                    sys.stdout.buffer.write(msgspec.json.encode(answer) + b"\n")
                if answer["type"] == "problem":
                    answered.faults.append((place, str(answer["problem"]["detail"])))
                else:
                    answered.outcomes += 1
                    answered.rejected += answer["outcome"] == "rejected"
    except Refused as refused:
        raise UsageError(f"{url}: {refused}") from refused
    except Unknown as unknown:
        remedy = f"{url}: {unknown}; start it with `gongji serve all`, see whether the URL is its own, and send the file again"
        raise ServerMissing("counter", remedy) from unknown
    return answered


def check_address(url: str) -> None:
    """Raises UsageError for a text that is no address of a counter."""
    try:
        found = urlsplit(url)
        good = found.scheme in {"http", "https"} and bool(found.hostname) and found.port != 0 and not found.query
    except ValueError:
        good = False
    if not good:
        raise UsageError(f"--http: {url!r} is no address of a counter; it has the form http://host:port or https://host:port")


async def _reach(counter: CounterClient, url: str, say: Callable[[str], None], patience: float) -> None:
    """Waits for the first connection, and says so: what was sent before it was never on its way. Raises Unknown."""
    deadline = time.monotonic() + patience
    told = False
    while True:
        try:
            return await counter.reach()
        except Unknown as unknown:
            if time.monotonic() > deadline:
                raise
            if not told:
                say(f"{url}: {unknown}; trying again for {patience:g} s")
                told = True
        await asyncio.sleep(_AGAIN_SECONDS)
