"""The counter's desk over books that are played: how long it waits, what it believes, and that it leaves nothing behind."""

import asyncio
import json
import time
from collections.abc import Collection, Iterable, Sequence
from typing import Any

import msgspec
import pytest

from services.intake import desk as desk_module
from services.intake.answers import Answers, Found
from services.intake.api_openapi import CLAIM
from services.intake.desk import Desk, Handed
from services.intake.number import Key
from services.intake.replies import Replies
from services.intake.steps import possible_ids
from services.intake.submission import read
from shared.errors import Retry
from shared.runtime.relay import Outgoing

OURS = json.dumps(CLAIM).encode()
OTHERS = json.dumps(CLAIM | {"total": "490.00", "in_scope": "460.00"}).encode()
NUMBER: Key = (str(CLAIM["institution_id"]), str(CLAIM["claim_no"]))


class Books(Answers):
    """What stands in Postgres; or nothing, while it is away."""

    def __init__(self) -> None:
        super().__init__(None)
        self.found: Found | None = None
        self.rejections: dict[str, bytes] = {}
        self.bound: dict[Key, str] = {}
        self.applied = 0
        self.away = False

    def _look(self) -> None:
        if self.away:
            raise OSError("Postgres is away")

    async def find(self, institution_id: str, claim_no: str, kind: str) -> Found | None:
        self._look()
        assert (institution_id, claim_no, kind) == (*NUMBER, "claim")
        return self.found

    async def rejection(self, identity: str) -> bytes | None:
        self._look()
        return self.rejections.get(identity)

    async def digests(self, keys: Collection[Key]) -> dict[Key, str]:
        self._look()
        return {key: self.bound[key] for key in keys if key in self.bound}

    async def read_up_to(self, partition: int) -> int:
        assert partition == 0
        return self.applied


class Log:
    """A partition of ten offsets, the last of which is no record."""

    async def end(self, _topic: str, _partition: int) -> int:
        return 10

    async def end_of_records(self, _topic: str, _partition: int, end: int) -> int:
        return end - 1


class Kafka:
    """Takes what is sent, refuses it, or never says."""

    def __init__(self) -> None:
        self.taken: list[Outgoing] = []
        self.says: BaseException | None = None
        self.is_silent = False

    async def send(self, outgoing: Iterable[Outgoing]) -> None:
        if self.is_silent:
            await asyncio.Event().wait()
        if self.says is not None:
            raise self.says
        self.taken += outgoing


class World:
    """The desk, with what it stands on."""

    def __init__(self) -> None:
        self.kafka, self.books, self.replies = Kafka(), Books(), Replies()
        self.desk = Desk(self.kafka, self.replies, self.books, Log(), partitions=1)

    async def settle(self, value: bytes = OURS, seconds: float = 20.0) -> "asyncio.Task[bytes | None]":
        """Somebody who has handed it in and waits."""
        task = asyncio.create_task(self.desk.settle(handed(value), seconds))
        async with asyncio.timeout(5):
            while not self.kafka.taken:  # noqa: ASYNC110 - nobody is told
                await asyncio.sleep(0)
        return task

    @property
    def is_empty(self) -> bool:
        return not self.replies._waiting


def handed(value: bytes) -> Handed:
    return Handed(read(value), value)


def outcome(identity: str) -> bytes:
    return msgspec.json.encode({"type": "settlement", "event_id": identity})


def ids(value: bytes = OURS) -> Sequence[str]:
    """Of the number's own outcome, and of a conflict with it."""
    return possible_ids(read(value))


@pytest.fixture
def world() -> World:
    return World()


async def within(seconds: float, work: Any) -> Any:
    """The result, where it comes by itself: what is told to end may look as if it had."""
    task = asyncio.ensure_future(work)
    done, _ = await asyncio.wait([task], timeout=seconds)
    assert done, "it never ends"
    return task.result()


async def test_an_outcome_under_the_numbers_own_id_is_for_the_content_it_is_bound_to(world: World) -> None:
    world.books.bound = {NUMBER: read(OURS).digest}
    ours, others = await world.settle(OURS), await world.settle(OTHERS)
    await asyncio.sleep(0)
    world.replies.hear([outcome(ids()[0])])
    assert await within(5, ours) == outcome(ids()[0])
    world.replies.hear([outcome(ids(OTHERS)[1])])
    assert await within(5, others) == outcome(ids(OTHERS)[1]), "a conflict is told under an id of its own"
    assert world.is_empty


async def test_what_was_not_heard_is_looked_for(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(desk_module, "_LOOK_SECONDS", 0.05)
    world.books.bound = {NUMBER: read(OURS).digest}
    world.books.found = Found(b"settled")
    world.books.rejections = {ids(OTHERS)[1]: b"conflict"}
    assert await within(5, await world.settle(OURS)) == b"settled"
    assert await within(5, await world.settle(OTHERS)) == b"conflict"


async def test_books_that_are_away_leave_an_outcome_in_doubt_until_they_are_back(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(desk_module, "_LOOK_SECONDS", 0.05)
    world.books.away = True
    waiting = await world.settle()
    world.replies.hear([outcome(ids()[0])])
    await asyncio.sleep(0.2)
    assert not waiting.done()
    world.books.away, world.books.bound, world.books.found = False, {NUMBER: read(OURS).digest}, Found(b"settled")
    assert await within(5, waiting) == b"settled"


async def test_nobody_waits_longer_than_he_said(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    assert await within(5, await world.settle(seconds=0.1)) is None
    monkeypatch.setattr(desk_module, "_HANDING_IN_SECONDS", 0.3)
    world.kafka.is_silent = True
    for seconds, least in ((0.0, 0.3), (0.6, 0.6)):
        began = time.monotonic()
        with pytest.raises(Retry, match="within the wait"):
            await within(5, world.desk.settle(handed(OURS), seconds))
        assert time.monotonic() - began >= least, "Kafka has its time also where nobody waits for the outcome"
    assert world.is_empty


async def test_what_kafka_does_not_take_is_not_waited_for(world: World) -> None:
    world.kafka.says = Retry("Kafka is away")
    with pytest.raises(Retry):
        await world.desk.settle(handed(OURS), 20)
    assert world.is_empty


async def test_who_goes_away_is_not_waited_for(world: World) -> None:
    waiting = await world.settle()
    await asyncio.sleep(0)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    assert world.is_empty


async def test_the_end_of_the_process_sends_everybody_home_without_a_look(world: World) -> None:
    world.books.found = Found(b"settled")
    waiting = await world.settle()
    world.replies.close()
    assert await within(2, waiting) is None


async def test_nobody_knows_a_number_only_when_all_records_are_read(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(desk_module, "_UNREAD_SECONDS", 0.5)
    world.books.applied = 8
    assert await within(5, world.desk.ask(*NUMBER, "claim")) == Found(None), "a record is not read, and may be his"
    world.books.applied = 9
    assert await within(5, world.desk.ask(*NUMBER, "claim")) is None, "the last offset is no record"
    world.books.found = Found(b"settled")
    assert await within(5, world.desk.ask(*NUMBER, "claim")) == Found(b"settled")


async def test_a_key_of_any_length_makes_a_short_one_for_kafka(world: World) -> None:
    long = json.dumps(CLAIM | {"institution_id": "甲" * 200_000}).encode()
    await world.desk.hand_in([handed(long)])
    [sent] = world.kafka.taken
    assert (len(sent.message.key or b""), sent.message.value) == (256, long)
