"""Questions that come while one is under way go together, and a failure is told to all whom it concerns and nobody else."""

import asyncio
from collections.abc import Collection

import pytest

from services.intake.together import Together


class Books:
    """Knows every number's length, answers when it is let, and fails when it is told to."""

    def __init__(self) -> None:
        self.asked: list[set[str]] = []
        self.open = asyncio.Event()
        self.failure: Exception | None = None

    async def ask(self, keys: Collection[str]) -> dict[str, int]:
        self.asked.append(set(keys))
        await self.open.wait()
        if self.failure is not None:
            raise self.failure
        return {key: len(key) for key in keys if key != "unknown"}


async def begun(asking: Together[str, int], keys: set[str]) -> "asyncio.Task[dict[str, int]]":
    """Somebody who has asked."""
    task = asyncio.create_task(asking(keys))
    for _ in range(3):
        await asyncio.sleep(0)
    return task


async def test_what_is_asked_meanwhile_goes_with_the_next_question() -> None:
    books = Books()
    asking = Together(books.ask)
    first = await begun(asking, {"a"})
    others = [await begun(asking, keys) for keys in ({"bb", "unknown"}, {"ccc"}, {"bb"})]
    books.open.set()
    assert await first == {"a": 1}
    assert await asyncio.gather(*others) == [{"bb": 2}, {"ccc": 3}, {"bb": 2}]
    assert books.asked == [{"a"}, {"bb", "ccc", "unknown"}]


async def test_a_failure_is_told_to_all_whose_question_it_was_and_the_next_is_asked_anew() -> None:
    books = Books()
    asking = Together(books.ask)
    first = await begun(asking, {"a"})
    books.failure = OSError("away")
    books.open.set()
    with pytest.raises(OSError, match="away"):
        await first
    books.failure = None
    assert await asking({"a"}) == {"a": 1}


async def test_who_leaves_takes_no_answer_from_the_others() -> None:
    books = Books()
    asking = Together(books.ask)
    first, second = await begun(asking, {"a"}), asyncio.create_task(asking({"bb"}))
    third = await begun(asking, {"ccc"})
    first.cancel()
    second.cancel()
    books.open.set()
    assert await third == {"ccc": 3}
    assert books.asked == [{"a"}, {"bb", "ccc"}]
