"""Processes and servers die while requests wait: every claim ends with exactly one outcome that its client can learn."""

import asyncio
import json
import random
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from typing import Any

import pytest
from counter_world import MEMBERS, Line, World, claim, world
from deployment import until
from servers import LocalServers

Fault = Callable[[World], None]


@pytest.fixture(scope="module")
def counter(private_servers: LocalServers) -> Iterator[World]:
    with world(private_servers) as made:
        yield made


def kill(name: str) -> Fault:
    def fault(counter: World) -> None:
        for worker in counter.deployment.of(name):
            counter.deployment.kill(worker)
        counter.start(name, **counter.fixed)
        counter.deployment.workers = [worker for worker in counter.deployment.workers if worker.alive]

    return fault


def kill_server(name: str) -> Fault:
    def fault(counter: World) -> None:
        counter.deployment.servers.kill(name)
        counter.deployment.servers.up()

    return fault


FAULTS = {
    "intake": kill("intake"),
    "adjudication": kill("adjudication"),
    "account": kill("account"),
    "the broker": kill_server("kafka"),
    "the database": kill_server("postgres"),
}


BRIEF = ("intake", "account", "the broker", "the database")


@pytest.mark.parametrize("what", [name if name in BRIEF else pytest.param(name, marks=pytest.mark.matrix) for name in FAULTS])
async def test_every_waiting_claim_ends_with_one_outcome_its_client_learns(counter: World, what: str) -> None:
    chance = random.Random(what)
    asked = [claim(chance.choice(MEMBERS), f"{chance.randrange(1, 90)}.00") for _ in range(40)]
    async with counter.client(patience=300) as client:
        waiting = asyncio.create_task(_all([client.settle(one) for one in asked]))
        some = chance.randrange(1, 40)
        await asyncio.to_thread(until, lambda: _numbers(counter, asked) >= some, f"{some} claims to be on their way")
        await asyncio.to_thread(FAULTS[what], counter)
        outcomes = await waiting
        again = [await client.outcome(one["institution_id"], one["claim_no"]) for one in asked]
    assert outcomes == again
    assert [outcome["claim_no"] for outcome in outcomes] == [one["claim_no"] for one in asked]
    numbers = [one["claim_no"] for one in asked]
    rows = counter.deployment.rows(
        "select count(*), count(distinct claim_no) from account.outcome where claim_no = any(%s) and kind = 'claim'", numbers
    )
    assert rows == [(40, 40)]


@pytest.mark.parametrize("what", ["intake", pytest.param("account", marks=pytest.mark.matrix)])
async def test_a_stream_goes_on_after_the_cut(counter: World, what: str) -> None:
    asked = [claim(MEMBERS[number % 8], "3.00") for number in range(1500)]
    answers = []
    async with counter.client(patience=300) as client:
        async for answer in client.feed(_sent(asked)):
            answers.append(answer)
            if len(answers) == 300:
                breaking = asyncio.create_task(asyncio.to_thread(FAULTS[what], counter))
    await breaking
    assert [answer["claim_no"] for answer in answers] == [one["claim_no"] for one in asked]
    assert {answer["outcome"] for answer in answers} == {"settled"}


def test_the_books_are_clean_after_all_of_it(counter: World) -> None:
    counter.deployment.drain()
    counter.deployment.audit()


def _numbers(counter: World, asked: list[Line]) -> int:
    [(count,)] = counter.deployment.rows(
        "select count(*) from intake.submission where claim_no = any(%s)", [one["claim_no"] for one in asked]
    )
    return int(count)


async def _all(waiting: list[Awaitable[dict[str, Any]]]) -> list[dict[str, Any]]:
    return list(await asyncio.gather(*waiting))


async def _sent(lines: list[Line]) -> AsyncIterator[bytes]:
    for line in lines:
        yield json.dumps(line).encode()
