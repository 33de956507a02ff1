"""The worked examples (one YAML table a city), settled by the steps of the services: to the fen, with the article."""

from pathlib import Path

import pytest
from adjudication_cases import POLICIES

from services.law.examples import Example, read_examples, run, with_parameters

EXAMPLES = [pytest.param(one, id=f"{one.file}: {one.name}") for one in read_examples(Path(__file__).parent)]


@pytest.mark.parametrize("example", EXAMPLES)
async def test_the_worked_example_comes_out_to_the_fen(example: Example) -> None:
    assert await run(example, with_parameters(example, POLICIES)) == []
