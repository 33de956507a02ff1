"""A client of the counter that never leaves a result unknown for long: it asks again, or sends the same again.

    async with CounterClient("http://127.0.0.1:8080", key) as counter:
        trial = await counter.trial(claim)
        outcome = await counter.settle(claim | {"quote": trial["quote"]})

Sending again is always safe: nothing is settled twice, and a repeat gets the first outcome.
"""

import asyncio
import json
import ssl
import time
from collections import deque
from collections.abc import AsyncIterable, AsyncIterator, Callable, Mapping
from contextlib import suppress
from itertools import chain, repeat
from types import TracebackType
from typing import Any, Final, Self
from urllib.parse import quote

import aiohttp

Record = Mapping[str, Any]

_WAIT_SECONDS: Final = 20
_SILENCE_SECONDS: Final = _WAIT_SECONDS + 60.0  # more than any answer takes
_PAUSES: Final = (0.1, 0.3, 1.0, 2.0, 5.0)
_STRANGER: Final = "what answers there is no counter"
_REACH_SECONDS: Final = 10.0
_LONGEST_LINE: Final = 4 * 1024 * 1024
_AHEAD: Final = 1_000  # lines read before the counter asks for them
_TROUBLE: Final = (aiohttp.ClientError, OSError, TimeoutError)
_AGAIN: Final = frozenset({408, 429, 500, 502, 503, 504})


class Refused(Exception):
    """The counter does not take this, and sending it again will not help. ``problem`` is its problem document."""

    def __init__(self, problem: Record) -> None:
        super().__init__(f"{problem.get('code')}: {problem.get('detail')}")
        self.problem = problem


class Unknown(Exception):
    """The result is still not known when the patience is at its end. Call again with the same record: that is safe."""


class CounterClient:
    """One institution at the counter. ``patience``: seconds until ``Unknown`` is raised; ``cut`` hears why a stream was cut.

    ``tls``: the institution's certificate and whom it trusts, where the counter asks for one or has one of its own authority.
    """

    def __init__(
        self,
        url: str,
        key: str,
        *,
        patience: float = 120.0,
        cut: Callable[[str], None] = lambda _: None,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        self._url = url.rstrip("/")
        self._key = key
        self._patience = patience
        self._cut = cut
        self._tls = tls
        self._session: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> Self:
        timeout = aiohttp.ClientTimeout(total=None, sock_connect=10, sock_read=_SILENCE_SECONDS)
        headers = {"Authorization": f"Bearer {self._key}"}
        lines = aiohttp.TCPConnector(ssl=self._tls or True)
        self._session = aiohttp.ClientSession(timeout=timeout, headers=headers, connector=lines, read_bufsize=_LONGEST_LINE)
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if self._session is not None:
            await self._session.close()

    async def reach(self) -> None:
        """Returns when something answers at the address, whatever it is; tries once. Raises Unknown."""
        assert self._session is not None, "use it with `async with`"
        try:
            async with self._session.get(f"{self._url}/health", timeout=aiohttp.ClientTimeout(total=_REACH_SECONDS)):
                return
        except _TROUBLE as trouble:
            raise Unknown(f"no connection: {type(trouble).__name__}: {trouble}".rstrip(": ")) from trouble

    async def settle(self, record: Record) -> dict[str, Any]:
        """Settles a claim, an account use or a reversal. Returns its outcome, a rejection too. Raises Refused, Unknown."""
        place = "/v1/reversals" if record.get("type") == "reversal" else "/v1/claims"
        return await self._insist("POST", place, record, {"Prefer": f"wait={_WAIT_SECONDS}"})

    async def trial(self, claim: Record) -> dict[str, Any]:
        """What would be paid, with the ``quote`` to settle it by. Raises Refused, Unknown."""
        return await self._insist("POST", "/v1/claims/trial", claim)

    async def outcome(self, institution_id: str, claim_no: str, kind: str = "claim") -> dict[str, Any] | None:
        """The outcome of a number; None where nothing stands under it. Raises Refused, Unknown."""
        number = f"{quote(institution_id, safe='')}/{quote(claim_no, safe='')}"
        try:
            return await self._insist("GET", f"/v1/claims/{number}?kind={kind}")
        except Refused as refused:
            if refused.problem.get("code") == "not_found":
                return None
            raise

    async def outcomes(self, after: str = "") -> AsyncIterator[tuple[list[dict[str, Any]], str]]:
        """All outcomes behind a cursor that there are now, page by page with the cursor behind each."""
        more = True
        while more:
            page = await self._insist("GET", f"/v1/outcomes?after={quote(after, safe='')}")
            after, more = page["next"], page["more"]
            yield page["outcomes"], after

    async def counters(self, member_id: str, on: str) -> dict[str, Any]:
        """What a member has used and has left on a day. Raises Refused, Unknown."""
        return await self._insist("GET", f"/v1/members/{quote(member_id, safe='')}/counters?on={on}")

    async def _insist(
        self, method: str, place: str, record: Record | None = None, headers: Record | None = None
    ) -> dict[str, Any]:
        """Asks until there is an answer: what is on its way, trouble on the way, and a counter in trouble are tried again."""
        deadline = time.monotonic() + self._patience
        data = None if record is None else json.dumps(record, ensure_ascii=False).encode()
        pauses = chain(_PAUSES, repeat(_PAUSES[-1]))
        while True:
            pause = next(pauses)
            try:
                status, body, retry_after = await self._ask(method, place, data, headers)
            except _TROUBLE as trouble:
                why = f"{type(trouble).__name__}: {trouble}"
            else:
                if status == 200:
                    return body
                if "outcome" in body:  # rejected: the books say so, and that is an outcome
                    return dict(body["outcome"])
                if status != 202 and status not in _AGAIN:
                    raise Refused(body)
                pause, why = max(pause, retry_after), f"status {status}"
            if time.monotonic() + pause > deadline:
                raise Unknown(f"{method} {place}: {why}")
            await asyncio.sleep(pause)

    async def _ask(
        self, method: str, place: str, data: bytes | None, headers: Record | None
    ) -> tuple[int, dict[str, Any], float]:
        assert self._session is not None, "use it with `async with`"
        async with self._session.request(method, self._url + place, data=data, headers=dict(headers or {})) as answer:
            text = await answer.read()
            retry_after = answer.headers.get("Retry-After", "0")
            return answer.status, _document(answer.status, text), float(retry_after) if retry_after.isdecimal() else 0.0

    async def feed(self, lines: AsyncIterable[bytes]) -> AsyncIterator[dict[str, Any]]:
        """Streams lines and yields an answer for each that is not blank, in order: an outcome, or a ``problem``.

        After a cut it goes on with the first line that was not answered. Raises Refused, Unknown; ValueError for what is no line.
        """
        source: asyncio.Queue[bytes | None] = asyncio.Queue(_AHEAD)
        pumping = asyncio.create_task(_pump(lines, source))
        stream = _Stream(source)
        attempt = 0
        try:
            while await stream.has_more():
                try:
                    async for answer in self._once(stream):
                        line, attempt = stream.answered(), 0
                        yield answer if answer["type"] != "in_progress" else await self.settle(json.loads(line))
                except _TROUBLE as trouble:
                    if time.monotonic() - stream.since > self._patience:
                        raise Unknown(f"the stream was cut: {trouble}") from trouble
                    self._cut(f"{type(trouble).__name__}: {trouble}")
                    await asyncio.sleep(_PAUSES[min(attempt, len(_PAUSES) - 1)])
                    attempt += 1
            await pumping
        finally:
            pumping.cancel()
            with suppress(asyncio.CancelledError):
                await pumping

    async def _once(self, stream: "_Stream") -> AsyncIterator[dict[str, Any]]:
        assert self._session is not None, "use it with `async with`"
        headers = {"Content-Type": "application/x-ndjson"}
        async with self._session.post(f"{self._url}/v1/feed", data=stream.body(), headers=headers) as answer:
            if answer.status in _AGAIN:
                raise aiohttp.ClientError(f"status {answer.status}")
            if answer.status != 200:
                raise Refused(_document(answer.status, await answer.read()))
            async for raw in answer.content:
                line = _answer(raw)
                if line["type"] == "problem" and line["line"] is None:
                    if line["problem"]["status"] in _AGAIN:
                        raise aiohttp.ClientError(line["problem"]["code"])
                    raise Refused(line["problem"])
                yield line
        if stream.unanswered or not stream.over:
            raise aiohttp.ClientError("the stream ended early")


class _Stream:
    """What goes up: after a cut, first what was not answered. ``since``: so long an answer has been waited for."""

    def __init__(self, source: "asyncio.Queue[bytes | None]") -> None:
        self._source = source
        self.unanswered: deque[bytes] = deque()
        self.over = False
        self.since = time.monotonic()

    async def has_more(self) -> bool:
        """Whether anything is to be sent; returns when that is known, so that nobody is connected to for nothing."""
        if not self.unanswered and not self.over:
            await self._take()
        return bool(self.unanswered)

    async def body(self) -> AsyncIterator[bytes]:
        for line in tuple(self.unanswered):
            yield line + b"\n"
        while not self.over:
            if await self._take():
                yield self.unanswered[-1] + b"\n"

    async def _take(self) -> bool:
        new = await self._source.get()
        if new is None:
            self.over = True
            return False
        if not self.unanswered:
            self.since = time.monotonic()
        self.unanswered.append(new)
        return True

    def answered(self) -> bytes:
        """The line that was answered."""
        self.since = time.monotonic()
        return self.unanswered.popleft()


def _answer(raw: bytes) -> dict[str, Any]:
    """A line of the counter's. Raises Refused for somebody else's."""
    with suppress(ValueError):
        found = json.loads(raw)
        if isinstance(found, dict) and "type" in found:
            return found
    raise Refused({"code": "status 200", "detail": _STRANGER})


def _document(status: int, body: bytes) -> dict[str, Any]:
    """What the counter said; nothing where only a proxy before it says that it is in trouble. Raises Refused for a stranger."""
    with suppress(ValueError):
        found = json.loads(body)
        if isinstance(found, dict) and (status < 300 or "code" in found):
            return found
    if status in _AGAIN:
        return {}
    raise Refused({"code": f"status {status}", "detail": _STRANGER})


def _one_line(stripped: bytes) -> bytes:
    if b"\n" in stripped:
        raise ValueError(f"a record stands on one line: {stripped[:40]!r}")
    return stripped


async def _pump(lines: AsyncIterable[bytes], source: "asyncio.Queue[bytes | None]") -> None:
    """Reads the lines beside the connection, so that a cut does not reach whoever makes them. Raises ValueError."""
    try:
        async for line in lines:
            stripped = line.strip()
            if stripped:
                await source.put(_one_line(stripped))
    except Exception:
        await source.put(None)
        raise
    await source.put(None)  # not when it is cancelled: then nobody takes anything any more
