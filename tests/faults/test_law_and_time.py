"""The law changes while claims flow, the year ends, a migration is cut short: each claim is settled under one law, once."""

import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import psycopg
import pytest
from breaking import roll
from deployment import Deployment, Line, deployment, until
from matrix import Row, row
from servers import LocalServers
from trial import PATIENCE_S, Load, in_flight
from verdict import compare, undisturbed

from shared.events import SERVICES
from shared.runtime.settings import policies_directory

_HOSPITAL, _TOWN = "H130900001", "130900"


@pytest.fixture(scope="module")
def running(private_servers: LocalServers) -> Iterator[Deployment]:
    with deployment(private_servers) as made:
        yield made


def register(members: list[str]) -> list[Line]:
    """A hospital and its patients: active, under a deductible of 100 yuan a year."""
    hospital: Line = {
        "type": "institution", "institution_id": _HOSPITAL, "region": _TOWN, "kind": "hospital", "level": "2",
        "designated_from": "2020-01-01", "pooled_outpatient": True, "networked": True,
    }  # fmt: skip
    member: Line = {
        "type": "member", "region": _TOWN, "status": "active", "employment": "employee", "sector": "enterprise",
        "valid_from": "2020-01-01",
    }  # fmt: skip
    return [hospital, *(member | {"member_id": name} for name in members)]


def claim(number: str, member: str, visited_at: str) -> Line:
    """300 yuan in scope."""
    return {
        "type": "claim", "claim_no": number, "institution_id": _HOSPITAL, "member_id": member, "benefit": "ordinary",
        "channel": "direct", "emergency": False, "use_account": False, "visited_at": visited_at, "submitted_at": visited_at,
        "total": "300.00", "own_paid": "0.00", "over_limit": "0.00", "pre_self_pay": "0.00", "in_scope": "300.00",
    }  # fmt: skip


def pooled(running: Deployment, prefix: str) -> dict[str, int]:
    """What the fund pays (fen) by claim."""
    return dict(running.rows("select claim_no, pooled from account.outcome where claim_no like %s", f"{prefix}%"))


def fill(found: Row, running: Deployment, lines: list[Line]) -> None:
    """Compares with an undisturbed run, and audits."""
    verdict = compare(running, lines)
    found.claims, found.lost = verdict.expected, len(verdict.lost)
    found.doubled, found.wrong = len(verdict.doubled), len(verdict.wrong)
    assert verdict.clean, verdict
    running.audit()
    found.audit = "clean"


def test_the_year_ends_at_midnight_in_shanghai_wherever_the_services_run(running: Deployment) -> None:
    """Claims either side of it come together: each year has its deductible, and 29 February is a day of the year."""
    found = row("clock: year end at midnight in Shanghai, and a leap day")
    for number, name in enumerate(SERVICES):
        running.start(name, TZ=("America/New_York", "UTC", "Pacific/Kiritimati")[number % 3])
    members = [f"Y{number}" for number in range(100)]
    days = {
        "2023-12-31T23:59:59+08:00": 10_000,  # (300 - 100) x 50 %
        "2024-01-01T00:00:00+08:00": 10_000,  # a deductible of its own
        "2024-02-29T12:00:00+08:00": 15_000,
    }
    people = register(members)
    claims = [claim(f"Y{n}-{name}", name, day) for n, day in enumerate(days) for name in members]
    running.register(people)
    load = Load(running, claims)
    load.start()
    load.finish()
    found.in_flight = in_flight(running)
    running.drain(seconds=PATIENCE_S)
    paid = pooled(running, "Y")
    assert paid == {f"Y{n}-{name}": fen for n, fen in enumerate(days.values()) for name in members}
    fill(found, running, [*people, *claims])


@pytest.mark.matrix
def test_a_pack_swapped_while_claims_flow_settles_each_claim_under_the_one_it_names(running: Deployment, tmp_path: Path) -> None:
    found = row("law: another version of a pack, service by service")
    running.restart_the_dead()
    if not running.workers:
        running.start()
    old = policies_directory()
    new = tmp_path / "policies"
    shutil.copytree(old, new)
    pack = new / "130900-cangzhou.yaml"
    fifty, more = "{status: active, value: 50, unit: percent", "{status: active, value: 55, unit: percent"
    text = pack.read_text(encoding="utf-8")
    assert fifty in text
    pack.write_text(text.replace(fifty, more), encoding="utf-8")
    members = [f"P{number}" for number in range(800)]
    people = register(members)
    claims = [claim(f"P-{name}", name, "2023-05-01T09:00:00+08:00") for name in members]  # one each: none rests on another
    running.register(people)
    before = running.rows("select count(*) from account.outcome")
    load = Load(running, claims, seconds=60)
    load.start()
    until(lambda: running.rows("select count(*) from account.outcome") > before, "claims to be under way")
    found.in_flight = in_flight(running)
    settled = running.outcomes()
    roll(running, GONGJI_POLICIES=str(new))
    load.finish()
    running.drain(seconds=PATIENCE_S)
    packs = "select claim_no, pack_hash from adjudication.decision where claim_no like 'P-%%' and kind = 'claim'"
    under = dict(running.rows(packs))
    paid = pooled(running, "P-")
    assert {paid[number] for number in under} == {10_000, 11_000}
    hashes = {fen: {under[number] for number in under if paid[number] == fen} for fen in (10_000, 11_000)}
    assert [len(found) for found in hashes.values()] == [1, 1]
    now = running.outcomes()
    assert {name: now[name] for name in settled} == settled
    both = {10_000: old, 11_000: new}
    replays = {fen: undisturbed(running, [*people, *claims], GONGJI_POLICIES=str(place)) for fen, place in both.items()}
    mine = {name: outcome for name, outcome in now.items() if str(outcome["claim_no"]).startswith("P-")}
    wrong = [name for name, outcome in mine.items() if outcome != replays[paid[outcome["claim_no"]]][name]]
    found.claims, found.lost, found.doubled, found.wrong = len(claims), len(claims) - len(mine), 0, len(wrong)
    assert (wrong, len(mine)) == ([], len(claims))
    running.send(claims[:50])  # settled under the old one: the first outcome again, whatever the law says now
    running.drain(seconds=PATIENCE_S)
    assert running.outcomes() == now
    running.audit()
    found.audit = "clean"


def test_a_migration_killed_in_its_middle_leaves_nothing_and_the_next_start_finishes_it(
    running: Deployment, new_database: Callable[..., str]
) -> None:
    dsn = new_database(running.servers.addresses.postgres)
    with psycopg.connect(dsn) as blocker, psycopg.connect(dsn, autocommit=True) as books:
        books.execute("create table public.alembic_version (version_num varchar(32) primary key)")
        blocker.execute("lock table public.alembic_version in share mode")  # the first revision runs, and cannot be noted
        killed = subprocess.Popen([sys.executable, "-c", f"from deploy.migrations import run; run({dsn!r})"])
        until(lambda: books.execute(_WAITS).fetchall() == [(1,)], "the migration to be in its middle")
        killed.send_signal(signal.SIGKILL)
        killed.wait()
        blocker.rollback()
        until(lambda: books.execute(_MIGRATING).fetchall() == [(0,)], "its session to end")
        assert books.execute("select count(*) from pg_namespace where nspname = 'account'").fetchall() == [(0,)]
    started = running.start("account", "intake", "adjudication", GONGJI_POSTGRES=dsn)  # all at once, under one lock
    assert [worker.alive for worker in started] == [True] * 3
    with psycopg.connect(dsn, autocommit=True) as books:
        assert books.execute("select count(*) from public.alembic_version").fetchall() == [(1,)]
        for worker in started:
            running.kill(worker, signal.SIGTERM)
            running.workers.remove(worker)
        books.execute("update public.alembic_version set version_num = '9999_of_tomorrow'")
    refused = running.command("serve", "account", GONGJI_POSTGRES=dsn)
    assert refused.returncode == 1
    assert "9999_of_tomorrow" in refused.stderr
    assert "Traceback" not in refused.stderr


_MIGRATING = """
    select count(*) from pg_stat_activity
    where datname = current_database() and pid <> pg_backend_pid() and state <> 'idle'
"""
_WAITS = f"{_MIGRATING} and wait_event_type = 'Lock'"
