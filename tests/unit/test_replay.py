"""``gongji replay``: one outcome a line in the order of the feed, the same bytes however it is run, nothing lost."""

import asyncio
import codecs
import json
import os
import subprocess
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import pytest

from services.account.steps import AccountStep
from services.adjudication.steps import AdjudicationStep
from services.ops.generate import generate
from services.replay import Item, Replay, chunks, item_of
from shared import events
from shared.policy import Policies
from shared.runtime.settings import policies_directory

REGIONS = ("130900", "420300", "440800", "511900", "653100")
POLICIES = Policies.load(policies_directory())
Line = dict[str, Any]


def as_bytes(lines: Iterable[Line | bytes]) -> list[bytes]:
    return [line if isinstance(line, bytes) else json.dumps(line, ensure_ascii=False).encode() for line in lines]


DAY = as_bytes(generate(600, 150, REGIONS, 11, broken=True))


def settle(lines: Sequence[bytes], size: int = 500, replaying: Replay | None = None) -> tuple[list[Item], list[tuple[int, str]]]:
    """The outcomes of a feed, and the lines without one (with the reason)."""
    replaying = replaying or Replay(POLICIES)
    outcomes: list[Item] = []
    faults: list[tuple[int, str]] = []

    async def run() -> None:
        for chunk in chunks((item_of(number, line) for number, line in enumerate(lines, 1)), size):
            done = await replaying.settle(chunk)
            outcomes.extend(done.outcomes)
            faults.extend((fault.number, fault.reason) for fault in done.faults)

    asyncio.run(run())
    return outcomes, faults


def told(outcomes: Sequence[Item]) -> list[dict[str, Any]]:
    return [json.loads(outcome.value) for outcome in outcomes]


# -- a small world: one member, one hospital ---------------------------------------------------------------------------

WORLD: list[Line] = [
    {
        "type": "institution", "institution_id": "H1", "region": "130900", "kind": "hospital", "level": "2",
        "designated_from": "2022-01-01", "pooled_outpatient": True, "networked": True,
    },
    {
        "type": "member", "member_id": "M1", "region": "130900", "status": "active", "employment": "employee",
        "sector": "enterprise", "valid_from": "2022-01-01",
    },
    {"type": "account_credit", "credit_no": "C1", "member_id": "M1", "amount": "30.00", "month": "2023-01", "reason": "month"},
]  # fmt: skip


def bill(number: str, **other: Any) -> Line:
    return {
        "type": "claim", "claim_no": number, "institution_id": "H1", "member_id": "M1", "benefit": "ordinary",
        "channel": "direct", "emergency": False, "use_account": True, "visited_at": "2023-06-15T09:00:00+08:00",
        "submitted_at": "2023-06-15T10:00:00+08:00", "total": "300.00", "own_paid": "0.00", "over_limit": "0.00",
        "pre_self_pay": "0.00", "in_scope": "300.00",
    } | other  # fmt: skip


def reversal(number: str) -> Line:
    when = "2023-06-15T11:00:00+08:00"
    return {"type": "reversal", "claim_no": number, "institution_id": "H1", "reversed_at": when, "reason": "退费"}


NESTED = b'{"type": "claim", "claim_no": "C9", "institution_id": "H1", "lines": %b%b}' % (b"[" * 1100, b"]" * 1100)


def test_every_line_with_an_identity_has_one_outcome_in_the_order_of_the_feed() -> None:
    outcomes, faults = settle(DAY)
    submissions = [n for n, line in enumerate(DAY, 1) if item_of(n, line).topic == events.SUBMITTED]
    assert [outcome.number for outcome in outcomes] == [n for n in submissions if n not in {number for number, _ in faults}]
    assert {reason for _, reason in faults} <= {"unreadable"}
    for outcome, shown in zip(outcomes, told(outcomes), strict=True):
        line = json.loads(DAY[outcome.number - 1])
        assert (shown.get("claim_no") or shown["use_no"]) == (line.get("claim_no") or line["use_no"])
        assert {"accepted_at", "settled_at"}.isdisjoint(shown)


def test_a_repeat_gets_the_first_outcome_again_and_nothing_is_paid_twice() -> None:
    lines = as_bytes([*WORLD, bill("C1"), bill("C1", submitted_at="2023-06-15T12:00:00+08:00"), bill("C2"), bill("C1")])
    outcomes, _ = settle(lines)
    first, again, other, once_more = (outcome.value for outcome in outcomes)
    assert first == again == once_more
    assert told(outcomes)[0]["account"] == "30.00"
    assert json.loads(other)["account"] == "0.00"


def test_a_conflict_is_rejected_and_a_reversal_gives_everything_back() -> None:
    lines = as_bytes([*WORLD, bill("C1"), bill("C1", emergency=True), reversal("C1"), reversal("C1"), bill("C2")])
    shown = told(settle(lines)[0])
    assert [(one["kind"], one["outcome"]) for one in shown] == [
        ("claim", "settled"), ("claim", "rejected"), ("reversal", "reversed"), ("reversal", "reversed"), ("claim", "settled"),
    ]  # fmt: skip
    assert shown[1]["reasons"][0]["code"] == "duplicate_conflict"
    assert shown[2] == shown[3]
    assert [shown[2][name] for name in ("pooled", "account")] == [f"-{shown[0][name]}" for name in ("pooled", "account")]
    different = {"claim_no", "event_id"}
    assert {k: v for k, v in shown[4].items() if k not in different} == {k: v for k, v in shown[0].items() if k not in different}


def test_register_lines_count_for_the_claims_after_them_only() -> None:
    retired = WORLD[1] | {"status": "retired", "valid_from": "2023-01-01"}
    shown = told(settle(as_bytes([*WORLD, bill("C1"), retired, bill("C2"), WORLD[2] | {"credit_no": "C2"}, bill("C3")]))[0])
    assert [one["account"] for one in shown] == ["30.00", "0.00", "30.00"]
    pooled = [int(one["pooled"].replace(".", "")) for one in shown]
    assert pooled[0] < pooled[1]


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        (b"\xff\xfe", "unreadable"),
        (b"{}", "unreadable"),
        (b'{"type": "member", "member_id": "M9"}', "unreadable"),
        (b'{"type": "member", "type": "claim", "claim_no": "C9", "institution_id": "H1"}', "unreadable"),
        (as_bytes([WORLD[2] | {"amount": "31.00"}])[0], "unreadable"),  # money is never replaced
        (b"[" * 100_000, "unreadable"),
        (NESTED, "unreadable"),
        (NESTED.replace(b"claim", b"member", 1), "unreadable"),
    ],
)
def test_a_line_that_cannot_be_read_is_named_and_the_rest_goes_on(line: bytes, reason: str) -> None:
    outcomes, faults = settle([*as_bytes([*WORLD, bill("C1")]), line, *as_bytes([bill("C2")])])
    assert faults == [(5, reason)]
    assert [one["account"] for one in told(outcomes)] == ["30.00", "0.00"]


@pytest.mark.parametrize("step", [AdjudicationStep, AccountStep])
@pytest.mark.parametrize("size", [1, 3, 500])
def test_what_cannot_be_decided_is_set_aside_and_its_followers_wait_behind_it(
    step: type[Any], size: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    decide = step.decide

    def failing(self: Any, event: Any, facts: Any) -> Any:
        if event.claim_no == "C2":
            raise ZeroDivisionError("a bug")
        return decide(self, event, facts)

    monkeypatch.setattr(step, "decide", failing)
    lines = as_bytes([*WORLD, bill("C1"), bill("C2"), bill("C3"), reversal("C2"), bill("C2"), reversal("C1")])
    outcomes, faults = settle(lines, size)
    assert faults == [(5, "failed"), (7, "behind"), (8, "behind")]
    assert [outcome.number for outcome in outcomes] == [4, 6, 9]
    assert [one["account"] for one in told(outcomes)] == ["30.00", "0.00", "-30.00"]


@pytest.mark.parametrize("size", [1, 7, 100_000])
def test_the_size_of_a_chunk_changes_nothing(size: int) -> None:
    assert settle(DAY, size) == settle(DAY)


def test_the_event_handed_on_is_the_one_that_would_be_read_from_the_bytes() -> None:
    by_bytes = Replay(POLICIES)
    for stage in by_bytes._path:
        stage._heir = None
    assert settle(DAY, replaying=by_bytes) == settle(DAY)


# -- the command -------------------------------------------------------------------------------------------------------


def command(*arguments: str, feed: bytes = b"", **environment: str) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(
        [sys.executable, "-m", "services", "replay", *arguments],
        input=feed, capture_output=True, timeout=120, check=False, env=os.environ | environment,
    )  # fmt: skip


def test_the_same_bytes_under_any_hash_seed_time_zone_and_locale(tmp_path: Path) -> None:
    feed = tmp_path / "day.ndjson"
    feed.write_bytes(b"\n".join(DAY))
    one = command(str(feed), "--trace", PYTHONHASHSEED="1", TZ="Asia/Shanghai", LANG="C.UTF-8")
    other = command("-", "--trace", feed=feed.read_bytes(), PYTHONHASHSEED="2", TZ="America/New_York", LC_ALL="C")
    assert (one.returncode, other.returncode) == (0, 0), one.stderr[-2000:]
    assert one.stdout == other.stdout
    assert one.stdout.count(b"\n") > 500


def test_the_wrong_line_is_named_by_file_and_number_and_the_trace_adds_up(tmp_path: Path) -> None:
    first, second = tmp_path / "register.ndjson", tmp_path / "claims.ndjson"
    first.write_bytes(b"\n".join(as_bytes(WORLD)))
    second.write_bytes(b"\n\n".join([*as_bytes([bill("C1", total="1.00"), bill("C1")]), b"not json"]))
    done = command(str(first), str(second), "--trace")
    assert done.returncode == 0
    wrong, readable = map(json.loads, done.stdout.splitlines())
    assert wrong["reasons"][0]["code"] == "sum_mismatch"
    said = done.stderr.decode().splitlines()
    assert said[0].startswith(f"{second}:1: sum_mismatch: ")
    assert said[1].startswith(f"{second}:5: unreadable: ")
    trace = {line["step"]: line for line in readable["trace"]}
    assert trace["ratio"]["article"].startswith("130900:")
    assert [trace[name]["result"] for name in ("fund_total", "account", "cash")] == [
        readable[name] for name in ("fund_total", "account", "cash")
    ]


def test_a_byte_order_mark_is_a_files_where_it_stands_first_and_else_makes_its_line_unreadable(tmp_path: Path) -> None:
    first, second = tmp_path / "register.ndjson", tmp_path / "claims.ndjson"
    first.write_bytes(codecs.BOM_UTF8 + b"\n".join(as_bytes(WORLD)))
    marked = codecs.BOM_UTF8 + as_bytes([bill("C2")])[0]
    second.write_bytes(codecs.BOM_UTF8 + b"\n".join([*as_bytes([bill("C1")]), marked]))
    for done in (command(str(first), str(second)), command(str(first), "-", feed=second.read_bytes())):
        assert [json.loads(line)["outcome"] for line in done.stdout.splitlines()] == ["settled"]
        [told, counted] = done.stderr.decode().splitlines()
        assert ":2: unreadable: not JSON" in told
        assert counted == "1 settled or reversed, 0 rejected, 1 lines without outcome"


def test_a_line_nested_without_measure_is_named_and_the_rest_goes_on() -> None:
    done = command("-", feed=b"\n".join([*as_bytes([*WORLD, bill("C1")]), NESTED, *as_bytes([bill("C2")])]))
    assert [json.loads(line)["claim_no"] for line in done.stdout.splitlines()] == ["C1", "C2"]
    assert done.stderr.decode().splitlines()[0] == "-:5: unreadable: nested deeper than 300 levels"
    assert done.returncode == 0


def test_packs_that_do_not_lint_and_feeds_that_are_not_there_are_usage_errors(tmp_path: Path) -> None:
    (tmp_path / "broken.yaml").write_text("region: [")
    (tmp_path / "parameters.yaml").write_text("130900: 5")
    (tmp_path / "beyond.yaml").write_text("130900: {pooled_annual_cap: [{from: 2022-01-01, value: 1e9999999}]}")
    for arguments, said in (
        (("-", "--policies", str(tmp_path)), b"broken.yaml"),
        (("-", "--parameters", str(tmp_path / "parameters.yaml")), b"parameters.yaml"),
        (("-", "--parameters", str(tmp_path / "beyond.yaml")), b"beyond.yaml"),
        (("-", "--parameters", str(tmp_path / "none.yaml")), b"none.yaml"),
        ((str(tmp_path / "none.ndjson"),), b"none.ndjson"),
        ((), b"FEED"),
    ):
        done = command(*arguments)
        assert (done.returncode, done.stdout) == (2, b""), done.stderr
        assert said in done.stderr
