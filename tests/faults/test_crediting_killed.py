"""Account and the command itself are killed in the middle of crediting a city; commanded again, it is as if nothing had been."""

import asyncio
import json
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence

import psycopg
import pytest
from aiokafka import AIOKafkaProducer
from deployment import PARTITIONS, Deployment, deployment, until
from servers import LocalServers

from services.account.commands import COMMANDS

MEMBERS = 12_000  # 24 pieces, six transactions
REGION = "420300"
POINTS = ("after_fetch", "after_lock", "after_write", "after_commit")
_PEOPLE = """
    insert into eligibility.member
    select 'S' || lpad(i::text, 8, '0'), '420300', 'active', 'employee', 'enterprise', '2022-01-01', null, null, 300000 + i,
        '{{}}', '[]'
    from generate_series(1, {members}) as i
"""


@pytest.fixture(scope="module")
def running(private_servers: LocalServers) -> Iterator[Deployment]:
    with deployment(private_servers) as made:
        made.start("account", "eligibility")
        with psycopg.connect(private_servers.addresses.postgres, autocommit=True) as connection:
            connection.execute(_PEOPLE.format(members=MEMBERS))
        yield made


def command(running: Deployment, month: str, *, trueup: bool = False, **extra: str) -> "subprocess.Popen[str]":
    what = ("trueup", "--from", month, "--to", month) if trueup else ("credit", "--month", month)
    return subprocess.Popen(
        [sys.executable, "-m", "services", "account", *what, "--region", REGION, "--reason", "x", "--json"],
        env=running.environment | extra, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip


def credited(running: Deployment, month: str) -> list[tuple[str, int]]:
    return [
        (row[0], row[1])
        for row in running.rows(
            "select member_id, amount from account.crediting where month = %s order by member_id, run_id", month
        )
    ]


async def send(running: Deployment, pieces: Sequence[bytes]) -> None:
    """To any partition: what is booked is known by its key, not by its place."""
    producer = AIOKafkaProducer(bootstrap_servers=running.servers.addresses.kafka)
    await producer.start()
    for number, piece in enumerate(pieces):
        await producer.send_and_wait(COMMANDS, piece, partition=number % PARTITIONS)
    await producer.stop()


def test_crediting_that_is_killed_anywhere_and_commanded_again_is_as_if_undisturbed(running: Deployment) -> None:
    undisturbed = command(running, "2023-01")
    out, err = undisturbed.communicate(timeout=200)
    assert undisturbed.returncode == 0, err
    expected = credited(running, "2023-01")
    assert json.loads(out)["accounts"] == len(expected) == MEMBERS
    assert expected[0] == ("S00000001", 6_000)

    killed = command(running, "2023-02", GONGJI_CRASH_AT="after_announce:2")  # two sends of three
    killed.communicate(timeout=200)
    assert killed.returncode == -signal.SIGKILL
    again = command(running, "2023-02")
    for point in POINTS:
        for worker in running.of("account"):
            running.kill(worker, signal.SIGTERM)
        running.start("account", GONGJI_CRASH_AT=f"{point}:1")
        until(lambda: not running.of("account") or again.poll() is not None, f"account to die at {point}", 90)
    running.restart_the_dead()
    out, err = again.communicate(timeout=200)
    assert again.returncode == 0, err
    running.drain()
    assert credited(running, "2023-02") == expected
    assert running.rows("select count(*) from account.credit_run where first_month = '2023-02'") == [(1,)]
    assert running.rows("select sum(balance)::bigint from account.balance") == [(2 * sum(amount for _, amount in expected),)]
    running.audit()


@pytest.mark.parametrize("point", [pytest.param("after_commit:1", marks=pytest.mark.matrix), "after_announce:1"])
def test_a_true_up_that_is_killed_and_commanded_again_books_each_difference_once(running: Deployment, point: str) -> None:
    """Unlike a month's run it is a further run when commanded again, and the first one's pieces may come after its own."""
    with psycopg.connect(running.servers.addresses.postgres, autocommit=True) as connection:
        connection.execute("update eligibility.member set contribution_base = contribution_base + 5000")
    before = dict(credited_in_all(running, "2023-02"))
    killed = command(running, "2023-02", trueup=True, GONGJI_CRASH_AT=point)
    killed.communicate(timeout=200)
    assert killed.returncode == -signal.SIGKILL
    again = command(running, "2023-02", trueup=True)
    _, err = again.communicate(timeout=200)
    assert again.returncode == 0, err
    running.drain()
    assert dict(credited_in_all(running, "2023-02")) == {name: amount + 100 for name, amount in before.items()}
    nothing_left = command(running, "2023-02", trueup=True)
    assert json.loads(nothing_left.communicate(timeout=200)[0])["accounts"] == 0
    running.audit()


def credited_in_all(running: Deployment, month: str) -> list[tuple[str, int]]:
    query = "select member_id, sum(amount)::bigint from account.crediting where month = %s group by 1"
    return [(row[0], row[1]) for row in running.rows(query, month)]


def test_the_same_pieces_sent_again_book_nothing(running: Deployment) -> None:
    """As after trouble with the broker, or by hand: every piece of both months comes a second time."""
    before = running.rows("select count(*), sum(amount) from account.crediting")
    pieces = [value for _, _, value in running.wire(COMMANDS)]
    assert len(pieces) > 24
    asyncio.run(send(running, pieces))
    running.drain()
    assert running.rows("select count(*), sum(amount) from account.crediting") == before
    assert running.rows("select count(*) from runtime.quarantine") == [(0,)]
    running.audit()
