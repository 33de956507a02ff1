"""A feed through the counter, as an institution sends it: with its key, its own claims, an answer for each line."""

import asyncio
import sys
from collections import deque
from collections.abc import AsyncIterator, Iterable
from dataclasses import dataclass, field

import msgspec

from services.client import CounterClient, Refused, Unknown
from services.ops.send import Numbered
from shared.errors import ServerMissing, UsageError


@dataclass
class Answered:
    """What came back. ``faults``: (file:line, what is wrong) of lines that the counter did not take."""

    outcomes: int = 0
    rejected: int = 0
    faults: list[tuple[str, str]] = field(default_factory=list)


async def send_over_http(url: str, key: str, lines: Iterable[Numbered], *, show: bool) -> Answered:
    """Streams the lines; with ``show`` prints each answer as it comes. Raises ServerMissing, UsageError."""
    answered = Answered()
    places: deque[str] = deque()  # of the lines on their way

    async def sent() -> AsyncIterator[bytes]:
        for name, number, raw in lines:
            if raw.strip():
                places.append(f"{name}:{number}")
                yield raw
                await asyncio.sleep(0)

    try:
        async with CounterClient(url, key) as counter:
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
        raise ServerMissing("counter", f"{unknown}; start it with `gongji serve all`, or send the file again") from unknown
    return answered
