"""Statements a batch, not a claim: each step of the path asks Postgres as often for five hundred claims as for one."""

from collections.abc import AsyncIterator, Mapping

import pytest
from counted_steps import REGIONS, Counted, counted_steps, register, through

from services.ops.generate import generate

pytestmark = pytest.mark.servers

# Statements of one batch of new claims, begin and commit among them (repeats and rejections add their tables to the first).
A_BATCH: Mapping[str, int] = {"submissions": 6, "coverage": 11, "decisions": 9, "settlement": 10, "obligations": 7}


@pytest.fixture
async def steps(fresh_database: str) -> AsyncIterator[dict[str, Counted]]:
    """Every step of the path on books of its own."""
    async with counted_steps(fresh_database) as made:
        yield made


async def test_five_hundred_claims_take_as_many_statements_as_one(steps: dict[str, Counted]) -> None:
    lines = [line for line in generate(900, 900, REGIONS, 7) if isinstance(line, dict)]
    await register(steps, lines)
    claims = list({(line["institution_id"], line["claim_no"]): line for line in lines if line["type"] == "claim"}.values())
    await through(steps, claims[:50])  # whatever is asked only once
    alone = [await through(steps, [claim]) for claim in claims[50:250]]
    of_many = await through(steps, claims[250:750])
    assert len(claims[250:750]) == 500
    for name, (asked, _) in of_many.items():
        assert len(asked) == len(set(asked)), f"{name} asks twice in a batch"
        assert set(asked) <= {query for one in alone if name in one for query in one[name].asked}, f"{name} asks {len(asked)}"
    assert {name: len(asked) for name, (asked, _) in of_many.items()} == A_BATCH
