"""Years worked out again on real servers: killed anywhere it comes to what an undisturbed twin comes to, and is booked once."""

import asyncio
import json
import signal
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import pytest
from aiokafka import AIOKafkaProducer
from deployment import PARTITIONS, Deployment, Line, deployment, until
from servers import LocalServers

from shared.events import ELIGIBLE
from shared.identity import part_of, partition_of
from shared.runtime.points import POINTS

# By default the most dangerous of the points: committed and not announced.
KILLED_AT = [pytest.param(point, marks=[] if point == "after_commit" else pytest.mark.matrix) for point in POINTS]
HOME, AWAY = "130900", "440800"
SERVICES = ("adjudication", "account", "crossregion")
COMMAND_KILLED_AT = ("after_commit", "after_announce")  # written down and not sent; sent and not waited for
TWINS = [f"{who}{number}" for number in range(len(POINTS) + len(COMMAND_KILLED_AT)) for who in "AB"]
AMOUNTS = ("pooled", "deductible", "account", "cash")


def hospital(name: str, region: str) -> Line:
    return {
        "type": "institution", "institution_id": name, "region": region, "kind": "hospital", "level": "2",
        "designated_from": "2022-01-01", "pooled_outpatient": True, "networked": True,
    }  # fmt: skip


def member(name: str, status: str, since: str = "2022-01-01") -> Line:
    return {
        "type": "member", "member_id": name, "region": HOME, "status": status, "employment": "employee",
        "sector": "enterprise", "valid_from": since,
    }  # fmt: skip


def bill(who: str, number: int, day: str, in_scope: int, **other: Any) -> Line:
    return {
        "type": "claim", "claim_no": f"{who}-{number}", "institution_id": "H1", "member_id": who, "benefit": "ordinary",
        "channel": "direct", "emergency": False, "use_account": True, "visited_at": f"{day}T09:00:00+08:00",
        "submitted_at": f"{day}T10:00:00+08:00", "total": f"{in_scope}.00", "own_paid": "0.00", "over_limit": "0.00",
        "pre_self_pay": "0.00", "in_scope": f"{in_scope}.00",
    } | other  # fmt: skip


def reversal(who: str, number: int, at: str = "H1") -> Line:
    return {
        "type": "reversal", "claim_no": f"{who}-{number}", "institution_id": at, "reversed_at": "2023-12-01T11:00:00+08:00",
        "reason": "退费",
    }  # fmt: skip


def year_of(who: str) -> list[Line]:
    """Home, elsewhere, by hand, cancelled, and up to the cap."""
    return [
        bill(who, 1, "2023-02-01", 300), bill(who, 2, "2023-03-01", 400, institution_id="Z1"),
        bill(who, 3, "2023-04-01", 200), bill(who, 4, "2023-05-01", 500, channel="manual"), reversal(who, 3),
        bill(who, 5, "2023-06-01", 900), bill(who, 6, "2022-06-01", 300), bill(who, 7, "2023-07-01", 2000),
    ]  # fmt: skip


@pytest.fixture(scope="module")
def running(private_servers: LocalServers) -> Iterator[Deployment]:
    with deployment(private_servers) as made:
        made.start()
        filed = [
            {"type": "remote_filing", "member_id": who, "care_region": AWAY, "kind": "posted", "valid_from": "2022-01-01"}
            for who in TWINS
        ]
        credits_ = [
            {
                "type": "account_credit", "credit_no": "1", "member_id": who, "amount": "450.00", "month": "2023-01",
                "reason": "x",
            }
            for who in TWINS
        ]  # fmt: skip
        made.register([hospital("H1", HOME), hospital("Z1", AWAY), *(member(who, "active") for who in TWINS), *filed, *credits_])
        years = [year_of(who) for who in TWINS]
        for some in (slice(0, 1), slice(1, 2), slice(2, None)):  # two institutions: between them a feed has no order
            made.send([line for year in years for line in year[some]])
            made.drain()
        made.register([member(who, "retired", "2023-01-01") for who in TWINS])
        yield made


def asked(running: Deployment, who: str, *more: str, **extra: str) -> "subprocess.Popen[str]":
    return subprocess.Popen(
        [sys.executable, "-m", "services", "claim", "readjudicate", who, "--year", "2023", "--json", *more],
        env=running.environment | extra, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip


def said(process: "subprocess.Popen[str]", code: int = 0) -> list[dict[str, Any]]:
    out, err = process.communicate(timeout=120)
    assert process.returncode == code, err[-2000:]
    return [json.loads(line) for line in out.splitlines()]


def standing(running: Deployment, who: str) -> list[tuple[Any, ...]]:
    """What stands of each of a member's claims, its accumulators, and his accounts; his name left out."""
    sums = ", ".join(f"sum({name})::bigint" for name in AMOUNTS)
    claims = running.rows(
        f"select substr(claim_no, 3), kind, count(*), {sums} from account.outcome"
        " where member_id = %s group by 1, 2 order by 1, 2",
        who,
    )
    used = running.rows(
        "select period, name, used, ceiling, version from adjudication.counter where member_id = %s order by 1, 2", who
    )
    accounts = running.rows(
        "select replace(account, %s, '?'), sum(moved)::bigint from account.posting"
        " cross join lateral (values (debit, -amount), (credit, amount)) as s (account, moved)"
        " where account like '%%:' || %s group by 1 order by 1",
        who, who,
    )  # fmt: skip
    return [*claims, *used, *accounts]


def test_the_difference_list_is_what_is_booked(running: Deployment) -> None:
    before = running.rows("select count(*) from account.posting")
    forecast = said(asked(running, "A0", "--dry-run"))
    assert running.rows("select count(*) from account.posting") == before
    booked = said(asked(running, "A0", "--reason", "退休补登记"))
    assert booked[:-1] == forecast[:-1]
    assert booked[-1] == forecast[-1] | {"dry_run": False}
    assert [line["claim_no"] for line in booked[:-1]] == ["A0-1", "A0-2", "A0-4", "A0-5", "A0-7"]
    assert said(asked(running, "A0", "--reason", "again"))[-1]["claims"] == 0
    [row] = running.rows("select reason, after->>'claims' from runtime.command_log where command = 'claim readjudicate'")
    assert row == ("退休补登记", "5")


def test_who_is_due_is_listed(running: Deployment) -> None:
    done = running.command("claim", "due", "--year", "2023", "--json")
    assert done.returncode == 1, done.stderr
    assert [json.loads(line)["member_id"] for line in done.stdout.splitlines()] == sorted(set(TWINS) - {"A0"})
    assert running.command("claim", "due", "--year", "2022").returncode == 0


@pytest.mark.parametrize("point", KILLED_AT)
def test_killed_at_any_point_it_comes_to_what_the_undisturbed_twin_comes_to(running: Deployment, point: str) -> None:
    mine, twin = f"B{POINTS.index(point)}", f"A{POINTS.index(point)}"
    said(asked(running, twin, "--reason", "undisturbed"))
    running.drain()
    for name in SERVICES:
        running.kill(running.of(name)[0])
    running.workers = [worker for worker in running.workers if worker.alive]
    running.start(*SERVICES, GONGJI_CRASH_AT=f"{point}:1")
    process = asked(running, mine, "--reason", f"killed at {point}")
    died: set[str] = set()
    while died < set(SERVICES):
        until(lambda: any(not worker.alive for worker in running.workers), f"the next after {died} to die at {point}")
        died |= set(running.restart_the_dead())
    said(process)
    running.drain()
    assert standing(running, mine) == standing(running, twin)
    running.audit()


@pytest.mark.parametrize("point", [COMMAND_KILLED_AT[0], pytest.param(COMMAND_KILLED_AT[1], marks=pytest.mark.matrix)])
def test_a_command_that_is_killed_and_given_again_comes_to_what_the_undisturbed_twin_comes_to(
    running: Deployment, point: str
) -> None:
    number = len(POINTS) + COMMAND_KILLED_AT.index(point)
    mine, twin = f"B{number}", f"A{number}"
    [*_, undisturbed] = said(asked(running, twin, "--reason", "undisturbed"))
    said(asked(running, mine, "--reason", "killed", GONGJI_CRASH_AT=f"{point}:1"), code=-signal.SIGKILL)
    if point == "after_announce":
        running.drain()  # what was sent is carried out, and nobody is told
    [*_, again] = said(asked(running, mine, "--reason", "again"))
    running.drain()
    assert again["claims"] == (0 if point == "after_announce" else undisturbed["claims"])
    assert standing(running, mine) == standing(running, twin)
    logged = running.rows(
        "select reason, after ? 'claims' from runtime.command_log"
        " where command = 'claim readjudicate' and after->>'member_id' = %s order by id", mine,
    )  # fmt: skip
    assert logged == [("killed", False), *([("again", True)] if again["claims"] else [])]
    running.audit()


def test_a_command_that_comes_twice_is_carried_out_once(running: Deployment) -> None:
    before = running.rows("select count(*) from adjudication.decision where kind = 'claim'")
    [value] = running.rows("select value from adjudication.decision where kind = 'readjudication' order by ordinal limit 1")[0]
    asyncio.run(_send(running.servers.addresses.kafka, [value, value]))
    running.drain()
    assert running.rows("select count(*) from adjudication.decision where kind = 'claim'") == before
    running.audit()


async def _send(kafka: str, values: list[bytes]) -> None:
    producer = AIOKafkaProducer(bootstrap_servers=kafka)
    await producer.start()
    for value in values:
        await producer.send_and_wait(ELIGIBLE, value, key=b"A0", partition=partition_of(part_of("A0"), PARTITIONS))
    await producer.stop()


def test_what_is_owed_is_settled_once_and_leaves_the_work_list(running: Deployment) -> None:
    def listed(who: str) -> list[tuple[str, str]]:
        done = running.command("account", "worklist", "--json")
        rows = [json.loads(line) for line in done.stdout.splitlines()]
        return [(row["kind"], row["amount"]) for row in rows if row["member_id"] == who]

    said(asked(running, "A1", "--reason", "retired"))
    [(kind, amount)] = listed("A1")
    assert kind == "owed_to_member"
    assert running.command("account", "settle", "A1").returncode == 2  # without a reason
    done = running.command("account", "settle", "A1", "--reason", "paid out", "--json")
    assert [json.loads(line)["amount"] for line in done.stdout.splitlines()] == [amount], done.stderr
    assert listed("A1") == []
    assert running.command("account", "settle", "A1", "--reason", "again").returncode == 1
    running.send([reversal("A1", 4)])  # a reimbursement cancelled after it was paid out: he owes it
    running.drain()
    [(kind, amount)] = listed("A1")
    assert kind == "owed_by_member"
    assert running.command("account", "settle", "A1", "--reason", "had back").returncode == 0
    running.audit()


def test_every_outcome_is_proved_by_explain(running: Deployment) -> None:
    for number in (1, 2, 3, 4, 5, 7):
        done = running.command("claim", "explain", f"A1-{number}", "--json")
        assert done.returncode == 0, done.stdout + done.stderr
        assert all(json.loads(line)["proven"] for line in done.stdout.splitlines())


def test_a_cancelling_after_it_gives_everything_back(running: Deployment) -> None:
    running.send([reversal("A0", 1), reversal("A0", 2, "Z1"), reversal("A0", 4), reversal("A0", 5), reversal("A0", 7)])
    running.drain()
    left = [row for row in standing(running, "A0") if row[0] in {"personal:?", "member:130900:?"}]
    assert left == [("member:130900:?", 0), ("personal:?", 45_000 - _of_2022(running))]
    used = running.rows("select sum(used) from adjudication.counter where member_id = 'A0' and period like '%%:2023%%'")
    assert used == [(0,)]
    running.audit()


def _of_2022(running: Deployment) -> int:
    return int(running.rows("select account from account.outcome where claim_no = 'A0-6'")[0][0])
