"""The default run's share of the simulation; ``make simulate`` runs as many seeds as one likes."""

import logging
from collections.abc import Iterator

import pytest

from simulation.planted import PLANTED, planted
from simulation.run import DAYS, Run, simulate, undisturbed
from simulation.world import policies

# Two thousand, over eight of the days: what a day comes to undisturbed is worked out anew for each, and takes as long as a seed.
SEEDS = [first + day for first in range(0, 250 * DAYS, DAYS) for day in range(1, 9)]
_AT_ONCE = 50

# Of the safeties those that few seeds need to be taken out; `make simulate-planted` looks for all of them.
NOTICED_WITHIN = 100
NOTICED = (
    "fence: another epoch is passed over",
    "inbox of adjudication",
    "inbox of crossregion",
    "relay watermark: committed counts as announced",
    "relay after a take-over",
    "acknowledged before the offset moves (eligibility)",
)


@pytest.fixture(autouse=True, scope="module")
def quiet_logs() -> Iterator[None]:
    policies()
    logging.disable(logging.CRITICAL)
    yield
    logging.disable(logging.NOTSET)


def told(run: Run) -> str:
    last = "\n".join(run.chance.trace[-40:])
    return "\n".join([f"seed {run.seed}; all of it: make simulate SEED={run.seed}", *run.breaches, "the end of its trace:", last])


@pytest.mark.parametrize("at", range(0, len(SEEDS), _AT_ONCE))
def test_whatever_happens_the_day_comes_to_what_it_would_have_undisturbed(at: int) -> None:
    for seed in SEEDS[at : at + _AT_ONCE]:
        run = simulate(seed)
        assert not run.breaches, told(run)


def test_a_seed_gives_the_same_run_decision_by_decision() -> None:
    first, second = simulate(7), simulate(7)
    assert first.chance.trace == second.chance.trace
    assert first.chance.decisions == second.chance.decisions > 500


@pytest.mark.parametrize("name", NOTICED)
def test_a_safety_taken_out_is_noticed(name: str) -> None:
    with planted(name):
        assert any(simulate(seed).breaches for seed in range(1, NOTICED_WITHIN + 1))
    assert name in PLANTED


def test_a_day_has_outcomes_of_every_kind() -> None:
    sights = [undisturbed(day, 2) for day in range(30)]
    words = {word for sight in sights for content in sight.outcomes.values() for word in ("settled", "rejected", "reversed")
             if f'"outcome": "{word}"' in content}  # fmt: skip
    assert words == {"settled", "rejected", "reversed"}
    assert sum(len(sight.obligations) for sight in sights) > 10
    assert sum(sight.dead for sight in sights) > 3
