"""Bytes nested without measure are unreadable to every decoder, even in a field that it would skip: never its failure."""

from typing import Any

import pytest

from services.account import commands, seal_proof
from services.account.memory import MemoryStore as AccountBooks
from services.account.steps import AccountStep
from services.adjudication.memory import MemoryStore as AdjudicationBooks
from services.adjudication.steps import AdjudicationStep
from services.crossregion.memory import MemoryStore as ClearingBooks
from services.crossregion.steps import CrossregionStep
from services.eligibility.memory import MemoryStore as RegisterBooks
from services.eligibility.steps import EligibilityStep
from services.ops import send
from shared.errors import Unreadable
from shared.events import SUBMITTED
from shared.policy import Policies
from shared.runtime.settings import policies_directory
from shared.runtime.step import Record, Step

NESTED = b'{"type": "ledger_proof", "elsewhere": %b%b}' % (b"[" * 1100, b"]" * 1100)
POLICIES = Policies.load(policies_directory())
STEPS: list[Step[Any, Any, Any]] = [
    EligibilityStep(RegisterBooks(), POLICIES),
    AdjudicationStep(AdjudicationBooks(), POLICIES),
    AccountStep(AccountBooks(), POLICIES, None),
    CrossregionStep(ClearingBooks()),
]


@pytest.mark.parametrize("step", STEPS, ids=lambda step: step.service)
def test_a_step_finds_the_record_unreadable(step: Step[Any, Any, Any]) -> None:
    with pytest.raises(Unreadable):
        step.decode(Record(step.topics[0], 0, 1, 0, None, NESTED))


def test_a_command_to_credit_is_unreadable() -> None:
    with pytest.raises(Unreadable):
        commands.decode(NESTED)


def test_what_is_no_proof_is_said_to_be_none() -> None:
    with pytest.raises(ValueError, match="recursion"):
        seal_proof.read(NESTED)
    assert seal_proof.roots_in(NESTED) == set()


def test_a_feed_line_is_sent_to_where_dead_letters_are_made() -> None:
    outward = send.route(NESTED)
    assert (outward.topic, outward.fault) == (SUBMITTED, "nested deeper than 300 levels")
