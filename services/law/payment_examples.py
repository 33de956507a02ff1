"""Worked examples of paying institutions: what each gets for a month. ``policies/README.md`` explains the keys."""

from collections.abc import Mapping
from typing import Any

from services.account import payment
from services.account.payment import Owed, Paid
from services.account.payment_run import in_force, last_day, number_of
from shared.errors import Stop
from shared.money import fen, yuan
from shared.policy import Policies
from shared.policy.lint import cited_in
from shared.policy.payment import MonthlyBudget


def paid(line: Mapping[str, Any], region: str, policies: Policies) -> dict[str, dict[str, str]] | str:
    """What each institution is due, paid, and what is kept, in yuan; or ``needs`` and the parameter that is not supplied."""
    month = str(line["month"])
    version, rule = in_force(policies, region, month)
    owed = [Owed(name, fen(cost), 0, 0) for name, cost in line["incurred"].items()]
    if not isinstance(rule, MonthlyBudget):
        return _shown(payment.by_item(owed))
    try:
        terms = payment.terms(rule, version, last_day(month))
        elsewhere = payment.figure(rule.elsewhere, version, last_day(month))
    except Stop as stop:
        return str(stop).partition(" for ")[0].partition(" ")[2]
    return _shown(payment.by_budget(owed, payment.budget(terms, elsewhere).of(number_of(month)), terms))


def cited(region: str, policies: Policies) -> set[str]:
    """The articles that the region's payment section rests on."""
    sections = (version.payment for version in policies.versions if version.region == region)
    return {one.article for section in sections for _, one in cited_in(section, "")}


def _shown(made: list[Paid]) -> dict[str, dict[str, str]]:
    return {one.institution_id: {"due": yuan(one.due), "paid": yuan(one.paid), "retained": yuan(one.retained)} for one in made}
