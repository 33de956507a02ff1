"""A sixth city whose rules fit the vocabulary needs a YAML file and nothing else."""

from pathlib import Path

import pytest

from services.law.examples import Example, read_examples, run, with_parameters
from shared.policy import Policies

HERE = Path(__file__).parents[1] / "sixth_city"
EXAMPLES = [pytest.param(one, id=one.name) for one in read_examples(HERE / "examples")]


@pytest.mark.parametrize("example", EXAMPLES)
async def test_the_new_city_settles_by_its_pack_alone(example: Example) -> None:
    policies = Policies.load(HERE / "packs")
    assert await run(example, with_parameters(example, policies)) == []
