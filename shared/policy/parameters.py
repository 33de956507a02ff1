"""The operator's figures: what the texts leave to other documents, by region, name and the day they hold from."""

from collections.abc import Mapping
from datetime import date, timedelta
from decimal import Decimal
from typing import Annotated, Any, NamedTuple

from pydantic import Discriminator, Field, Tag

from shared.policy.figure import Day, Number, Place, Status, Strict


class ParameterRow(Strict):
    """One row of a tabled parameter: for some levels, for a status, or (without both) for all."""

    level: tuple[Place, ...] | None = None
    status: Status | None = None
    value: Number = Field(ge=0)

    def holds_for(self, status: str, place: str) -> bool:
        """Whether the row is meant for this status at this kind of place."""
        return (self.status is None or self.status == status) and (self.level is None or place in self.level)


def _form(value: Any) -> str:
    return "table" if isinstance(value, list | tuple) else "figure"


class Given(Strict):
    """A value, or a table, in force from a day until the next one given (or ``to``)."""

    from_: Day = Field(alias="from")
    to: Day | None = None
    value: Annotated[
        Annotated[Number, Tag("figure")] | Annotated[tuple[ParameterRow, ...], Tag("table")], Discriminator(_form)
    ]  # what is wrong with one form is not told of the other


class Figures(NamedTuple):
    """A region's parameters; ``at`` gives what holds on a day."""

    given: Mapping[str, tuple[Given, ...]]

    def at(self, name: str, day: date) -> Decimal | tuple[ParameterRow, ...] | None:
        """The parameter's value on a day; None when the operator has not supplied it for that day."""
        found = [row for row in self.given.get(name, ()) if row.from_ <= day]
        if not found:
            return None
        latest = max(found, key=lambda row: row.from_)
        return latest.value if latest.to is None or day <= latest.to else None

    def boundaries(self) -> set[date]:
        """Days on which some parameter begins, or has just ended."""
        rows = [row for rows in self.given.values() for row in rows]
        return {row.from_ for row in rows} | {row.to + timedelta(days=1) for row in rows if row.to not in (None, date.max)}
