"""The edges of spans: of insurance, stays, designation, filings, deadlines."""

from datetime import date

import pytest
from eligibility_world import (
    BAZHONG,
    CANGZHOU,
    CITIES,
    KASHGAR,
    SHIYAN,
    ZHANJIANG,
    filing,
    finding,
    grant,
    judge,
    member,
    on,
    place,
)

from shared.register import InpatientStay


@pytest.mark.parametrize(
    ("visited", "found"),
    [
        pytest.param("2023-01-31", "not_in_benefit_period", id="the day before he is insured"),
        pytest.param("2023-02-01", "open", id="the first day"),
        pytest.param("2023-06-30", "open", id="the last day he is covered to"),
        pytest.param("2023-07-01", "not_in_benefit_period", id="the day after"),
        pytest.param("2023-09-01", "open", id="insured again"),
    ],
)
@pytest.mark.parametrize("region", CITIES)
def test_a_member_is_covered_on_the_days_of_his_spans(region: str, visited: str, found: str) -> None:
    first = member(region, since="2023-02-01", covered_to=date(2023, 6, 30))
    again = member(region, since="2023-09-01")
    assert finding(judge(region, first, again, visited_at=on(visited)))[0] == found


def test_the_status_is_that_of_the_day() -> None:
    rows = (member(CANGZHOU), member(CANGZHOU, since="2023-05-10", status="retired"))
    statuses = []
    for day in ("2023-05-09", "2023-05-10"):
        facts = judge(CANGZHOU, *rows, visited_at=on(day)).member
        statuses.append(None if facts is None else facts.status)
    assert statuses == ["active", "retired"]


def test_only_qualifications_open_on_the_day_are_evidence() -> None:
    spans = (
        grant("chronic:A", valid_to=date(2023, 5, 9)),
        grant("chronic:B", valid_to=date(2023, 5, 10)),
        grant("chronic:C"),
    )
    facts = judge(CANGZHOU, member(CANGZHOU, qualifications=spans)).member
    assert facts is not None
    assert [open_on_the_day.benefit for open_on_the_day in facts.qualifications] == ["chronic:B", "chronic:C"]


@pytest.mark.parametrize(
    ("admitted", "discharged", "found"),
    [
        pytest.param("2023-05-11", None, "open", id="admitted the day after"),
        pytest.param("2023-05-10", None, "inpatient_stay", id="admitted that day"),
        pytest.param("2023-05-01", "2023-05-10", "inpatient_stay", id="discharged that day"),
        pytest.param("2023-05-01", "2023-05-09", "open", id="discharged the day before"),
        pytest.param("2023-05-01", None, "inpatient_stay", id="still there"),
    ],
)
@pytest.mark.parametrize("region", [ZHANJIANG, KASHGAR, SHIYAN])
def test_both_days_of_a_stay_belong_to_it(region: str, admitted: str, discharged: str | None, found: str) -> None:
    last = None if discharged is None else date.fromisoformat(discharged)
    stay = InpatientStay("M", "X", date.fromisoformat(admitted), last)
    assert finding(judge(region, stay))[0] == found


@pytest.mark.parametrize(
    ("since", "until", "found"),
    [
        pytest.param("2023-05-10", None, "open", id="designated from that day"),
        pytest.param("2023-05-11", None, "institution_not_designated", id="from the next day"),
        pytest.param("2022-01-01", "2023-05-10", "open", id="to that day"),
        pytest.param("2022-01-01", "2023-05-09", "institution_not_designated", id="to the day before"),
    ],
)
@pytest.mark.parametrize("region", CITIES)
def test_an_institution_is_designated_on_the_days_of_its_span(region: str, since: str, until: str | None, found: str) -> None:
    last = None if until is None else date.fromisoformat(until)
    assert finding(judge(region, place(region, since=since, designated_to=last)))[0] == found


def test_an_institution_rises_to_the_level_of_its_newest_row() -> None:
    rows = (place(CANGZHOU, level="1"), place(CANGZHOU, level="2", since="2023-05-10"))
    found = [finding(judge(CANGZHOU, *rows, visited_at=on(day)))[0] for day in ("2023-05-09", "2023-05-10")]
    assert found == ["level_too_low", "open"]


@pytest.mark.parametrize(
    ("first", "last", "found"),
    [
        pytest.param("2023-05-10", "2023-05-10", "open", id="that day only"),
        pytest.param("2023-05-11", None, "remote_not_filed", id="from the next day"),
        pytest.param("2023-01-01", "2023-05-09", "remote_not_filed", id="to the day before"),
    ],
)
def test_a_filing_counts_on_the_days_of_its_span(first: str, last: str | None, found: str) -> None:
    filed = filing("650100", "posted", valid_to=None if last is None else date.fromisoformat(last))
    moved = type(filed)("M", "650100", "posted", date.fromisoformat(first), filed.valid_to)
    assert finding(judge(KASHGAR, place("650100"), moved))[0] == found


@pytest.mark.parametrize(
    ("visited", "submitted", "found"),
    [
        pytest.param("2023-01-01T00:00:00+08:00", "2024-06-30T23:59:59+08:00", "open", id="the last second"),
        pytest.param("2023-12-31T23:59:59+08:00", "2024-06-30T23:59:59+08:00", "open", id="seen on the last day"),
        pytest.param("2024-01-01T00:00:00+08:00", "2025-06-30T23:59:59+08:00", "open", id="seen in the next year"),
        pytest.param("2023-01-01T00:00:00+08:00", "2024-07-01T00:00:00+08:00", "manual_after_deadline", id="a second late"),
        pytest.param("2023-01-01T00:00:00+08:00", "2024-06-30T16:00:00+00:00", "manual_after_deadline", id="late in Shanghai"),
        pytest.param("2023-01-01T00:00:00+08:00", "2026-01-01T00:00:00+08:00", "manual_after_deadline", id="years late"),
    ],
)
def test_the_day_of_handing_in_is_a_day_in_shanghai(visited: str, submitted: str, found: str) -> None:
    verdict = judge(BAZHONG, channel="manual", visited_at=visited, submitted_at=submitted)
    assert finding(verdict)[0] == found


def test_the_deadline_stands_in_the_reason() -> None:
    verdict = judge(BAZHONG, channel="manual", submitted_at=on("2024-07-01"))
    assert verdict.rejection is not None
    assert "2024-06-30" in verdict.rejection.zh
    assert "2024-06-30" in verdict.rejection.en
