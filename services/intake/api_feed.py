"""A day in a stream: NDJSON up, outcomes down in the order sent, both at once.

Memory is flat: so many lines are on their way at most, and while they are no more is read, which the client's own
connection feels. After a cut the client sends again from any line it likes: repeats are answered, nothing doubles.
"""

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, MutableMapping, Sequence
from typing import Any, Final, NamedTuple

import msgspec
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from services.intake.api_body import MOST_BYTES, lines
from services.intake.api_places import place_of
from services.intake.api_problems import Problem, unreadable
from services.intake.desk import Desk, Handed, Waiting
from services.intake.submission import read
from shared.errors import Retry, Unreadable
from shared.runtime.aside import Aside
from shared.runtime.database import TROUBLE
from shared.runtime.ending import ended

log = logging.getLogger("gongji.counter")

MOST_FEEDS: Final = 4  # of one institution at once
_CHUNK: Final = 200  # lines handed in together at most
_CHUNKS: Final = 4  # on their way at once
_OUTCOME_SECONDS: Final = 60.0


class _Line(NamedTuple):
    number: int
    handed: Handed | None
    problem: Problem | None = None


class _Chunk(NamedTuple):
    lines: Sequence[_Line]
    waiting: Waiting


class Feed(Response):
    """The answer to ``POST /v1/feed``. ``open_feeds`` counts those under way by institution."""

    def __init__(self, request: Request, desk: Desk, open_feeds: MutableMapping[str, int], aside: Aside) -> None:
        super().__init__(media_type="application/x-ndjson")
        del self.headers["content-length"]
        self._request = request
        self._desk = desk
        self._open = open_feeds
        self._aside = aside
        self._owner: str = request.state.institution_id
        self._request_id: str = request.state.request_id
        self._check_key: Callable[[], Awaitable[object]] = request.state.check_key
        self._on_the_way: asyncio.Queue[_Chunk | Problem | None] = asyncio.Queue(_CHUNKS)
        self._arriving = asyncio.Event()  # the first lines are there, or none will come
        self._gone = asyncio.Event()  # the client has hung up: its place is free, whatever is still on its way

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:  # noqa: ARG002
        """Streams until the client's last line is answered, or it goes away."""
        if self._open.get(self._owner, 0) >= MOST_FEEDS:
            raise Problem("rate_limited", headers={"Retry-After": "5"})
        self._open[self._owner] = self._open.get(self._owner, 0) + 1
        reading = asyncio.create_task(self._read())
        ending = asyncio.create_task(self._end_with_the_process(reading))
        answering = asyncio.create_task(self._send_answers(send))
        leaving = asyncio.create_task(self._gone.wait())
        try:
            done, _ = await asyncio.wait((answering, leaving), return_when=asyncio.FIRST_COMPLETED)
            if answering in done:
                answering.result()
        finally:
            self._open[self._owner] -= 1
            if not self._open[self._owner]:
                del self._open[self._owner]
            await ended(answering, leaving, ending, reading)
            self._leave()

    async def _send_answers(self, send: Send) -> None:
        if "expect" in self._request.headers:  # who waits for "go on" must not get the end's status first
            await self._arriving.wait()
        await send({"type": "http.response.start", "status": 200, "headers": self.raw_headers})
        async for piece in self._answers():
            await send({"type": "http.response.body", "body": piece, "more_body": True})
        await send({"type": "http.response.body", "body": b""})

    async def _end_with_the_process(self, reading: "asyncio.Task[None]") -> None:
        """Nothing more is read then; the last line says so, and the client goes on at another instance."""
        await self._desk.over.wait()
        await ended(reading)
        await self._on_the_way.put(Problem("unavailable"))

    def _leave(self) -> None:
        while not self._on_the_way.empty():
            left = self._on_the_way.get_nowait()
            if isinstance(left, _Chunk):
                left.waiting.leave()

    async def _read(self) -> None:
        """Reads, hands in, and waits at the queue while enough is on its way."""
        try:
            number = 0
            async for arrived in lines(self._request):
                self._arriving.set()
                for chunk in _cut(arrived):
                    await self._check_key()  # a key that is revoked ends the streams that came in with it
                    entries = await self._aside(max(map(len, chunk)), self._look, number, chunk)
                    number += len(chunk)
                    waiting = await self._desk.hand_in([entry.handed for entry in entries if entry.handed])
                    try:
                        await self._on_the_way.put(_Chunk(entries, waiting))
                    except asyncio.CancelledError:
                        waiting.leave()
                        raise
            await self._on_the_way.put(None)
            self._arriving.set()
            while (await self._request.receive())["type"] != "http.disconnect":
                continue
            self._gone.set()
        except ClientDisconnect:
            self._gone.set()
        except Problem as problem:
            await self._on_the_way.put(problem)
        except (Retry, *TROUBLE):
            await self._on_the_way.put(Problem("unavailable"))
        except Exception:
            log.exception("a stream failed", extra={"fields": {"request_id": self._request_id}})
            await self._on_the_way.put(Problem("internal"))
        finally:
            self._arriving.set()

    def _look(self, before: int, chunk: Sequence[bytes]) -> list[_Line]:
        return [self._look_at(before + place, line) for place, line in enumerate(chunk, 1) if line.strip()]

    def _look_at(self, number: int, line: bytes) -> _Line:
        if len(line) > MOST_BYTES:
            return _Line(number, None, Problem("too_large"))
        try:
            submission = read(line)
        except Unreadable as fault:
            return _Line(number, None, unreadable(str(fault)))
        if submission.institution_id != self._owner:
            return _Line(number, None, Problem("other_institution"))
        return _Line(number, Handed(submission, line))

    async def _answers(self) -> AsyncIterator[bytes]:
        """What goes down, a chunk at a time; a problem of the whole stream is its last line."""
        while (chunk := await self._on_the_way.get()) is not None:
            if isinstance(chunk, Problem):
                yield self._told(chunk, None)
                return
            outcomes = iter(await chunk.waiting.outcomes(_OUTCOME_SECONDS))
            yield b"".join(self._answer(line, next(outcomes) if line.handed else None) for line in chunk.lines)

    def _answer(self, line: _Line, outcome: bytes | None) -> bytes:
        if line.problem is not None:
            return self._told(line.problem, line.number)
        if outcome is not None:
            return outcome + b"\n"
        assert line.handed is not None
        submission = line.handed.submission
        place = {"type": "in_progress", "line": line.number, "claim_no": submission.claim_no, "location": place_of(submission)}
        return msgspec.json.encode(place) + b"\n"

    def _told(self, problem: Problem, number: int | None) -> bytes:
        document: dict[str, Any] = problem.document(self._request_id)
        return msgspec.json.encode({"type": "problem", "line": number, "problem": document}) + b"\n"


def _cut(arrived: Sequence[bytes]) -> Iterator[Sequence[bytes]]:
    for start in range(0, len(arrived), _CHUNK):
        yield arrived[start : start + _CHUNK]
