"""Reading what a client sends, with a limit to size and time: whole bodies, and lines of a stream."""

import asyncio
from collections.abc import AsyncIterator
from typing import Final

from starlette.requests import ClientDisconnect, Request

from services.intake.api_problems import Problem

MOST_BYTES: Final = 1_000_000  # what the topics take, with room for the key and the frame
_BODY_SECONDS: Final = 20.0  # for a whole record
_IDLE_SECONDS: Final = 300.0  # between two pieces of a stream


async def whole(request: Request) -> bytes:
    """The body of a request for one record. Raises Problem: too_large, too_slow."""
    length = request.headers.get("content-length", "0")
    if length.isdecimal() and (len(length) > len(str(MOST_BYTES)) or int(length) > MOST_BYTES):
        raise Problem("too_large")
    body = bytearray()
    try:
        async with asyncio.timeout(_BODY_SECONDS):
            async for piece in request.stream():
                body += piece
                if len(body) > MOST_BYTES:
                    raise Problem("too_large")
    except (TimeoutError, ClientDisconnect) as gone:
        raise Problem("too_slow") from gone
    return bytes(body)


async def lines(request: Request) -> AsyncIterator[list[bytes]]:
    """The lines of a stream as they arrive, together what arrived together. Blank lines count, as in a file.

    Raises ClientDisconnect; Problem: too_large for a line that does not end, too_slow for a client that sends nothing for long.
    """
    pieces = request.stream().__aiter__()
    rest = b""
    number = 1  # of the line that has not ended
    while True:
        try:
            async with asyncio.timeout(_IDLE_SECONDS):
                piece = await anext(pieces, None)
        except TimeoutError as slow:
            raise Problem("too_slow") from slow
        if piece is None:
            break
        *whole_lines, rest = (rest + piece).split(b"\n")
        number += len(whole_lines)
        if whole_lines:
            yield whole_lines
        if len(rest) > MOST_BYTES:
            raise Problem("too_large", (f"第 {number} 行过大", f"line {number} is too large"))
    if rest.strip():
        yield [rest]
