"""The steps in the order a claim meets them, as a table: the launcher, the replay, the feed and the audit read it.

Register first, because claims are judged by it; then the path of a claim.
"""

from collections.abc import Callable, Coroutine
from datetime import datetime
from typing import Any, Final, NamedTuple

from services.account.crediting_step import PIECES_AT_ONCE, CreditingStep
from services.account.crediting_store import PostgresCreditingStore as CreditingBooks
from services.account.sealer import Sealer
from services.account.steps import AccountStep, CreditStep
from services.account.store import PostgresStore as AccountBooks
from services.adjudication.projection import CounterProjection
from services.adjudication.steps import AdjudicationStep
from services.adjudication.store import PostgresStore as AdjudicationBooks
from services.crossregion.steps import CrossregionStep
from services.crossregion.store import PostgresStore as CrossregionBooks
from services.eligibility.steps import EligibilityStep, RegisterStep
from services.eligibility.store import PostgresStore as RegisterBooks
from services.intake.steps import IntakeStep
from services.intake.store import PostgresStore as IntakeBooks
from shared.policy import Policies
from shared.runtime.cache import Cache
from shared.runtime.service import Wiring
from shared.runtime.settings import Settings
from shared.runtime.step import Step

_CLEARED_LATER_SECONDS: Final = 0.2  # regions settle with each other by windows, of a day or so

Clock = Callable[[], datetime]
AnyStep = Step[Any, Any, Any]


class Place(NamedTuple):
    """One step's place on the path: its service, its name there, and what it reads."""

    service: str
    name: str
    topics: tuple[str, ...]


PATH: Final = (
    Place("eligibility", "register", RegisterStep.topics),
    Place("account", "credits", CreditStep.topics),
    Place("account", "crediting", CreditingStep.topics),
    Place("intake", "submissions", IntakeStep.topics),
    Place("eligibility", "coverage", EligibilityStep.topics),
    Place("adjudication", "decisions", AdjudicationStep.topics),
    Place("account", "settlement", AccountStep.topics),
    Place("crossregion", "obligations", CrossregionStep.topics),
)


def wirings(service: str, policies: Policies, cache: Cache, clock: Clock) -> list[Wiring]:
    """The steps of one service over its real books."""
    if service == "intake":
        return [Wiring("submissions", IntakeStep(IntakeBooks(), clock))]
    if service == "eligibility":
        books = RegisterBooks()
        return [Wiring("register", RegisterStep(books)), Wiring("coverage", EligibilityStep(books, policies))]
    if service == "adjudication":
        decisions = AdjudicationBooks()
        step = AdjudicationStep(decisions, policies)
        return [Wiring("decisions", step, CounterProjection(decisions, cache))]
    if service == "account":
        accounts = AccountBooks()
        return [
            Wiring("credits", CreditStep(accounts)),
            Wiring("crediting", CreditingStep(CreditingBooks()), batch_max=PIECES_AT_ONCE),
            Wiring("settlement", AccountStep(accounts, policies, clock)),
        ]
    if service == "crossregion":
        return [Wiring("obligations", CrossregionStep(CrossregionBooks()), rest_seconds=_CLEARED_LATER_SECONDS)]
    raise KeyError(service)


def chores(service: str, settings: Settings) -> list[Coroutine[Any, Any, None]]:
    """What a service does beside its steps, until it is cancelled."""
    return [Sealer(settings).run()] if service == "account" else []
