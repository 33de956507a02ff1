"""Large records are read beside the event loop, one at a time; small ones at once."""

import asyncio
import json
import threading
from typing import Any

import aiohttp
import pytest
from starlette.responses import Response

from services.intake import api, api_feed
from services.intake.answers import Answers
from services.intake.api import Counter
from services.intake.api_openapi import CLAIM
from services.intake.api_problems import Problem
from services.intake.api_server import Door, listening
from services.intake.desk import Desk
from services.intake.replies import Replies
from services.intake.submission import Submission, read
from shared.runtime.aside import Aside

LARGE = 100_000


async def test_small_work_is_done_at_once_and_large_work_in_a_thread() -> None:
    aside, here = Aside(), threading.get_ident()
    assert await aside(1_000, threading.get_ident) == here
    assert await aside(LARGE, threading.get_ident) != here


async def test_large_work_is_done_one_at_a_time_and_its_failure_stops_no_other() -> None:
    aside, at_once, most = Aside(), 0, 0
    entered = threading.Lock()

    def work(number: int) -> int:
        nonlocal at_once, most
        with entered:
            at_once += 1
            most = max(most, at_once)
        threading.Event().wait(0.01)
        with entered:
            at_once -= 1
        if number == 1:
            raise ValueError("unreadable")
        return number

    done = await asyncio.gather(*(aside(LARGE, work, number) for number in range(5)), return_exceptions=True)
    assert [one for one in done if isinstance(one, int)] == [0, 2, 3, 4]
    assert (str(done[1]), most) == ("unreadable", 1)


class _Sends:
    """A sender to nobody."""

    async def send(self, messages: object) -> None: ...


class _Slow:
    """Reads as the counter does, and takes as long as nobody else was answered meanwhile."""

    def __init__(self) -> None:
        self.began = threading.Event()
        self.answered = threading.Event()
        self.others_were_answered: list[bool] = []

    def read(self, value: bytes) -> Submission:
        self.began.set()
        self.others_were_answered.append(self.answered.wait(5))
        return read(value)


@pytest.mark.parametrize("place", ["/v1/claims", "/v1/claims/trial", "/v1/feed"])
async def test_others_are_answered_while_a_large_record_is_read(place: str, monkeypatch: pytest.MonkeyPatch) -> None:
    slow = _Slow()
    monkeypatch.setattr(api, "read", slow.read)
    monkeypatch.setattr(api_feed, "read", slow.read)
    nobody: Any = None
    desk = Desk(_Sends(), Replies(), Answers(nobody), nobody, partitions=1)
    routes = Counter(desk, nobody, nobody, nobody, partitions=1).routes()
    state = {"institution_id": "H1", "request_id": "r"}

    async def app(scope: Any, receive: Any, send: Any) -> None:
        async def check() -> None: ...

        scope["app"] = app  # so that refusals are raised
        try:
            await routes(scope | {"state": state | {"check_key": check}}, receive, send)
        except Problem as problem:
            await Response(problem.body("r"))(scope, receive, send)

    async def ask() -> str:
        body = json.dumps(CLAIM | {"surprise": "x" * LARGE}).encode() + b"\n"
        async with session.post(place, data=body) as answer:
            return await answer.text()

    async with listening(app, Door("127.0.0.1", 0, 1.0)) as url, aiohttp.ClientSession(url) as session:
        asking = asyncio.create_task(ask())
        await asyncio.to_thread(slow.began.wait, 10)
        async with session.get("/health") as answer:
            assert answer.status == 200
        slow.answered.set()
        assert "the key is another institution's" in await asking
    assert slow.others_were_answered == [True]
