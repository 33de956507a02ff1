"""`gongji claim explain` on a settled day: every outcome is worked out anew to the fen, and tampering is told."""

import asyncio
import json
from collections.abc import Iterator
from typing import Any

import asyncpg
import psycopg
import pytest
from deployment import Deployment, Line, deployment
from servers import LocalServers

from services.explain import work_out
from services.explain_grounds import found
from services.ops.generate import generate
from shared.events import REGISTER_TYPES

REGIONS = ("130900", "420300", "440800", "511900", "653100")
AMOUNTS = ("fund_total", "account", "family_account", "cash")


def bill(number: str, institution: str = "H1", **other: Any) -> Line:
    return {
        "type": "claim", "claim_no": number, "institution_id": institution, "member_id": "M1", "benefit": "ordinary",
        "channel": "direct", "emergency": False, "use_account": True, "visited_at": "2023-06-15T09:00:00+08:00",
        "submitted_at": "2023-06-15T10:00:00+08:00", "total": "300.00", "own_paid": "10.00", "over_limit": "0.00",
        "pre_self_pay": "0.00", "in_scope": "290.00",
    } | other  # fmt: skip


def hospital(name: str) -> Line:
    return {
        "type": "institution", "institution_id": name, "region": "130900", "kind": "hospital", "level": "2",
        "designated_from": "2022-01-01", "pooled_outpatient": True, "networked": True,
    }  # fmt: skip


REGISTER: list[Line] = [
    hospital("H1"), hospital("H2"),
    {
        "type": "member", "member_id": "M1", "region": "130900", "status": "active", "employment": "employee",
        "sector": "enterprise", "valid_from": "2022-01-01",
    },
    {"type": "account_credit", "credit_no": "K1", "member_id": "M1", "amount": "4000.00", "month": "2023-01", "reason": "month"},
]  # fmt: skip
SUBMISSIONS: list[Line] = [
    bill("SETTLED"), bill("TWICE"), bill("TWICE", "H2"), bill("MALFORMED", total=300), bill("CONFLICT"), bill("REVERSED"),
    bill("CONFLICT", emergency=True), bill("UNKNOWN", member_id="M2"), bill("TAMPERED"), bill("CHANGED"),
    {
        "type": "reversal", "claim_no": "REVERSED", "institution_id": "H1", "reversed_at": "2023-06-15T11:00:00+08:00",
        "reason": "退费",
    },
    {
        "type": "account_use", "use_no": "USED", "institution_id": "H1", "member_id": "M1", "purpose": "own_share",
        "amount": "12.00", "used_at": "2023-06-15T09:00:00+08:00",
    },
]  # fmt: skip


@pytest.fixture(scope="module")
def settled(private_servers: LocalServers) -> Iterator[Deployment]:
    lines = [line for line in generate(400, 100, REGIONS, 31) if not isinstance(line, bytes)]
    with deployment(private_servers) as made:
        made.start()
        made.register(REGISTER + [line for line in lines if line["type"] in REGISTER_TYPES])
        made.send(SUBMISSIONS + [line for line in lines if line["type"] not in REGISTER_TYPES])
        made.drain()
        yield made


def explained(settled: Deployment, *arguments: str, code: int = 0) -> list[dict[str, Any]]:
    done = settled.command("claim", "explain", *arguments, "--json")
    assert done.returncode == code, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]


def test_every_outcome_of_the_day_is_worked_out_anew_to_the_fen(settled: Deployment) -> None:
    keys = settled.rows("select distinct institution_id, claim_no from account.outcome where kind <> 'answer'")
    kinds: set[tuple[str, str]] = set()

    async def sweep() -> None:
        connection = await asyncpg.connect(settled.servers.addresses.postgres)
        for key in keys:
            for one in await found(connection, (key[0], key[1])):
                if one.grounds is None:
                    continue
                working = work_out(one.outcome, one.grounds)
                assert (working.differences, working.unproven) == ((), None), one.outcome
                results = {line["step"]: line["result"] for line in working.trace}
                if one.outcome.outcome == "settled" and one.outcome.kind == "claim":
                    shown = {name: results.get(name, "0.00") for name in AMOUNTS}
                    assert shown == {name: getattr(one.outcome, name) for name in AMOUNTS}
                kinds.add((one.outcome.kind, one.outcome.outcome))
        await connection.close()

    asyncio.run(sweep())
    assert len(keys) > 350
    assert {("claim", "settled"), ("claim", "rejected"), ("reversal", "reversed"), ("account_use", "settled")} <= kinds


def test_a_settled_claim_is_explained_step_by_step_with_its_articles(settled: Deployment) -> None:
    [one] = explained(settled, "SETTLED")
    assert one["proven"] is True
    steps = [line["step"] for line in one["trace"]]
    assert steps[0] == "total"
    assert steps[-3:] == ["person", "account", "cash"]
    ratio = next(line for line in one["trace"] if line["step"] == "ratio")
    assert ratio["article"] == "130900:10"
    assert ratio["result"] == one["pooled"]
    told = settled.command("claim", "explain", "SETTLED").stderr
    for words in ("分文不差", "沧政办发〔2021〕10号", one["pooled"], one["account"], ratio["formula"]):
        assert words in told


def test_a_reversal_is_explained_with_its_claim(settled: Deployment) -> None:
    claim, reversal = explained(settled, "REVERSED")
    assert (claim["kind"], reversal["kind"]) == ("claim", "reversal")
    assert (claim["proven"], reversal["proven"]) == (True, True)
    taken_back = {line["step"].partition(":")[2]: line["result"] for line in reversal["trace"]}
    assert taken_back["account"] == f"-{claim['account']}"


def test_a_rejection_by_the_rules_is_proven_and_one_at_intake_is_shown(settled: Deployment) -> None:
    [unknown] = explained(settled, "UNKNOWN")
    assert (unknown["reasons"][0]["code"], unknown["proven"]) == ("unknown_member", True)
    [malformed] = explained(settled, "MALFORMED", "--institution", "H1")
    assert (malformed["reasons"][0]["code"], malformed["proven"]) == ("malformed", None)
    first, conflict = explained(settled, "CONFLICT")
    assert (first["outcome"], conflict["reasons"][0]["code"], conflict["proven"]) == ("settled", "duplicate_conflict", True)
    [use] = explained(settled, "USED")
    assert (use["kind"], use["proven"]) == ("account_use", True)


def test_a_number_that_nobody_or_more_than_one_has_is_not_guessed(settled: Deployment) -> None:
    done = settled.command("claim", "explain", "TWICE")
    assert (done.returncode, "H1, H2" in done.stderr) == (1, True)
    [one] = explained(settled, "TWICE", "--institution", "H2")
    assert one["institution_id"] == "H2"
    assert settled.command("claim", "explain", "NOBODY'S").returncode == 1
    assert settled.command("claim", "explain", "SETTLED", "--institution", "H2").returncode == 1


@pytest.mark.parametrize(
    ("number", "table", "change", "told"),
    [
        ("TAMPERED", "adjudication.decision", ('"pooled":', '"pooled":1'), "pooled is stored as 1"),
        ("CHANGED", "account.outcome", ('"cash":"', '"cash":"9'), "cash is stored as 9"),
    ],
)
def test_what_was_changed_behind_our_back_is_told_loudly(
    settled: Deployment, number: str, table: str, change: tuple[str, str], told: str
) -> None:
    [before] = explained(settled, number)
    assert before["proven"] is True
    with psycopg.connect(settled.servers.addresses.postgres) as connection:
        connection.execute(
            f"update {table} set value = convert_to(replace(convert_from(value, 'UTF8'), %s, %s), 'UTF8') where claim_no = %s",
            (*change, number),
        )
    [after] = explained(settled, number, code=1)
    assert after["proven"] is False
    done = settled.command("claim", "explain", number)
    assert (done.returncode, "NOT REPRODUCED" in done.stderr, told in done.stderr) == (1, True, True), done.stderr
