"""What a personal account is credited with each month (个人账户计入): part of the ``account`` section of a version.

``rows`` is a table over status, employment and sector, without holes. A row gives a fixed ``amount``, or a ``rate`` of
something (the member's own contribution base, or an average that the operator supplies), or says that such members have
``no_account``. Nothing is ever prorated: a month is credited or not, as ``months`` says.
"""

from collections.abc import Iterator
from itertools import product
from typing import Annotated, Literal, Self, get_args

from pydantic import Field, model_validator

from shared.policy.figure import Cited, Figure, Status, Strict

Employment = Literal["employee", "flexible_full", "flexible_pooled_only"]
Sector = Literal["enterprise", "government"]
Source = Literal["contributions", "pooled", "civil_servant"]


class Percent(Figure):
    """A share: of a base, or so much a year."""

    unit: Literal["percent"]


class Yuan(Figure):
    """Yuan a month."""

    unit: Literal["yuan"]


class Average(Yuan):
    """An average that the operator supplies, in yuan a month; ``share``: only so much of it counts.

    ``back_to_first_month``: once it is published it counts for all months, whatever day it is given from.
    """

    share: Percent | None = None
    back_to_first_month: bool = False


class MonthlyCredit(Cited):
    """What some members are credited with. ``source``: their own contributions, or the pooled fund (统筹基金划入)."""

    status: Status | None = None
    employment: tuple[Employment, ...] | None = None
    sector: Sector | None = None
    amount: Yuan | None = None
    rate: Percent | None = None
    of: Literal["contribution_base"] | Average | None = None
    provisional: Yuan | None = None
    """A fixed amount until the average is supplied; the difference is paid by a true-up."""
    no_account: bool = False
    source: Source = "contributions"

    @model_validator(mode="after")
    def _one_way(self) -> Self:
        ways = (self.amount is not None, self.rate is not None, self.no_account)
        if sum(ways) != 1 or (self.rate is None) != (self.of is None):
            raise ValueError("give an amount, or a rate of something, or no_account")
        if self.provisional is not None and not isinstance(self.of, Average):
            raise ValueError("provisional goes with a rate of an average")
        return self

    def holds_for(self, status: str, employment: str, sector: str) -> bool:
        """Whether the row is meant for such members."""
        return (
            self.status in (None, status)
            and (self.employment is None or employment in self.employment)
            and self.sector in (None, sector)
        )


class SupplementCredit(Cited):
    """What those who have a supplement are credited with besides, out of its fund; both, where both are supplied.

    The operator's table may differ by status: of what is supplied of ``amount`` and ``rate`` each counts.
    """

    supplement: Literal["civil_servant"]
    amount: Yuan
    rate: Percent  # of the own contribution base


class Months(Cited):
    """Which months are credited: those of the benefit period, or those paid. ``retired`` members pay nothing."""

    rule: Literal["benefit_period", "paid"]
    retired: Literal["benefit_period"] | None = None


class State(Cited):
    """What a member is in a month: what the register says for its first day (who joins later in it: for that day)."""

    rule: Literal["first_day"]


class Retirement(Cited):
    """Credited as retired from the month after the formalities (次月起), also where these fall on the first of a month."""

    rule: Literal["next_month"]


class Crediting(Strict):
    """The monthly credits of a city. ``interest``: percent a year on the balance, a twelfth of it with each month's credit."""

    months: Months
    state: State
    retirement: Retirement | None = None
    rows: Annotated[tuple[MonthlyCredit, ...], Field(min_length=1)]
    interest: Percent | None = None
    supplement: SupplementCredit | None = None

    @model_validator(mode="after")
    def _no_holes(self) -> Self:
        for kind in kinds_of_member():
            found = sum(row.holds_for(*kind) for row in self.rows)
            if found != 1:
                raise ValueError(f"{found} rows for {' '.join(kind)} members; there must be exactly one")
        return self


def kinds_of_member() -> Iterator[tuple[str, str, str]]:
    """Every combination of status, employment and sector."""
    yield from product(get_args(Status), get_args(Employment), get_args(Sector))
