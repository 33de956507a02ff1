"""The ``benefits`` section of a version: what the funds pay, as steps of a closed vocabulary, in the order they run.

A benefit has two lists. ``pool``: how the pooled fund pays (deductibles, the ratio, caps). ``after``: who pays what is
left (supplements, what goes on to another benefit, a fund for the remainder), and what is only counted.
``policies/README.md`` explains each step for those who know the law.
"""

from typing import Annotated, Literal, Self

from pydantic import AfterValidator, Field, StringConstraints, model_validator

from shared.policy.figure import Article, Cited, Day, Interpretation, PercentRow, Place, PointsRow, Strict, YuanRow

Amounts = Annotated[tuple[YuanRow, ...], Field(min_length=1)]
Shares = Annotated[tuple[PercentRow, ...], Field(min_length=1)]


def _not_the_engines(counter: str) -> str:
    """A visit's accumulators begin with ``visit.``, counts that are no money end in ``_count``: the engine's own."""
    if counter.startswith("visit.") or counter.endswith("_count"):
        raise ValueError(f"{counter} is a name of the engine's own")
    return counter


Counter = Annotated[
    str, StringConstraints(pattern=r"^[a-z_]+(\.[a-z_]+)?$|^\{benefit\}\.[a-z_]+$"), AfterValidator(_not_the_engines)
]
Supplement = Literal["civil_servant", "large_expense"]
Entitlement = Literal["civil_servant", "large_expense", "veteran_1_6"]
Name = Literal["ordinary", "hypertension", "diabetes", "chronic", "special_drug", "day_surgery", "maternity"]


class AnnualDeductible(Strict):
    """So much in-scope cost of the period is the person's before the fund pays (起付标准, per period)."""

    step: Literal["annual_deductible"]
    amount: Amounts
    counter: Counter = "{benefit}.deductible"


class VisitDeductible(Strict):
    """So much of each visit is the person's: more for the first visit of the period, less for later ones.

    All of a member's claims of one day at one institution are one visit.
    """

    step: Literal["visit_deductible"]
    first: Amounts
    later: Amounts


class Ratio(Strict):
    """The share the fund pays of what is above the deductible; ``add``: points on top."""

    step: Literal["ratio"]
    table: Shares
    add: tuple[PointsRow, ...] = ()


class VisitCap(Strict):
    """The most the fund pays for one visit."""

    step: Literal["visit_cap"]
    amount: Amounts


class AnnualCap(Strict):
    """The most the fund pays in the period. Two benefits with the same ``counter`` share it."""

    step: Literal["annual_cap"]
    amount: Amounts
    counter: Counter = "{benefit}.fund"


class PooledCap(Cited):
    """Counts toward the pooled fund's annual cap (统筹基金年度最高支付限额); enforced once the operator supplies it."""

    step: Literal["pooled_cap"]
    amount: Amounts
    counter: Counter = "pooled.fund"


class SupplementStep(Strict):
    """A supplementary fund pays a share of the in-scope cost that the funds before it left, up to its own cap."""

    step: Literal["supplement"]
    fund: Supplement
    ratio: Shares
    cap: Amounts
    counter: Counter | None = None  # by default <fund>.fund


class AbovePooledCap(Strict):
    """What lies above the pooled annual cap goes to the large-expense supplement."""

    step: Literal["above_pooled_cap"]
    fund: Supplement
    ratio: Shares
    cap: Amounts
    counter: Counter | None = None


class SpillOver(Cited):
    """What lies above the benefit's own annual cap goes on to another benefit."""

    step: Literal["spill_over"]
    to: Name


class Remainder(Cited):
    """A fund pays all that is left of the named parts of the cost, for those entitled, at medical institutions."""

    step: Literal["remainder"]
    fund: Literal["veterans"]
    entitled: Entitlement
    of: Annotated[tuple[Literal["in_scope", "pre_self_pay"], ...], Field(min_length=1)]

    @model_validator(mode="after")
    def _each_part_once(self) -> Self:
        if len(set(self.of)) < len(self.of):
            raise ValueError("a part is named twice")
        return self


class Tally(Cited):
    """Counts what the person pays in scope, for another scheme. Pays nothing."""

    step: Literal["tally"]
    counter: Counter


PoolStep = Annotated[AnnualDeductible | VisitDeductible | Ratio | VisitCap | AnnualCap | PooledCap, Field(discriminator="step")]
AfterStep = Annotated[SupplementStep | AbovePooledCap | SpillOver | Remainder | Tally, Field(discriminator="step")]


class Benefit(Strict):
    """One benefit: its name in two languages, its article, its steps."""

    zh: str
    en: str
    article: Article
    pool: Annotated[tuple[PoolStep, ...], Field(min_length=1)]
    after: tuple[AfterStep, ...] = ()


class SpecialPeriod(Cited):
    """A settlement period of its own, other than the calendar year."""

    from_: Day = Field(alias="from")
    to: Day


class Period(Cited):
    """Over what the accumulators run."""

    rule: Literal["calendar_year"]
    special: tuple[SpecialPeriod, ...] = ()


class LevelRule(Cited):
    """Unrated institutions count as this level."""

    as_: Place = Field(alias="as")


class PharmacyRule(Cited):
    """A pharmacy's claims count as the prescriber's level, as a given level, or in rows of their own."""

    as_: Literal["prescriber", "1", "2", "3", "pharmacy"] = Field(alias="as")


class InternetRule(Cited):
    """An internet hospital's claims count as its physical host's level."""

    as_: Literal["host"] = Field(alias="as")


class Levels(Strict):
    """As which level an institution's claims are reckoned, where the register's level does not say it."""

    unrated: LevelRule
    pharmacy: PharmacyRule | None = None  # None: pharmacies are outside the benefits
    internet: InternetRule | None = None


class Rounding(Strict):
    """How an amount becomes fen."""

    rule: Literal["half_up"]
    reads: Interpretation


class StatusRule(Strict):
    """Whose deductible, ratio and cap: those of the status on the day of the visit."""

    rule: Literal["day_of_visit"]
    reads: Interpretation


class ReversalRule(Strict):
    """``release``: later claims stand. ``latest_first``: refused while a later claim of person and period stands."""

    rule: Literal["release", "latest_first"]
    reads: Interpretation


class Benefits(Strict):
    """What the funds pay in this version."""

    period: Period
    rounding: Rounding
    status: StatusRule
    reversal: ReversalRule
    levels: Levels
    ordinary: Benefit
    hypertension: Benefit | None = None
    diabetes: Benefit | None = None
    chronic: Benefit | None = None
    special_drug: Benefit | None = None
    day_surgery: Benefit | None = None
    maternity: Benefit | None = None
