"""Dead letters on real servers: a bug puts a claim aside, and its reversal behind it; redriven, both end in outcomes."""

import json
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from typing import Any

import pytest
from deployment import Deployment, Worker, day, deployment, until
from servers import LocalServers

pytestmark = pytest.mark.servers

# A bad release of adjudication: it cannot take one institution's claims.
BUGGY = """
import sys
from services import serve
from services.adjudication.steps import AdjudicationStep

good = AdjudicationStep.decide

def bad(self, event, facts):
    if event.claim_no in sys.argv[1].split(",") and event.kind == "claim":
        raise ZeroDivisionError("a bug of ours")
    return good(self, event, facts)

AdjudicationStep.decide = bad
serve.one("adjudication")
"""


@pytest.fixture
def running(private_servers: LocalServers) -> Iterator[Deployment]:
    with deployment(private_servers) as made:
        yield made


def buggy(running: Deployment, *claims: str) -> Worker:
    log = running.servers.home / "buggy.log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            [sys.executable, "-c", BUGGY, ",".join(claims)], env=running.environment, stdout=output, stderr=output
        )
    worker = Worker("adjudication", process, log)
    running.workers.append(worker)
    until(worker.has_spoken, "the buggy adjudication to be ready")
    return worker


def dead(running: Deployment, *arguments: str, code: int = 0) -> list[dict[str, Any]]:
    done = running.command("dead", *arguments, "--json")
    assert done.returncode == code, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]


def reversal_of(claim: dict[str, Any]) -> dict[str, Any]:
    named = {name: claim[name] for name in ("claim_no", "institution_id")}
    return {"type": "reversal", "reversed_at": claim["submitted_at"], "reason": "wrong person", **named}


def plain_claims(lines: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Claims that nobody repeats, reverses or gets wrong."""
    times = Counter(line.get("claim_no") for line in lines)
    return [line for line in lines if line["type"] == "claim" and times[line["claim_no"]] == 1]


def test_a_bugs_victims_are_redriven_in_order_and_an_operator_may_put_one_away(running: Deployment) -> None:
    lines = day(60, 5)
    first, second = plain_claims(lines)[:2]
    worker = buggy(running, first["claim_no"], second["claim_no"])
    running.start("intake", "eligibility", "account", "crossregion")
    running.register(lines)
    running.send([line for line in lines if line["type"] in ("claim", "reversal", "account_use")] + [reversal_of(first)])
    running.send([b"{"])
    running.drain()

    held = dead(running, "list")
    assert sorted((one["service"], one["reason"]) for one in held) == [
        ("adjudication", "behind"), ("adjudication", "failed"), ("adjudication", "failed"), ("intake", "unreadable")
    ]  # fmt: skip
    assert {one["reason"] for one in dead(running, "list", "--reason-code", "failed")} == {"failed"}
    for option in ("--service", "--reason-code"):  # nothing found would look like nothing held
        assert dead(running, "list", option, "nonesuch", code=2) == []
    assert dead(running, "list", "--since", "2999-01-01") == []
    (unreadable,) = dead(running, "list", "--service", "intake")
    (shown,) = dead(running, "show", str(unreadable["id"]))
    assert (shown["value"], shown["topic"]) == ("{", "claims.submitted")
    running.audit()  # what is held is no breach, and named

    running.kill(worker, signal.SIGTERM)
    victims = [one["id"] for one in held if one["service"] == "adjudication"]
    for why in ("the bug is mended", "impatience"):  # twice before anybody has tried: nothing may be done twice
        assert dead(running, "redrive", "--service", "adjudication", "--reason", why) == [{"redriven": victims}]
    running.start("adjudication")
    running.drain()
    answered = "select kind, outcome from account.outcome where claim_no = %s order by source_partition, seq"
    assert running.rows(answered, first["claim_no"]) == [("claim", "settled"), ("reversal", "reversed")]
    assert running.rows(answered, second["claim_no"]) == [("claim", "settled")]

    put_away, redriven, nowhere = unreadable["id"], victims[0], 999_999
    numbers = [str(one) for one in (nowhere, put_away, redriven)]
    not_held = [{"id": nowhere, "state": None}, {"id": redriven, "state": "redriven"}]
    answer = [{"discarded": [put_away], "not_discarded": not_held}]
    assert dead(running, "discard", *numbers, "--reason", "a cable was loose", code=1) == answer
    for verb, past in (("discard", "discarded"), ("redrive", "redriven")):
        done = running.command("dead", verb, str(put_away), "--reason", "again")
        assert (done.returncode, done.stderr) == (1, f"not {past}: {put_away}, which is discarded\n")
    assert dead(running, "list") == []
    assert running.rows("select command, reason from runtime.command_log where who <> '' order by id") == [
        ("dead redrive", "the bug is mended"), ("dead redrive", "impatience"), ("dead discard", "a cable was loose")
    ]  # fmt: skip
    running.audit()


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("redrive", "--reason", "x"), "say which"),
        (("redrive", "1", "--reason", " "), "say why"),
        (("discard", "--all"), "--reason"),
        (("list", "--since", "yesterday"), "ISO 8601"),
        (("list", "--since", "0001-01-01"), "from year 1 to 9999"),  # in Shanghai; in UTC it is the year before
        (("list", "--since", "9999-12-31T23:59:59-12:00"), "from year 1 to 9999"),
        (("show", "0"), "Invalid value"),
        (("show", "99999999999999999999"), "Invalid value"),
        (("redrive", "99999999999999999999", "--reason", "x"), "Invalid value"),
        (("discard", "1", "99999999999999999999", "--reason", "x"), "Invalid value"),
    ],
)
def test_what_was_meant_must_be_said(running: Deployment, arguments: tuple[str, ...], said: str) -> None:
    done = running.command("dead", *arguments)
    assert (done.returncode, said in done.stderr) == (2, True), done.stderr
