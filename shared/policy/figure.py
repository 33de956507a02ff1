"""A figure of the law: a number with its unit, its article, and its dates where they differ from the version's."""

import re
from datetime import date
from decimal import Decimal, DefaultContext
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, StringConstraints, model_validator

from shared.money import MAX_FEN

Article = Annotated[str, StringConstraints(pattern=r"^[0-9A-Z]+:[1-9][0-9]{0,3}(\.[1-9][0-9]{0,3})?$")]
"""``130900:10`` or ``420300:10.4``: the document's id in the pack's provenance, then the article."""

Interpretation = Annotated[str, StringConstraints(pattern=r"^Q[0-9]+$")]
Unit = Literal["yuan", "percent", "points"]
Status = Literal["active", "retired"]
Place = Literal["1", "2", "3", "pharmacy"]
Parameter = Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9_]*(\.[a-z0-9_]+)*$|^\{benefit\}\.[a-z_]+$")]
"""The name of a figure that the operator supplies; ``{benefit}`` stands for the claim's benefit, with its code."""

_PPM_PER_PERCENT = 10_000
_DAY = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}", re.ASCII)
_MOST_YUAN = MAX_FEN // 100
_MOST_DIGITS = DefaultContext.prec  # what has more would be rounded without a word


def _plain(value: Decimal) -> Decimal:
    """50, 50.0 and 5E+1 are one figure: written one way, so that equal packs have equal hashes."""
    if len(value.as_tuple().digits) > _MOST_DIGITS or abs(value.adjusted()) > _MOST_DIGITS:
        raise ValueError(f"no figure has so many digits: the most is {_MOST_YUAN} yuan, or 100 percent")
    return Decimal(format(value.normalize(), "f"))


def _written_as_a_day(value: Any) -> date:
    if isinstance(value, date):
        return value
    if isinstance(value, str) and _DAY.fullmatch(value):
        return date.fromisoformat(value)
    raise ValueError("not a day: write it as 2022-08-01")


Number = Annotated[Decimal, AfterValidator(_plain)]
Day = Annotated[date, BeforeValidator(_written_as_a_day)]
"""As the packs write it; left to itself, pydantic takes a number for the seconds since 1970."""


class Strict(BaseModel):
    """Unknown keys are faults; values do not change."""

    model_config = ConfigDict(extra="forbid", frozen=True, populate_by_name=True)


class Cited(Strict):
    """Something an article says, or a reading of it (``reads``: an interpretation of the pack)."""

    article: Article
    reads: Interpretation | None = None


class Switch(Cited):
    """On or off, by an article."""

    value: bool


class ShareOf(Strict):
    """So many percent of a named parameter (in yuan)."""

    percent: Number = Field(gt=0, le=100)
    of: Parameter


class Figure(Cited):
    """Either the ``value`` itself, or the parameter it ``needs`` (or a share of another, where that is not supplied)."""

    value: Number | None = None
    needs: Parameter | None = None
    share_of: ShareOf | None = None
    unit: Unit
    from_: Day | None = Field(default=None, alias="from")
    to: Day | None = None

    @model_validator(mode="after")
    def _one_source(self) -> Self:
        if (self.value is None) == (self.needs is None):
            raise ValueError("give either a value or the parameter it needs")
        if self.share_of is not None and (self.needs is None or self.unit != "yuan"):
            raise ValueError("share_of goes with needs, in yuan")
        if self.from_ is not None and self.to is not None and self.to < self.from_:
            raise ValueError("to is before from")
        if self.value is not None:
            exact(self.value, self.unit)
        return self

    def holds_on(self, day: date) -> bool:
        """Whether the figure's own dates include the day."""
        return (self.from_ is None or self.from_ <= day) and (self.to is None or day <= self.to)


class Row(Figure):
    """A figure for some members and places: ``level`` and ``status`` narrow it; without them it holds for all."""

    level: tuple[Place, ...] | None = None
    status: Status | None = None

    def holds_for(self, status: str, place: str) -> bool:
        """Whether the row is meant for this status at this kind of place."""
        return (self.status is None or self.status == status) and (self.level is None or place in self.level)


class YuanRow(Row):
    """An amount of money."""

    unit: Literal["yuan"]


class PercentRow(Row):
    """A share."""

    unit: Literal["percent"]


class PointsRow(Row):
    """Percentage points on top of a share."""

    unit: Literal["points"]


def exact(value: Decimal, unit: Unit) -> int:
    """The figure as the engine reckons: fen for yuan, parts per million for percent and points.

    Raises ValueError for a negative figure, more than 100 percent or than any fund holds, or more places than the unit has.
    """
    if value < 0:
        raise ValueError(f"{value} is negative")
    if unit != "yuan" and value > 100:
        raise ValueError(f"{value} {unit} is more than 100")
    if unit == "yuan" and value > _MOST_YUAN:
        raise ValueError(f"{value} yuan is more than {_MOST_YUAN}")
    scaled = value * (100 if unit == "yuan" else _PPM_PER_PERCENT)
    if scaled != int(scaled):
        raise ValueError(f"{value} {unit} has more decimal places than the unit")
    return int(scaled)
