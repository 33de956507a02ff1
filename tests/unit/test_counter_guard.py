"""The counter's door, asked without a line: who is let in, what is refused, and how an answer that failed ends."""

import asyncio
import re
from collections.abc import Sequence
from typing import Any

import msgspec
import pytest
from starlette.types import ASGIApp

from services.intake import api_guard
from services.intake.api_guard import LINE, Guard
from services.intake.api_problems import Problem
from services.intake.keys import Keys, Owner
from services.intake.limits import Buckets
from shared.errors import Retry

KEY = ("authorization", "Bearer good")


class Known(Keys):
    """One key, of one institution."""

    async def owner(self, text: str) -> Owner | None:
        if text == "away":
            raise OSError("Postgres is away")
        return Owner("H1", "k") if text == "good" else None


class Line:
    """A connection that takes what is sent, or nothing."""

    def __init__(self, *, reads: bool = True) -> None:
        self.sent: list[Any] = []
        self.is_cut = False
        self._reads = reads

    async def send(self, message: Any) -> None:
        if not self._reads:
            await asyncio.Event().wait()
        self.sent.append(message)

    def is_down(self) -> bool:
        return self.is_cut

    def cut(self) -> None:
        self.is_cut = True

    @property
    def answer(self) -> tuple[int, dict[str, str], Any]:
        """Status, headers, and what is said."""
        start, body = self.sent
        headers = {name.decode(): value.decode() for name, value in start["headers"]}
        return start["status"], headers, msgspec.json.decode(body["body"])


def guard(app: ASGIApp, rate: float = 1_000.0) -> Guard:
    return Guard(app, Known(None), Buckets(rate, rate), b"secret", clock=lambda: 0.0)


def scope(line: Line, headers: Sequence[tuple[str, str]] = (KEY,), path: str = "/v1/claims") -> Any:
    raw = [(name.encode(), value.encode()) for name, value in headers]
    return {"type": "http", "method": "POST", "path": path, "headers": raw, LINE: line}


async def nothing_comes() -> Any:
    await asyncio.Event().wait()


async def asked(door: Guard, *headers: tuple[str, str]) -> Line:
    """What came of a request with these headers."""
    line = Line()
    await asyncio.wait_for(door(scope(line, headers or (KEY,)), nothing_comes, line.send), 5)
    return line


async def settles(_scope: Any, _receive: Any, send: Any) -> None:
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b"{}"})


def raises(failure: BaseException) -> ASGIApp:
    async def app(_scope: Any, _receive: Any, _send: Any) -> None:
        raise failure

    return app


@pytest.mark.parametrize(
    "headers",
    [
        (("x", "y"),), (("authorization", "good"),), (("authorization", "Basic good"),), (("authorization", "Bearer bad"),),
        (KEY, KEY), (KEY, ("authorization", "Bearer bad")), (("authorization", ""),),
    ],
)  # fmt: skip
async def test_one_key_that_is_known_opens_and_nothing_else(headers: Sequence[tuple[str, str]]) -> None:
    status, said, problem = (await asked(guard(settles), *headers)).answer
    assert (status, problem["code"], said["www-authenticate"]) == (401, "unauthorized", 'Bearer realm="gongji"')
    assert (await asked(guard(settles))).answer[0] == 200
    assert (await asked(guard(settles), ("authorization", "bearer  good"))).answer[0] == 200


@pytest.mark.parametrize("given", ["", "a b", "x" * 65, 'x"}', "号"])
async def test_a_request_id_that_could_spoil_a_log_is_not_taken(given: str) -> None:
    _, said, _ = (await asked(guard(settles), KEY, ("x-request-id", given))).answer
    assert re.fullmatch("[0-9a-f]{16}", said["x-request-id"])
    _, said, _ = (await asked(guard(settles), KEY, ("x-request-id", "a-1._B"))).answer
    assert said["x-request-id"] == "a-1._B"


async def test_compressed_content_is_refused() -> None:
    for coding, status in (("gzip", 415), ("identity", 200), ("IDENTITY", 200), ("", 200)):
        assert (await asked(guard(settles), KEY, ("content-encoding", coding))).answer[0] == status


@pytest.mark.parametrize(("code", "closes"), [("too_slow", True), ("too_large", True), ("encoding", True), ("not_found", False)])
async def test_a_line_whose_body_is_not_read_is_closed(code: str, closes: bool) -> None:
    _, said, problem = (await asked(guard(raises(Problem(code))))).answer
    assert (problem["code"], said.get("connection")) == (code, "close" if closes else None)


@pytest.mark.parametrize("failure", [Retry("Kafka is away"), OSError("away"), asyncio.CancelledError()])
async def test_trouble_is_told_with_when_to_come_again(failure: BaseException) -> None:
    status, said, problem = (await asked(guard(raises(failure)))).answer
    assert (status, said["retry-after"], problem["code"]) == (503, "1", "unavailable")


async def test_a_key_that_cannot_be_looked_up_is_not_a_wrong_one() -> None:
    assert (await asked(guard(settles), ("authorization", "Bearer away"))).answer[0] == 503


async def test_no_word_of_a_failure_leaves_the_house() -> None:
    status, _, problem = (await asked(guard(raises(ZeroDivisionError("member M1"))))).answer
    assert (status, problem["code"], "M1" in str(problem)) == (500, "internal", False)


@pytest.mark.parametrize("failure", [ZeroDivisionError(), Problem("unavailable"), Retry("away"), asyncio.CancelledError()])
async def test_an_answer_that_failed_half_way_does_not_look_like_its_end(failure: BaseException) -> None:
    async def app(_scope: Any, _receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        raise failure

    line = await asked(guard(app))
    assert (line.is_cut, len(line.sent)) == (True, 1)
    assert (await asked(guard(settles))).is_cut is False


async def test_who_reads_nothing_is_cut_off(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(api_guard, "SEND_SECONDS", 0.05)
    line = Line(reads=False)
    visiting = asyncio.ensure_future(guard(settles)(scope(line), nothing_comes, line.send))
    done, _ = await asyncio.wait([visiting], timeout=5)  # told to end, it would end in any case
    visiting.cancel()
    assert (len(done), line.is_cut, line.sent) == (1, True, [])


async def test_more_than_the_rate_is_refused_and_places_that_need_no_key_are_not_counted() -> None:
    door = guard(settles, rate=2.0)
    for _ in range(5):
        line = Line()
        await door(scope(line, (), "/health"), nothing_comes, line.send)
        assert line.answer[0] == 200
    answers = [(await asked(door)).answer for _ in range(3)]
    assert [(status, said.get("retry-after")) for status, said, _ in answers] == [(200, None), (200, None), (429, "1")]


async def test_so_many_of_one_institution_are_inside_and_there_is_room_when_they_leave(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(api_guard, "MOST_INSIDE", 2)
    leave = asyncio.Event()

    async def app(scope_: Any, receive: Any, send: Any) -> None:
        await leave.wait()
        await settles(scope_, receive, send)

    door = guard(app)
    inside = [asyncio.create_task(asked(door)) for _ in range(2)]
    await asyncio.sleep(0)
    status, said, _ = (await asked(door)).answer
    assert (status, said["retry-after"]) == (429, "1")
    leave.set()
    assert [line.answer[0] for line in await asyncio.gather(*inside)] == [200, 200]
    assert [(await asked(door)).answer[0] for _ in range(5)] == [200] * 5
