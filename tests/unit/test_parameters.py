"""The operator's figures hold from their day until the next one given, and not a day longer than they say."""

from datetime import date
from pathlib import Path

import pytest
from adjudication_cases import PACKS, ZHANJIANG, claim, verdict

from services.adjudication import engine
from services.adjudication.counters import Counters
from shared.policy import Policies

GIVEN = """
"440800":
  outpatient_cap:
    - {from: 2024-01-01, value: "2046.5"}
    - {from: 2025-01-01, to: 2025-06-30, value: 2100}
"""


@pytest.mark.parametrize(
    ("day", "pooled"),
    [
        (date(2023, 12, 31), 199_600),  # the text's own figure: the parameter does not begin before its day
        (date(2024, 1, 1), 204_650),
        (date(2024, 12, 31), 204_650),
        (date(2025, 1, 1), 210_000),
        (date(2025, 6, 30), 210_000),
        (date(2025, 7, 1), None),
    ],
)
def test_a_parameter_holds_for_its_days(day: date, pooled: int | None, tmp_path: Path) -> None:
    file = tmp_path / "parameters.yaml"
    file.write_text(GIVEN, encoding="utf-8")
    policies = Policies.load(PACKS, file)
    decision = engine.decide(claim("C1", 500_000, day=day), verdict(ZHANJIANG), policies.on(ZHANJIANG, day), Counters())
    if pooled is None:
        assert (decision.outcome, decision.reasons[0].code) == ("rejected", "benefit_not_configured")
    else:
        assert (decision.outcome, decision.pooled) == ("settled", pooled)


def test_a_parameter_that_ended_is_not_carried_on_by_whoever_used_it_before(tmp_path: Path) -> None:
    file = tmp_path / "parameters.yaml"
    file.write_text(GIVEN, encoding="utf-8")
    version = Policies.load(PACKS, file).on(ZHANJIANG, date(2025, 6, 30))
    outcomes = [
        engine.decide(claim(f"C{day}", 100, day=day), verdict(ZHANJIANG), version, Counters()).outcome
        for day in (date(2025, 6, 30), date(2025, 7, 1), date(2025, 6, 30))
    ]
    assert outcomes == ["settled", "rejected", "settled"]


LEVEL_2_ONLY = f'"{ZHANJIANG}": {{outpatient_cap: [{{from: 2024-01-01, value: [{{level: ["2"], value: 2100}}]}}]}}'


@pytest.mark.parametrize(("level", "refused"), [("2", []), ("3", ["benefit_not_configured"])])
def test_whom_a_table_leaves_out_has_no_figure_yet(level: str, refused: list[str], tmp_path: Path) -> None:
    file = tmp_path / "parameters.yaml"
    file.write_text(LEVEL_2_ONLY, encoding="utf-8")
    day = date(2024, 1, 1)
    version = Policies.load(PACKS, file).on(ZHANJIANG, day)
    decision = engine.decide(claim("C1", 10_000, day=day), verdict(ZHANJIANG, level=level), version, Counters())
    assert [reason.code for reason in decision.reasons] == refused
    assert decision.outcome == ("rejected" if refused else "settled")


def test_a_parameter_changes_the_packs_hash(tmp_path: Path) -> None:
    file = tmp_path / "parameters.yaml"
    file.write_text(GIVEN, encoding="utf-8")
    plain, given = (Policies.load(PACKS, parameters).on(ZHANJIANG, date(2024, 1, 1)) for parameters in (None, file))
    assert plain is not None
    assert given is not None
    assert plain.ref.version == given.ref.version
    assert plain.ref.hash != given.ref.hash
