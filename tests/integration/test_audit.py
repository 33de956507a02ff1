"""`gongji audit` and `gongji claim show` as commands: clean while the system works, and exact about what is not there."""

import asyncio
import json
import threading
from collections.abc import Iterator, Sequence
from datetime import timedelta
from typing import Any

import psycopg
import pytest
from aiokafka import TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, RecordsToDelete
from deployment import Deployment, chunks, deployment
from servers import LocalServers

from services.ops.audit import announced, decisions
from services.ops.audit.check import Finding
from services.ops.audit.run import audit
from services.ops.audit.view import View, pages
from services.ops.generate import generate
from shared.events import SETTLED
from shared.runtime import access
from shared.runtime.database import reader
from shared.runtime.settings import Settings

pytestmark = pytest.mark.servers

REGIONS = ("130900", "440800", "511900", "653100", "420300")


@pytest.fixture(scope="module")
def working(private_servers: LocalServers) -> Iterator[Deployment]:
    with deployment(private_servers) as made:
        made.start()
        yield made


def test_the_audit_is_clean_while_the_system_works_and_says_how_far_it_looked(working: Deployment) -> None:
    lines = [line for line in generate(4000, 800, REGIONS, 21) if isinstance(line, dict)]
    working.register(lines)
    feed = [line for line in lines if line["type"] in ("claim", "reversal", "account_use")]

    def send() -> None:
        for piece in chunks(feed, 8):
            working.send(piece)

    sending = threading.Thread(target=send)
    sending.start()
    reports: list[dict[str, Any]] = []
    while sending.is_alive() or len(reports) < 2:
        done = working.command("audit", "--json")
        assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-2000:]
        reports.append(json.loads(done.stdout))
    sending.join()
    working.drain()
    last = json.loads(working.command("audit", "--json").stdout)
    assert (last["ok"], last["quiescent"], last["in_flight"]) == (True, True, 0)
    assert len(reports[0]["looked_up_to"]) > 0
    assert sum(one["next_offset"] for one in reports[0]["looked_up_to"]) <= sum(
        one["next_offset"] for one in last["looked_up_to"]
    )
    assert {check["id"] for check in last["checks"]} | {one["id"] for one in last["not_checked"]} == {
        f"I{number}" for number in range(1, 21)
    }


def test_since_goes_through_what_was_settled_since_and_checks_the_rest_whole(working: Deployment) -> None:
    ((later,),) = working.rows("select max(settled_at) from account.outcome")
    # Settled, and never asked for again: counts of refusals and answers to repeats are checked whole.
    [(*key, target, first)] = working.rows("""
        select institution_id, claim_no, kind, target, settled_at from account.outcome o where outcome = 'settled'
        and not exists (select from account.outcome a where a.kind = 'answer'
                        and (a.institution_id, a.claim_no) = (o.institution_id, o.claim_no))
        order by settled_at limit 1
    """)

    def looked(*options: str) -> tuple[int, dict[str, Any], dict[str, Any]]:
        done = working.command("audit", "--json", "--no-topics", *options)
        report = json.loads(done.stdout)
        assert "Looked up to 截至: account claims.adjudicated " in done.stderr
        return done.returncode, report, {check["name"]: check["rows"] for check in report["checks"]}

    change = "update account.outcome set target = %s where (institution_id, claim_no, kind) = (%s, %s, %s)"
    with psycopg.connect(working.servers.addresses.postgres, autocommit=True) as owner:
        owner.execute(change, ["elsewhere", *key])
        try:
            code, report, rows = looked("--since", (first + timedelta(microseconds=1)).isoformat())
            assert (code, report["since"] is not None) == (0, True), report
            code, _, from_the_first = looked("--since", first.isoformat())
            assert code == 1
        finally:
            owner.execute(change, [target, *key])
    narrowed = {name for name in rows if rows[name] < from_the_first[name]}
    assert "bytes_equal_columns" in narrowed
    assert rows.keys() == from_the_first.keys()
    code, _, none = looked("--since", (later + timedelta(hours=1)).isoformat())
    assert (code, none["bytes_equal_columns"], none["decision_again_is_the_same"]) == (0, 0, 0)
    assert none["outcome_equals_postings"] == from_the_first["outcome_equals_postings"] > 0
    for no_instant in ("yesterday", "0001-01-01", "9999-12-31T23:59:59-12:00"):
        assert working.command("audit", "--since", no_instant).returncode == 2


def test_a_claims_journey_is_shown(working: Deployment) -> None:
    ((institution, number, remote),) = working.rows(
        "select institution_id, claim_no, insured_region <> care_region from account.outcome"
        " where kind = 'reversal' and pooled < 0 order by 3 desc, 1, 2 limit 1"
    )
    done = working.command("claim", "show", number, "--institution", institution, "--json")
    assert done.returncode == 0, done.stderr
    journey = json.loads(done.stdout)
    assert [one["kind"] for one in journey["decisions"]] == ["claim", "reversal"]
    assert [one["outcome"] for one in journey["outcomes"] if one["kind"] != "answer"] == ["settled", "reversed"]
    assert [one["kind"] for one in journey["obligations"]] == (["claim", "reversal"] if remote else [])
    assert journey["submission"][0]["reversed"] is True
    assert len(journey["postings"]) % 2 == 0
    assert working.command("claim", "show", number, "--institution", institution).returncode == 0


def test_a_number_of_several_institutions_or_of_none_is_said(working: Deployment) -> None:
    template = {
        "type": "account_use", "use_no": "SAME", "member_id": "M", "purpose": "drugs", "amount": "1.00",
        "used_at": "2023-06-15T09:00:00+08:00",
    }  # fmt: skip
    working.send([template | {"institution_id": "HA"}, template | {"institution_id": "HB"}])
    working.drain()
    both = working.command("claim", "show", "SAME", "--json")
    assert (both.returncode, both.stdout.split()) == (1, ["HA", "HB"])
    assert working.command("claim", "show", "SAME", "--institution", "HB", "--json").returncode == 0
    nobody = working.command("claim", "show", "NEVER")
    assert (nobody.returncode, nobody.stdout) == (1, "")
    assert "nobody has sent" in nobody.stderr


def test_what_retention_takes_away_meanwhile_is_not_missing(working: Deployment, monkeypatch: pytest.MonkeyPatch) -> None:
    settled(working, 100, monkeypatch)
    compare, left = announced._compare, set[tuple[str, int]]()

    async def after_pruning(view: View, consumer: Any, topic: str) -> Finding:
        if topic == SETTLED:
            left.update(await pruned_by_half(view, topic))
        return await compare(view, consumer, topic)

    monkeypatch.setattr(announced, "_compare", after_pruning)
    report = asyncio.run(audit(Settings.load(), topics=True))
    [found] = [finding for finding in report.findings if finding.check.name == f"topic_equals_table: {SETTLED}"]
    assert left
    assert (report.ok, found.breaches) == (True, [])
    assert f"prune partitions {sorted(partition for _, partition in left)}" in found.notes[-1]


async def pruned_by_half(view: View, topic: str) -> set[tuple[str, int]]:
    """Takes the first half of each partition's records away from under an audit that has begun. Which partitions had any."""
    halves = {place: end // 2 for place, end in view.ends_after.items() if place[0] == topic and end > 1}
    admin = AIOKafkaAdminClient(**access.kafka(view.kafka))
    await admin.start()
    try:
        await admin.delete_records({TopicPartition(*place): RecordsToDelete(half) for place, half in halves.items()})
    finally:
        await admin.close()
    return set(halves)


def test_decisions_are_gone_through_in_parts_as_at_once(working: Deployment, monkeypatch: pytest.MonkeyPatch) -> None:
    settled(working, 200, monkeypatch)
    at_once = asyncio.run(gone_through())
    asked = list[str]()

    def counted(connection: Any, sql: str, *args: Any) -> Any:
        asked.append(sql)
        return pages(connection, sql, *args)

    monkeypatch.setattr(decisions, "pages", counted)
    monkeypatch.setattr(decisions, "_AT_ONCE", 20)
    in_parts = asyncio.run(gone_through())
    assert sum(len(past.decisions) for past in at_once) >= 200
    assert in_parts == at_once
    assert asked.count(decisions._DECISIONS) == 8


def settled(working: Deployment, claims: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """A day of so many claims is settled, and this process knows the deployment's servers."""
    lines = [line for line in generate(claims, claims // 2, REGIONS, claims) if isinstance(line, dict)]
    working.register(lines)
    working.send([line for line in lines if line["type"] == "claim"])
    working.drain()
    for name, value in working.environment.items():
        monkeypatch.setenv(name, value)


async def test_what_a_query_sorted_is_let_go_when_its_last_page_is_read(working: Deployment) -> None:
    async with reader(working.servers.addresses.postgres) as connection, connection.transaction(readonly=True):
        got = [
            row
            async for page in pages(connection, "select n from generate_series(1, $1::int) n order by -n", 4_001)
            for row in page
        ]
        assert (len(got), got[0]["n"]) == (4_001, 4_001)
        assert await connection.fetch("select statement from pg_cursors where statement not like '%pg_cursors%'") == []


async def gone_through() -> list[decisions.Past]:
    """What the audit's pass over the decisions shows to whoever looks."""
    pasts: list[decisions.Past] = []

    class Looking:
        findings: Sequence[Finding] = ()

        def see(self, past: decisions.Past) -> None:
            pasts.append(past)

    report = await audit(Settings.load(), (decisions.decisions(lambda _: Looking()),), topics=False)
    assert report.ok
    return pasts


@pytest.mark.parametrize("server", ["kafka", "postgres", "redis"])
def test_a_server_that_is_not_there_is_named(working: Deployment, server: str, monkeypatch: pytest.MonkeyPatch) -> None:
    addresses = working.servers.addresses
    real = {"kafka": addresses.kafka, "postgres": addresses.postgres, "redis": addresses.redis}
    gone = {"kafka": "127.0.0.1:9", "postgres": "postgresql://nobody@127.0.0.1:9/none", "redis": "redis://127.0.0.1:9/0"}
    given = {f"GONGJI_{name.upper()}": address for name, address in (real | {server: gone[server]}).items()}
    monkeypatch.setattr(Deployment, "environment", working.environment | given)
    done = working.command("audit")
    assert (done.returncode, f"gongji: {server}: " in done.stderr) == (3, True), done.stderr
