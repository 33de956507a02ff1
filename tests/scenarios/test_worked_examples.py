"""The worked examples (one YAML table a city): what the funds pay, to the fen, claim after claim, with the article."""

import json
from collections.abc import Iterator, Mapping
from datetime import date
from pathlib import Path
from typing import Any

import pytest
import yaml
from adjudication_cases import PACKS, POLICIES, amounts, claim, facts, verdict

from services.adjudication import engine
from services.adjudication.counters import Counters
from shared.claim import Claim
from shared.events import Decision
from shared.money import fen, yuan
from shared.policy import Policies

HERE = Path(__file__).parent
FILES = sorted(HERE.glob("*.yaml"))
AMOUNTS = ("deductible", "pooled", "civil_servant", "large_expense", "veterans")
Example = Mapping[str, Any]


def examples() -> Iterator[Any]:
    for file in FILES:
        table = yaml.safe_load(file.read_text(encoding="utf-8"))
        for example in table["examples"]:
            yield pytest.param(table["region"], example, id=f"{file.stem}: {example['name']}")


@pytest.fixture
def parameters_file(tmp_path: Path) -> Path:
    return tmp_path / "parameters.yaml"


@pytest.mark.parametrize(("region", "example"), list(examples()))
def test_the_worked_example_comes_out_to_the_fen(region: str, example: Example, parameters_file: Path) -> None:
    policies = POLICIES
    if "parameters" in example:
        given = {name: [{"from": "2000-01-01", "value": value}] for name, value in example["parameters"].items()}
        parameters_file.write_text(json.dumps({region: given}, default=str), encoding="utf-8")
        policies = Policies.load(PACKS, parameters_file)
    counters = Counters()
    done: list[tuple[Claim, Decision]] = []
    for number, line in enumerate(example["claims"], start=1):
        if "reverse" in line:
            told, original = done[line["reverse"] - 1]
            decision = engine.reverse(told, original, counters)
        else:
            told, decision = _decide(region, example.get("given", {}) | line, number, policies, counters)
        done.append((told, decision))
        assert _shown(decision, line["expect"]) == line["expect"], f"claim {number}"
        unnamed = [name for name in AMOUNTS if name not in line["expect"]]
        assert not any(getattr(decision, name) for name in unnamed), f"claim {number}: {decision}"
    cited = {article for _, decision in done for article in decision.articles}
    cited |= {why.article for _, decision in done for why in decision.reasons if why.article}
    assert set(example["articles"]) <= cited


def _decide(
    region: str, line: Mapping[str, Any], number: int, policies: Policies, counters: Counters
) -> tuple[Claim, Decision]:
    day: date = line["day"]
    told = claim(
        f"C{number}",
        amounts(fen(line["in_scope"]), pre_self_pay=fen(line.get("pre_self_pay", "0"))),
        day=day,
        benefit=line.get("benefit", "ordinary"),
        institution=line.get("at", "I1"),
    )
    level = str(line.get("level", "2"))
    said = verdict(
        region,
        line.get("status", "active"),
        level,
        kind=line.get("kind", "hospital"),
        supplements=tuple(line.get("supplements", ())),
        prescriber=facts(region, level=str(line["prescriber"])) if "prescriber" in line else None,
        host=facts(region, level=str(line["host"])) if "host" in line else None,
    )
    return told, engine.decide(told, said, policies.on(region, day), counters)


def _shown(decision: Decision, expected: Mapping[str, Any]) -> dict[str, Any]:
    shown: dict[str, Any] = {name: yuan(getattr(decision, name)) for name in AMOUNTS}
    shown |= {"reasons": [why.code for why in decision.reasons], "outcome": decision.outcome}
    shown |= {"period": decision.period}
    shown |= {"needs": decision.reasons[0].en if decision.reasons else ""}
    for name, used in decision.after.items():
        shown[name] = used if name.endswith("_count") else yuan(used)
    if "needs" in expected and expected["needs"] in shown["needs"]:
        shown["needs"] = expected["needs"]
    return {name: shown[name] for name in expected}
