"""Worked examples of paying institutions: what each gets for a month, and of what was kept.

``policies/README.md`` explains the keys.
"""

from collections.abc import Mapping
from decimal import Decimal
from typing import Any, Final

from services.account import payment
from services.account.payment import Budget, Owed, Paid, Terms
from services.account.payment_run import has_budget, in_force, last_day, number_of
from shared.errors import Stop
from shared.money import PPM, fen, yuan
from shared.policy import Policies
from shared.policy.lint import cited_in
from shared.policy.payment import MonthlyBudget

# What a line may show.
BY_ITEM: Final = "by item"
BELOW: Final = "below the month's money"
CAPPED: Final = "below it, and with the bonus above"
ABOVE: Final = "above the month's money"
KEPT: Final = "kept for the assessment"
RELEASED: Final = "the year's release"
MISSING: Final = "a figure is not supplied"
AFTER_END: Final = "late, when the last budget is over"

Amounts = dict[str, dict[str, str]]


def paid(line: Mapping[str, Any], region: str, policies: Policies) -> Amounts | str:
    """What each institution is due, paid, and what is kept, in yuan; or ``needs`` and the parameter that is not supplied.

    With an ``assessment`` (percent by institution) also what is released of the latter, and what is not.
    """
    in_force(policies, region, str(line["month"]))
    try:
        made = _made(line, region, policies)
    except Stop as stop:
        return str(stop).partition(" for ")[0].partition(" ")[2]
    shown = {one.institution_id: {"due": yuan(one.due), "paid": yuan(one.paid), "retained": yuan(one.retained)} for one in made}
    if results := line.get("assessment"):
        kept = [(one.institution_id, one.retained) for one in made]
        for one in payment.release(kept, {name: Decimal(str(result)) for name, result in results.items()}):
            shown[one.institution_id] |= {"released": yuan(one.released), "forfeited": yuan(one.forfeited)}
    return shown


def shows(line: Mapping[str, Any], region: str, policies: Policies) -> set[str]:
    """Which of the rules of payment a line is an example of."""
    try:
        figured = _figured(line, region, policies)
    except Stop:
        return {MISSING}
    if figured is None:
        _, rule = in_force(policies, region, str(line["month"]))
        return {AFTER_END if isinstance(rule, MonthlyBudget) else BY_ITEM}
    terms, budget = figured
    incurred = sum(fen(cost) for cost in line["incurred"].values())
    month = budget.of(number_of(str(line["month"])))
    full = payment.due_in_all(incurred, 2 * incurred, terms.bonus)
    case = ABOVE if incurred > month else CAPPED if full > month else BELOW
    return {case, *((KEPT,) if terms.at_once < PPM else ()), *((RELEASED,) if "assessment" in line else ())}


def cited(region: str, policies: Policies) -> set[str]:
    """The articles that the region's payment section rests on."""
    sections = (version.payment for version in policies.versions if version.region == region)
    return {one.article for section in sections for _, one in cited_in(section, "")}


def _made(line: Mapping[str, Any], region: str, policies: Policies) -> list[Paid]:
    owed = [Owed(name, fen(cost), 0, 0) for name, cost in line["incurred"].items()]
    figured = _figured(line, region, policies)
    if figured is None:
        return payment.by_item(owed)
    terms, budget = figured
    return payment.by_budget(owed, budget.of(number_of(str(line["month"]))), terms)


def _figured(line: Mapping[str, Any], region: str, policies: Policies) -> tuple[Terms, Budget] | None:
    """The figures of the line's month; None where institutions are paid by item. Raises Stop for one that is not supplied."""
    month = str(line["month"])
    version, rule = in_force(policies, region, month)
    if not isinstance(rule, MonthlyBudget) or not has_budget(version, rule, month):
        return None
    terms = payment.terms(rule, version, last_day(month))
    return terms, payment.budget(terms, payment.figure(rule.elsewhere, version, last_day(month)))
