"""What is said of Postgres while it is away: always of what kind the trouble is, for some has no words."""

import asyncpg
import pytest

from shared.errors import Retry, worded
from shared.runtime.database import Database


def test_trouble_is_told_by_its_kind_and_the_first_line_of_its_words() -> None:
    assert worded(TimeoutError()) == "TimeoutError"
    assert worded(OSError("no\nDETAIL: row")) == "OSError: no"


async def test_a_postgres_that_does_not_answer_in_time_has_a_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    async def slow(*_: object, **__: object) -> None:
        raise TimeoutError

    monkeypatch.setattr(asyncpg, "connect", slow)
    with pytest.raises(Retry, match=r"^Postgres: TimeoutError$"):
        await Database("postgresql://nobody@127.0.0.1:1/nothing", role="gongji_ops", name="x").connection()
