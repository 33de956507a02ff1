"""The worked examples (one YAML table a city), settled by the steps of the services: to the fen, with the article."""

import json
from pathlib import Path

import pytest
from adjudication_cases import PACKS, POLICIES

from services.law.examples import Example, read_examples, run
from shared.policy import Policies

HERE = Path(__file__).parent
EXAMPLES = [pytest.param(one, id=f"{one.file}: {one.name}") for one in read_examples(HERE)]


@pytest.mark.parametrize("example", EXAMPLES)
async def test_the_worked_example_comes_out_to_the_fen(example: Example, tmp_path: Path) -> None:
    assert await run(example, with_parameters(example, tmp_path)) == []


def with_parameters(example: Example, directory: Path) -> Policies:
    if not example.parameters:
        return POLICIES
    given = {name: [{"from": "2000-01-01", "value": value}] for name, value in example.parameters.items()}
    file = directory / "parameters.yaml"
    file.write_text(json.dumps({example.region: given}, default=str), encoding="utf-8")
    return Policies.load(PACKS, file)
