"""A plan: one benefit's steps as plain numbers, for one kind of member and place and one span of days."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple

from shared.reasons import Reason, reason

if TYPE_CHECKING:
    from services.adjudication.bill import Bill

Compiled = tuple["Callable[[Bill, Any], None]", Any]
"""A step: its function, and the rule it takes."""


class Missing(NamedTuple):
    """A parameter that the operator has not supplied for the day."""

    name: str
    unit: str
    article: str

    def reason(self) -> Reason:
        """The rejection that names it."""
        return reason(
            "benefit_not_configured",
            article=self.article,
            zh=f"请在参数文件中提供 {self.name}（{self.unit}）",
            en=f"supply {self.name} ({self.unit}) in the parameters file",
        )


class Kind(NamedTuple):
    """What a plan is for: a benefit (with its code), a status, a place, and the supplements the member has."""

    benefit: str
    status: str
    place: str
    pharmacy: bool
    entitlements: tuple[str, ...]
    level_article: str | None = None  # what says as which level the place counts, where the register's own does not


@dataclass(frozen=True, slots=True)
class Plan:
    """A benefit for one kind of member and place. ``missing``: it cannot decide without this parameter."""

    pool: tuple[Compiled, ...] = ()
    after: tuple[Compiled, ...] = ()
    counters: tuple[str, ...] = ()  # all it reads or writes
    fund_counters: tuple[str, ...] = ()  # those that what the pooled fund pays is added to
    ceilings: dict[str, int] = field(default_factory=dict)
    articles: tuple[str, ...] = ()
    pays_remainder: bool = False  # whether a fund pays also where nothing is in scope
    missing: Missing | None = None
