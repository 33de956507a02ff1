"""What auto_explain wrote in Postgres's log, told in short, and the page that tells it."""

import json
from pathlib import Path

from services.bench import plans, report, sampled

INNER = {"Node Type": "Index Scan", "Relation Name": "balance", "Index Name": "balance_pkey", "Plan Rows": 1}
PLAN = {"Node Type": "ModifyTable", "Operation": "Update", "Relation Name": "balance", "Plan Rows": 0, "Plans": [INNER]}


def entry(ms: float, query: str, plan: object = PLAN) -> str:
    """As Postgres writes it: a line break of the message is followed by a tab."""
    text = json.dumps({"Query Text": query, "Plan": plan}, indent=2).replace("\n", "\n\t")
    return f"2026-11-27 03:15:01.123 UTC [4711] gongji@gongji LOG:  duration: {ms:.3f} ms  plan:\n\t{text}\n"


OTHERS = "2026-11-27 03:15:00.001 UTC [12] LOG:  checkpoint complete: wrote 4 buffers\n"


def test_entries_of_auto_explain_are_read_and_all_others_passed_over() -> None:
    found = plans.read(OTHERS + entry(25.5, "update x\n  set y = 'duration: 1.0 ms  plan:'") + OTHERS + entry(31, "select 1"))
    assert [(one.ms, one.query) for one in found] == [(25.5, "update x set y = 'duration: 1.0 ms plan:'"), (31.0, "select 1")]
    assert plans.read(OTHERS) == []


def test_a_statement_is_told_once_with_its_slowest_plan_and_how_often_it_was_slow() -> None:
    scan = {"Node Type": "Seq Scan", "Relation Name": "t", "Plan Rows": 9}
    log = entry(21, "select a", scan) + entry(40, "update b") + entry(60, "select a") + entry(22, "select c", scan)
    assert plans.slowest(plans.read(log), 2) == [
        {"ms": 60.0, "times": 2, "query": "select a", "plan": ["Update of balance, rows: 0", NODE]},
        {"ms": 40.0, "times": 1, "query": "update b", "plan": ["Update of balance, rows: 0", NODE]},
    ]


NODE = "  Index Scan of balance by balance_pkey, rows: 1"


def test_a_long_plan_and_a_long_statement_are_cut() -> None:
    plan = {"Node Type": "Append", "Plan Rows": 1, "Plans": [INNER] * 14}
    [told] = plans.slowest(plans.read(entry(30, "select " + "x" * 500, plan)), 5)
    assert len(told["plan"]) == 13
    assert told["plan"][-1] == "… and 3 nodes more"
    assert len(told["query"]) == 200


RESULT = {
    "at": "now", "asked": {"rate": 1}, "settings": {}, "cpu_us": {}, "a_claim": {}, "a_drained_claim": {}, "machine": {},
    "calibrate_ms": {}, "versions": {"kafka": "4.0.0"},
}  # fmt: skip
PROFILE = {
    "claims": 1_000, "workers_us": {"intake": {"asyncpg": 31.2}}, "broker_us": {}, "statements": 0.7, "statements_us": 300.5,
    "most": [{"us": 60.0, "calls": 9, "query": "select a || b"}], "waits": {"running": 0.25},
    "slow_ms": 20, "slow_times": 0, "slow": [],
}  # fmt: skip


def test_the_page_tells_where_postgres_s_time_went_and_that_nothing_was_slow() -> None:
    page = report.markdown(RESULT | {"profile": PROFILE}, "x.svg")
    assert "| 60.0 | 9 | `select a \\|\\| b` |" in page
    assert "| intake | asyncpg 31.2 |" in page
    assert "| 25.0% | running |" in page
    assert "No statement with a plan took 20 ms or more" in page
    assert "| version: kafka | 4.0.0 |" in page


def test_the_page_shows_the_plans_of_slow_statements() -> None:
    slow = plans.slowest(plans.read(entry(60, "update b")), 5)
    page = report.markdown(RESULT | {"profile": PROFILE | {"slow": slow}}, "x.svg")
    assert f"60.0 ms at the longest of 1: `update b`\n\n```\nUpdate of balance, rows: 0\n{NODE}\n```" in page


def test_samples_of_all_processes_of_a_service_are_microseconds_a_claim(tmp_path: Path) -> None:
    (tmp_path / "intake.1.samples").write_text('{"asyncpg": 3, "services.intake.store": 1}')
    (tmp_path / "intake.2.samples").write_text('{"asyncpg": 2}')
    found = sampled.gathered(tmp_path.glob("*.samples"), claims=1_000)
    assert found == {"intake": {"asyncpg": 50.0, "services.intake.store": 10.0}}
    assert [sampled.part(name) for name in ("asyncpg.pool", "services.intake.store", "json")] == [
        "asyncpg",
        "services.intake.store",
        "json",
    ]


def test_the_page_says_what_was_sent_and_that_its_shares_are_estimates() -> None:
    assert "estimates of our own" in report.markdown(RESULT, "x.svg")


def test_the_page_says_so_where_postgres_was_not_watched() -> None:
    assert "Not profiled" in report.markdown(RESULT, "x.svg")
