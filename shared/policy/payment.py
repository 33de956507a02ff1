"""The ``payment`` section of a version: how the region pays its institutions (费用结算) for what its funds owe them.

``by_item``: what was incurred. ``monthly_budget``: a year's budget is shared out month by month, part of it is kept for the
year's assessment (policy.md, section 5). Personal accounts' money and that of other regions' members is passed on as it is.
"""

from typing import Annotated, Literal

from pydantic import Field

from shared.policy.benefits import Name
from shared.policy.figure import Cited, Figure


class Yuan(Figure):
    """Yuan a year."""

    unit: Literal["yuan"]


class Percent(Figure):
    """A share."""

    unit: Literal["percent"]


class Points(Figure):
    """Percentage points on top of what was incurred."""

    unit: Literal["points"]


class ByItem(Cited):
    """What was incurred is paid, item by item (按项目付费)."""

    rule: Literal["by_item"]


class MonthlyBudget(Cited):
    """A total, settled by the month (总额控制、按月结算): for cost of ``benefits`` at designated institutions of the region."""

    rule: Literal["monthly_budget"]
    benefits: Annotated[tuple[Name, ...], Field(min_length=1)]
    contributions: Yuan  # collected in the year before last
    budget: Percent  # of those contributions
    reserve: Percent  # of the budget
    elsewhere: Yuan  # remote, emergency and rescue care in the year: the estimate, until the year is over
    bonus: Points  # at most so much more than was incurred, while the month's money lasts
    at_once: Percent  # of what is due; the rest is kept for the assessment
    after_end: ByItem | None = None  # what comes late, once the last budget is over; None: nothing can be paid then


Payment = Annotated[ByItem | MonthlyBudget, Field(discriminator="rule")]
