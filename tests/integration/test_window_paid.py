"""From claims to money between regions, on real servers: a day, its window paid; then reversals, and those paid back."""

import json
from collections.abc import Iterator
from typing import Any

import pytest
from deployment import Deployment, claims_of, day, deployment
from servers import LocalServers

pytestmark = pytest.mark.servers
REGIONS = ("130900", "420300", "440800", "511900", "653100")
REMOTE = """
    select o.institution_id, o.claim_no
    from account.outcome o join crossregion.obligation b using (institution_id, claim_no, kind)
    where o.kind = 'claim' and not exists (select from account.outcome r where (r.institution_id, r.claim_no, r.kind)
        = (o.institution_id, o.claim_no, 'reversal'))
"""


@pytest.fixture(scope="module")
def running(private_servers: LocalServers) -> Iterator[Deployment]:
    lines = day(400, 5, members=150)
    with deployment(private_servers) as made:
        made.start()
        made.register(lines)
        made.send(claims_of(lines))
        made.drain()
        yield made


def said(running: Deployment, *arguments: str) -> list[dict[str, Any]]:
    done = running.command(*arguments, "--json")
    assert done.returncode == 0, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]


def between_regions(running: Deployment) -> dict[str, str]:
    """What regions owe each other, and what their banks paid, as `gongji fund show` has it."""
    accounts = [one for region in REGIONS for one in said(running, "fund", "show", "--region", region)]
    return {one["account"]: one["closing"] for one in accounts if one["account"].startswith(("due_", "bank:"))}


def closed_and_paid(running: Deployment) -> dict[str, Any]:
    [window] = said(running, "clearing", "close", "--reason", "月结")
    before = between_regions(running)
    paid = said(running, "fund", "clear", "--window", str(window["window"]), "--reason", "月结")
    assert {(one["debtor"], one["creditor"]): one["amount"] for one in paid} == {
        (one["debtor"], one["creditor"]): one["gross"] for one in window["positions"]
    }
    assert any(amount != "0.00" for name, amount in before.items() if name.startswith("due_"))
    return window


def test_a_day_between_regions_is_paid_and_so_is_what_is_taken_back_of_it(running: Deployment) -> None:
    first = closed_and_paid(running)
    stands = between_regions(running)
    assert {amount for name, amount in stands.items() if name.startswith("due_")} == {"0.00"}
    nets = {f"bank:{one['region']}": one["net"] for one in first["regions"] if one["net"] != "0.00"}
    assert {name: negative(stands[name]) for name in nets} == nets
    running.audit()

    fields = {"type": "reversal", "reversed_at": "2023-06-30T09:00:00+08:00", "reason": "r"}
    taken = running.rows(REMOTE)
    assert len(taken) > 2
    running.send([fields | {"institution_id": institution, "claim_no": number} for institution, number in taken])
    running.drain()
    second = closed_and_paid(running)
    assert all(one["gross"].startswith("-") for one in second["positions"])
    assert {amount for name, amount in between_regions(running).items() if name.startswith("due_")} == {"0.00"}
    assert running.command("ledger", "seal").returncode == 0
    [checked] = said(running, "ledger", "check")
    assert checked["ok"]
    running.audit()


def negative(amount: str) -> str:
    return amount[1:] if amount.startswith("-") else f"-{amount}"
