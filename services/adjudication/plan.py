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


class NoBenefit(NamedTuple):
    """A benefit that the version does not have: no parameter can supply it."""

    benefit: str  # without its code
    article: str

    def reason(self) -> Reason:
        """The rejection that names it."""
        place = f"benefits.{self.benefit}"
        return reason(
            "benefit_not_configured",
            article=self.article,
            field="benefit",
            zh=f"政策包没有 {place}；请核对待遇类别，当地确有该待遇的须写入政策包，参数文件不能提供",
            en=f"the pack has no {place}; check the benefit: one that the region has must be in the pack, not in a parameter",
        )

    def once_told(self) -> Reason:
        """The rejection as books have it that are older than these words: as if a parameter were missing."""
        return Missing(f"benefits.{self.benefit}", "policy", self.article).reason()


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
    """A benefit for one kind of member and place. ``missing``: what it cannot decide without."""

    pool: tuple[Compiled, ...] = ()
    after: tuple[Compiled, ...] = ()
    counters: tuple[str, ...] = ()  # all it reads or writes
    fund_counters: tuple[str, ...] = ()  # those that what the pooled fund pays is added to
    ceilings: dict[str, int] = field(default_factory=dict)
    articles: tuple[str, ...] = ()
    pays_remainder: bool = False  # whether a fund pays also where nothing is in scope
    missing: Missing | NoBenefit | None = None
