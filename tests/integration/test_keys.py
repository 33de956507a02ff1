"""Whose key it is: at once for a new one, for seconds only for one that was revoked, and little asked for made-up ones."""

import asyncio
import itertools
import time
from collections.abc import AsyncIterator
from types import SimpleNamespace
from typing import Any

import asyncpg
import pytest

from deploy import migrations
from services.intake import keys
from services.intake.keys import Keys, NewKey, Owner, keep, new_key, revoke


class Counted:
    """A pool, and how often it was asked."""

    def __init__(self, pool: asyncpg.Pool) -> None:
        self._pool = pool
        self.questions = 0

    def __getattr__(self, name: str) -> Any:
        self.questions += name.startswith("fetch")
        return getattr(self._pool, name)


@pytest.fixture
async def pool(fresh_database: str) -> AsyncIterator[asyncpg.Pool]:
    await asyncio.to_thread(migrations.run, fresh_database)
    async with asyncpg.create_pool(fresh_database, min_size=1, max_size=8) as made:
        yield made


async def made(pool: asyncpg.Pool, institution_id: str = "H1") -> NewKey:
    key = new_key()
    async with pool.acquire() as connection:
        await keep(connection, institution_id, key, "test")
    return key


async def test_a_flood_of_made_up_keys_costs_some_questions_a_second_and_good_keys_pass_through_it(pool: asyncpg.Pool) -> None:
    asked = Counted(pool)
    looked_up = Keys(asked)
    good = await made(pool)
    refused = itertools.count()

    async def flood(wrong: str) -> None:
        while True:
            text = new_key().text if wrong == "unknown" else f"gongji_{good.key_id}_{next(refused)}"
            assert await looked_up.owner(text) is None
            next(refused)

    flooding = [asyncio.create_task(flood(wrong)) for wrong in ("unknown", "secret") for _ in range(100)]
    began = time.monotonic()
    waits = []
    while time.monotonic() - began < 1:
        fresh = await made(pool, "H2")
        asking = time.monotonic()
        assert await looked_up.owner(fresh.text) == Owner("H2", fresh.key_id)
        waits.append(time.monotonic() - asking)
    for task in flooding:
        task.cancel()
    results = await asyncio.gather(*flooding, return_exceptions=True)
    assert {type(result) for result in results} == {asyncio.CancelledError}
    assert next(refused) > 400
    assert asked.questions <= 2 + len(waits) + (time.monotonic() - began) / keys._REFUSAL_SECONDS
    assert max(waits) < 1, "a new key works at once"


async def test_a_key_is_asked_for_once_in_five_seconds_however_often_it_comes(
    pool: asyncpg.Pool, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = [100.0]
    monkeypatch.setattr(keys, "time", SimpleNamespace(monotonic=lambda: now[0]))
    asked = Counted(pool)
    looked_up = Keys(asked)
    key = await made(pool)
    for _ in range(3):
        assert await looked_up.owner(key.text) == Owner("H1", key.key_id)
    async with pool.acquire() as connection:
        assert await revoke(connection, key.key_id, "lost")
    now[0] += 4.9
    assert await looked_up.owner(key.text) == Owner("H1", key.key_id)
    assert asked.questions == 1
    now[0] += 0.1
    assert await looked_up.owner(key.text) is None


async def test_strangers_do_not_push_out_who_is_remembered(pool: asyncpg.Pool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(keys, "_MOST_REMEMBERED", 2)
    asked = Counted(pool)
    looked_up = Keys(asked)
    good = [await made(pool) for _ in range(3)]
    await asyncio.gather(*(looked_up.owner(key.text) for key in good[:2]))
    await asyncio.gather(*(looked_up.owner(new_key().text) for _ in range(10)))
    before = asked.questions
    await asyncio.gather(*(looked_up.owner(key.text) for key in good[:2]))
    assert asked.questions == before
    await looked_up.owner(good[2].text)
    await looked_up.owner(good[0].text)
    assert asked.questions == before + 2, "no more are remembered than may be"


async def test_what_has_not_the_form_of_a_key_is_not_asked_for(pool: asyncpg.Pool) -> None:
    """A key id with a NUL would spoil the question for all that go with it."""
    asked = Counted(pool)
    key_ids = ["0123456789ab", "\x00" * 12, "0123456789AB", "0123456789é", "0123456789abc", ""]
    texts = [f"gongji_{key_id}_x" for key_id in key_ids[1:]]
    texts += ["", "gongji", f"gongji_{key_ids[0]}_", f"gongji_{key_ids[0]}_" + "x" * 65, f"other_{key_ids[0]}_x"]
    for text in texts:
        assert (await Keys(asked).owner(text), asked.questions) == (None, 0), text
    assert (await Keys(asked).owner(f"gongji_{key_ids[0]}_" + "x" * 64), asked.questions) == (None, 1)
