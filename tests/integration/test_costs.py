"""What a claim costs, counted and not timed, against what is recorded: nothing grows by a tenth unnoticed.

Statements a batch, calls of functions and the memory a batch needs at its peak, bytes announced, bytes of rows. The same made-up
claims always give the same counts, on any machine. Who makes a claim dearer and means it changes the record in the same commit;
the failing test prints the new one.
"""

import json
import sys
import tracemalloc
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from counted_steps import REGIONS, Counted, counted_steps, register, through

from services.ops.generate import generate

pytestmark = pytest.mark.servers

RECORD = Path(__file__).resolve().parents[2] / "deploy" / "benchmarks" / "costs.json"
CLAIMS = 500
TABLES = (
    "intake.submission",
    "intake.outgoing",
    "adjudication.decision",
    "adjudication.counter",
    "account.outcome",
    "account.journal",
    "account.posting",
    "crossregion.obligation",
)
Costs = dict[str, dict[str, float]]


@pytest.fixture
async def steps(fresh_database: str) -> AsyncIterator[dict[str, Counted]]:
    """Every step of the path on books of its own."""
    async with counted_steps(fresh_database) as made:
        yield made


@contextmanager
def calls() -> Iterator[Callable[[], int]]:
    """Counts the calls of functions, Python's and C's, in this thread."""
    count = 0

    def see(_frame: Any, event: str, _argument: Any) -> None:
        nonlocal count
        count += event in ("call", "c_call")

    sys.setprofile(see)
    try:
        yield lambda: count
    finally:
        sys.setprofile(None)


async def _rows(steps: Mapping[str, Counted]) -> dict[str, float]:
    connection = await steps["decisions"].database.connection()
    query = " union all ".join(f"select '{name}', sum(pg_column_size(t.*))::float from {name} t" for name in TABLES)
    return {row[0]: row[1] or 0.0 for row in await connection.fetch(query)}


def _peak() -> int:
    return tracemalloc.get_traced_memory()[1]


def _watch(steps: Mapping[str, Counted], look: Callable[[], int], first: Callable[[], None] = lambda: None) -> dict[str, int]:
    """By step, how much a figure grows while the step handles its batch."""
    marks: dict[str, int] = {}

    def before(name: str) -> None:
        first()
        marks[name] = -look()

    def after(name: str) -> None:
        marks[name] += look()

    for name, step in steps.items():
        step.before, step.after = partial(before, name), partial(after, name)
    return marks


async def _measured(steps: Mapping[str, Counted], batches: Sequence[Sequence[Any]]) -> Costs:
    """One batch counts the calls, the next the memory, and of a third come the bytes."""
    first, second, third = batches
    costs: Costs = {"statements": {}, "calls": {}, "peak_bytes": {}, "announced_bytes": {}, "row_bytes": {}}
    with calls() as counted:
        marks = _watch(steps, counted)
        await through(steps, first)
    costs["calls"] = {name: round(count / CLAIMS, 1) for name, count in marks.items()}
    tracemalloc.start()
    try:
        marks = _watch(steps, _peak, tracemalloc.reset_peak)
        await through(steps, second)
    finally:
        tracemalloc.stop()
    costs["peak_bytes"] = {name: round(size / CLAIMS) for name, size in marks.items()}
    _watch(steps, lambda: 0)
    before = await _rows(steps)
    passed = await through(steps, third)
    after = await _rows(steps)
    costs["statements"] = {name: float(len(asked)) for name, (asked, _) in passed.items()}
    for _, announced in passed.values():
        for topic, values in announced.items():
            costs["announced_bytes"][topic] = round(sum(len(value) for _, value in values) / CLAIMS)
    costs["row_bytes"] = {name: round((after[name] - before[name]) / CLAIMS) for name in TABLES}
    return costs


def dearer(measured: Costs, recorded: Costs) -> list[str]:
    """What has grown by a tenth or more, or is not recorded."""
    return [
        f"{kind} of {name}: {value}, recorded {was}"
        for kind, costs in measured.items()
        for name, value in costs.items()
        if value > (was := recorded[kind].get(name, 0)) and value * 10 >= was * 11
    ]


@pytest.mark.parametrize(("was", "now", "told"), [(10, 11, True), (11, 12, False), (0, 1, True), (0, 0, False), (10, 9, False)])
def test_what_grows_by_a_tenth_is_told(was: float, now: float, *, told: bool) -> None:
    assert bool(dearer({"statements": {"a": now}}, {"statements": {"a": was}})) is told


async def test_a_claim_costs_no_more_than_is_recorded(steps: dict[str, Counted]) -> None:
    lines = [line for line in generate(4 * CLAIMS, 900, REGIONS, 7) if isinstance(line, dict)]
    await register(steps, lines)
    claims = list({(line["institution_id"], line["claim_no"]): line for line in lines if line["type"] == "claim"}.values())
    await through(steps, claims[: CLAIMS // 2])  # whatever is done only once
    start = CLAIMS // 2
    batches = [claims[start + n * CLAIMS : start + (n + 1) * CLAIMS] for n in range(3)]
    assert [len(batch) for batch in batches] == [CLAIMS] * 3
    measured = await _measured(steps, batches)
    recorded: Costs = json.loads(RECORD.read_text(encoding="utf-8"))
    grown = dearer(measured, recorded)
    assert not grown, f"dearer: {grown}. If that is worth it, the new record is\n{json.dumps(measured, indent=2)}"
