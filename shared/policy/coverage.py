"""The ``coverage`` section of a version: who is eligible, where, for which benefit.

Everything a city says about persons, places, prescriptions and dates before any money is reckoned. A rule with
``benefits`` holds for those only; a rule that is left out does not exist in that city.
"""

from datetime import date
from typing import Annotated, Literal, Self, get_args

from pydantic import AfterValidator, Field, StringConstraints, model_validator

from shared.policy.benefits import Name
from shared.policy.figure import Cited, Strict, Switch

Kind = Literal["hospital", "township", "community", "village", "psychiatric", "pharmacy", "internet"]
Filing = Literal["settled_retiree", "posted", "referral", "temporary"]
Channel = Literal["direct", "internet", "manual"]
Relation = Literal["spouse", "parent", "child", "spouse_parent"]
Where = Literal["home", "province", "elsewhere"]
"""``home``: the insured region. ``province``: another region of its province. ``elsewhere``: another province."""


def _day_of_year(text: str) -> str:
    date.fromisoformat(f"2023-{text}")  # a year without 29 February: the day must be there every year
    return text


MonthDay = Annotated[str, StringConstraints(pattern=r"^[0-9]{2}-[0-9]{2}$"), AfterValidator(_day_of_year)]


class Rule(Cited):
    """Something an article says of some benefits; without ``benefits``, of all."""

    benefits: tuple[Name, ...] | None = None

    def meant_for(self, benefit: str) -> bool:
        """Whether the rule speaks of a benefit (named without its code)."""
        return self.benefits is None or benefit in self.benefits


class Exclusion(Cited):
    """A cost that another pays, or nobody: no fund. ``account``: the article that closes the account as well."""

    account: Cited | None = None


class Exclusions(Strict):
    """What is outside the insurance, by the claim's ``excluded_as``."""

    work_injury: Exclusion
    third_party: Exclusion
    public_health: Exclusion
    abroad: Exclusion
    wellness: Exclusion


class Designation(Cited):
    """Only designated institutions are paid. ``account``: why the account pays none but those either."""

    account: Cited
    emergency: Cited | None = None  # the article that frees emergencies from designation
    pooled_outpatient: Rule | None = None  # medical institutions must be designated for pooled outpatient care too


class LevelRule(Rule):
    """At such places only institutions of a level or above, and these kinds whatever their level."""

    where: Where
    at_least: Literal["1", "2", "3"]
    or_kinds: tuple[Kind, ...] = ()


class PharmacyRule(Rule):
    """Whether pharmacies are paid, and on which conditions."""

    value: bool
    pooled_outpatient: bool = False  # only pharmacies designated for pooled outpatient care
    home_only: Cited | None = None  # only at home
    prescription: bool = False  # only on a prescription of a designated medical institution

    @model_validator(mode="after")
    def _closed_has_no_conditions(self) -> Self:
        if not self.value and (self.pooled_outpatient or self.home_only is not None or self.prescription):
            raise ValueError("where pharmacies are not paid there are no conditions")
        return self


class FilingRule(Rule):
    """Care in another region must have been filed (备案)."""

    kinds: Annotated[tuple[Filing, ...], Field(min_length=1)]  # the filings that count
    channels: tuple[Channel, ...] | None = None  # None: however it is settled
    chosen_institution: bool = False  # only at the one networked institution chosen in the filing
    emergency: Cited  # why an emergency counts as filed


class ManualDeadline(Cited):
    """What was not settled directly must be handed in until a day (month-day) of the year after the visit."""

    until: MonthDay
    where: Literal["anywhere", "other_region"]


class ChronicInstead(Cited):
    """Who holds a chronic qualification of one of these codes gets the chronic benefit for the disease instead."""

    hypertension: tuple[str, ...]
    diabetes: tuple[str, ...]


class Family(Cited):
    """Whose cost the account may carry besides the holder's: the beneficiary as the holder's relation."""

    relations: tuple[Relation, ...]


class Coverage(Strict):
    """Who may claim what, where."""

    benefit_period: Cited
    exclusions: Exclusions
    inpatient_stay: Rule | None = None  # no outpatient benefit on the days of a stay
    designation: Designation
    levels: tuple[LevelRule, ...] = ()
    pharmacies: tuple[PharmacyRule, ...] = ()
    internet: Switch
    filing: FilingRule | None = None
    qualifications: tuple[Rule, ...] = ()  # benefits that must have been granted to the member
    chronic_instead: ChronicInstead | None = None
    manual_deadline: ManualDeadline | None = None
    family: Family

    @model_validator(mode="after")
    def _one_rule_a_case(self) -> Self:
        for rules in (self.pharmacies, self.qualifications):
            named = [benefit for rule in rules for benefit in rule.benefits or get_args(Name)]
            if len(set(named)) < len(named):
                raise ValueError("two rules for one benefit")
        if len({rule.where for rule in self.levels}) < len(self.levels):
            raise ValueError("two level rules for one place")
        return self
