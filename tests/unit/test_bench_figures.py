"""The benchmark's arithmetic: latency from the due time, percentiles, what piles up, and the page against the goals."""

import json

import pytest

from services.bench import report
from services.bench.figures import Latency, Seen, by_second, by_tenth, latencies_ms, left_behind, percentile, rate_of, spread
from services.bench.load import Prepared


def record(number: str, kind: str = "claim") -> Prepared:
    return Prepared(0, b"H", json.dumps({"type": kind, "institution_id": "H", "claim_no": number}).encode())


def outcome(number: str, at_ms: int, kind: str = "claim") -> Seen:
    return Seen(at_ms, json.dumps({"kind": kind, "institution_id": "H", "claim_no": number}).encode())


def test_latency_counts_from_when_a_record_was_due_to_its_first_outcome() -> None:
    records = [record("1"), record("2"), record("1"), record("1", "reversal")]
    outcomes = [outcome("1", 100_100), outcome("1", 100_900), outcome("1", 101_000, "reversal"), outcome("2", 100_400)]
    found = [(round(one.due, 3), round(one.ms, 3)) for one in latencies_ms(records, 100.0, 10, outcomes)]
    assert sorted(found) == [(0.0, 100.0), (0.1, 300.0), (0.3, 700.0)]


def test_a_repeat_sent_earlier_is_not_measured_by_the_answer_to_a_later_one() -> None:
    assert latencies_ms([record("1")], start=100.0, rate=10, outcomes=[outcome("9", 100_100)]) == []


@pytest.mark.parametrize(("share", "value"), [(0.0, 1.0), (0.5, 51.0), (0.99, 100.0), (1.0, 100.0)])
def test_percentiles_are_exact(share: float, value: float) -> None:
    assert percentile([float(n) for n in range(1, 101)], share) == value


def test_a_drain_that_grows_slower_shows_it() -> None:
    stamps = [second * 1000 + n * (100 if second < 5 else 200) for second in range(10) for n in range(5)]
    rates = by_tenth(stamps)
    assert rates[:5] == [10.0] * 5
    assert rates[5:] == [5.0] * 5
    assert by_tenth([1, 2]) == []


def test_a_stall_shows_in_its_second() -> None:
    latencies = [Latency(n / 10, 900.0 if 10 <= n < 12 else 20.0) for n in range(30)]
    assert by_second(latencies) == [(20.0, 20.0), (20.0, 900.0), (20.0, 20.0)]
    assert spread(latencies)["p100_ms"] == 900.0


def test_what_a_rate_piles_up_is_counted_when_the_last_record_is_due() -> None:
    assert left_behind([Latency(n / 100, 1_000.0) for n in range(1_000)]) == 100


def test_the_rate_lies_between_the_first_and_the_last() -> None:
    assert rate_of([1_000, 3_000, 2_000]) == 1.0


@pytest.mark.parametrize(
    ("goal", "value", "verdict"),
    [
        (report.Goal("p99_ms", 250, at_most=True), 250, "met"),
        (report.Goal("p99_ms", 250, at_most=True), 500, "missed by 100%"),
        (report.Goal("drain_rate", 4_000), 3_000, "missed by 25%"),
        (report.Goal("drain_rate", 4_000), 4_000, "met"),
    ],
)
def test_a_goal_is_met_or_missed_by_so_much(goal: report.Goal, value: float, verdict: str) -> None:
    assert goal.verdict(value) == verdict


def test_every_second_is_drawn() -> None:
    drawing = report.drawn([(10.0, 20.0), (12.0, 300.0), (11.0, 21.0)])
    assert drawing.count("<polyline") == 2
    assert all(len(line.split('"')[1].split()) == 3 for line in drawing.splitlines() if "<polyline" in line)
