"""A month's payment and a year's release, each one transaction: all of it or nothing; and once, however often commanded."""

import calendar
from collections.abc import Mapping
from datetime import date
from decimal import Decimal
from typing import Any, NamedTuple

from services.account import payment, payment_store
from services.account.payment import MONTHS, Budget, Forecast, Paid, Released, Terms
from services.account.payment_store import Rule, Tx
from shared.errors import Stop
from shared.policy import Policies, Version
from shared.policy.payment import ByItem, MonthlyBudget, Payment
from shared.runtime.command import log_command, who


class Asked(NamedTuple):
    """What is to be paid, and why."""

    region: str
    month: str
    why: str

    @property
    def last_day(self) -> date:
        return last_day(self.month)


class Figured(NamedTuple):
    """The figures of a month: what it is paid by."""

    terms: Terms
    budget: Budget
    estimated: bool  # remote and emergency care is the operator's estimate, not what was booked

    def grounds(self, month: str) -> dict[str, Any]:
        """As they are kept with the payment."""
        terms, budget = self.terms._asdict(), self.budget._asdict()
        return (
            terms
            | {f"year_{name}": value for name, value in budget.items()}
            | {
                "elsewhere_estimated": self.estimated,
                "month": self.budget.of(number_of(month)),
            }
        )


def _months(year: int) -> list[str]:
    return [f"{year}-{number:02d}" for number in range(1, MONTHS + 1)]


def last_day(month: str) -> date:
    """The last day of a month like 2023-05."""
    year, number = int(month[:4]), number_of(month)
    return date(year, number, calendar.monthrange(year, number)[1])


def number_of(month: str) -> int:
    """1 to 12."""
    return int(month[5:])


def in_force(policies: Policies, region: str, *months: str) -> tuple[Version, Payment]:
    """How the region pays for the last of these months that a policy was in force in. Raises Stop.

    After the end of the last policy what comes late is still owed: by item, where that policy paid so, or says so of its end.
    """
    if not policies.serves(region):
        raise Stop(f"there is no policy pack for region {region}; there are {', '.join(policies.regions)}")
    version = _version(policies, region, *months)
    if version is None or version.payment is None:
        raise Stop(f"no policy of region {region} says how institutions are paid in {months[-1]}")
    return version, version.payment


def _version(policies: Policies, region: str, *months: str) -> Version | None:
    days = (day for month in reversed(months) for day in (last_day(month), date.fromisoformat(f"{month}-01")))
    version = next((found for day in days if (found := policies.on(region, day)) is not None), None)
    return version or _ended(policies, region, last_day(months[-1]))


def _ended(policies: Policies, region: str, day: date) -> Version | None:
    """The last policy that ended before the day, if what comes late is paid by item."""
    over = [version for version in policies.versions if version.region == region and version.end and version.end < day]
    last = max(over, key=lambda version: version.start, default=None)
    if last is None:
        return None
    late = last.payment.after_end if isinstance(last.payment, MonthlyBudget) else last.payment
    return last if isinstance(late, ByItem) else None


def has_budget(version: Version, rule: Payment, month: str) -> bool:
    """Whether a month has money of its own: by a budget, as long as its policy is in force."""
    return isinstance(rule, MonthlyBudget) and (version.end is None or date.fromisoformat(f"{month}-01") <= version.end)


async def pay(tx: Tx, policies: Policies, asked: Asked) -> list[Paid]:
    """Pays a region's institutions for a month that is over; what was paid already is said again. Raises Stop."""
    region, month, why = asked
    version, rule = in_force(policies, region, month)
    await payment_store.alone(tx, region)
    today = await payment_store.today(tx)
    if asked.last_day.isoformat() >= today:
        raise Stop(f"{month} is not over: institutions are paid for a month once it is (today is {today})")
    before = await payment_store.run_of(tx, region, month)
    figured = await _figured(tx, version, rule, month)
    if before is not None:
        _same_figures(before, figured, month)
        return await payment_store.paid(tx, region, month)
    if await payment_store.released(tx, region, asked.last_day.year):
        raise Stop(f"what was kept of {asked.last_day.year} is released: what {month} still costs is paid with a later month")
    grounds = figured.grounds(month) if figured else {}
    name = rule.rule if figured else "by_item"
    grounds |= {"pack": version.ref.hash, "rule": name}
    await payment_store.begin(tx, region, month, rule=name, grounds=grounds, by=(who(), why))
    owed = await payment_store.take(tx, rule_of(region, rule), month)
    paid = payment.by_budget(owed, figured.budget.of(number_of(month)), figured.terms) if figured else payment.by_item(owed)
    await payment_store.book(tx, region, month, paid)
    sums = {name: sum(getattr(one, name) for one in paid) for name in ("incurred", "due", "paid", "retained", "other")}
    carried = {one.institution_id: one.carried for one in paid if one.carried}  # what waited then, nothing else tells later
    after = {"region": region, "month": month, "institutions": len(paid), "carried": carried} | sums
    await log_command(tx, "fund pay", why, {"region": region, "month": month, "paid": False}, after)
    return paid


def rule_of(region: str, rule: Payment) -> Rule:
    """Whose cost is paid how."""
    return Rule(region, list(rule.benefits) if isinstance(rule, MonthlyBudget) else None)


async def _figured(tx: Tx, version: Version, rule: Payment, month: str) -> Figured | None:
    """The figures of a budget; None where institutions are paid by item."""
    if not isinstance(rule, MonthlyBudget) or not has_budget(version, rule, month):
        return None
    day = last_day(month)
    terms = payment.terms(rule, version, day)
    over = str(day.year) < (await payment_store.today(tx))[:4]
    if over:
        elsewhere = await payment_store.elsewhere(tx, rule_of(version.region, rule), day.year)
    else:
        elsewhere = payment.figure(rule.elsewhere, version, day)
    return Figured(terms, payment.budget(terms, elsewhere), estimated=not over)


def _same_figures(before: Mapping[str, Any], figured: Figured | None, month: str) -> None:
    """A second run with other figures is a mistake. What was booked of remote care may have grown since, and is none."""
    if figured is None:
        return
    now = figured.grounds(month)
    names = list(Terms._fields)
    if before.get("elsewhere_estimated") and now["elsewhere_estimated"]:
        names.append("year_elsewhere")
    other = [f"{name}: {before.get(name)} then, {now[name]} now" for name in names if before.get(name) != now[name]]
    if other:
        raise Stop(f"{month} was paid by other figures, and what was paid stands ({'; '.join(other)})")


async def release(
    tx: Tx, policies: Policies, asked: tuple[str, int, str], results: dict[str, Decimal], everybody: Decimal | None
) -> list[Released]:
    """Releases what was kept of a year by the assessment's results (percent); what was released is said again. Raises Stop."""
    region, year, why = asked
    _, rule = in_force(policies, region, *_months(year))
    await payment_store.alone(tx, region)
    today = await payment_store.today(tx)
    if today[:4] <= str(year):
        raise Stop(f"{year} is not over: what is kept of it is released by the year's assessment (today is {today})")
    before = await payment_store.released(tx, region, year)
    kept = await payment_store.retained(tx, region, year)
    known = {one.institution_id for one in before} | {institution_id for institution_id, _ in kept}
    if unknown := sorted(set(results) - known):
        raise Stop(f"nothing of {year} is kept of {', '.join(unknown)}")
    if before:
        wanted = {one.institution_id: results.get(one.institution_id, everybody) for one in before}
        other = [one.institution_id for one in before if wanted[one.institution_id] not in {None, one.result}]
        if other:
            raise Stop(f"{year} was released by other results for {', '.join(other)}; what was released stands")
        return before
    missing = [institution_id for institution_id, _ in kept if institution_id not in results and everybody is None]
    if missing:
        raise Stop(f"the assessment's result is missing for {', '.join(missing)}")
    if not kept:
        raise Stop(f"nothing is kept of {year} in {region}")
    # What a month before the first policy cost can never be paid: it must not hold up the year.
    unpaid = [month for month in await payment_store.unpaid(tx, rule_of(region, rule), year) if _version(policies, region, month)]
    if unpaid:
        raise Stop(f"cost of {', '.join(unpaid)} is not paid: pay these first, which cannot be once {year} is released")
    try:
        made = payment.release(kept, {name: everybody or Decimal(0) for name, _ in kept} | results)
    except ValueError as error:
        raise Stop(f"--result: {error}") from error
    await payment_store.book_release(tx, region, year, made, by=(who(), why))
    sums = {name: sum(getattr(one, name) for one in made) for name in ("retained", "released", "forfeited")}
    after = {"institutions": len(made), "results": {one.institution_id: str(one.result) for one in made}} | sums
    await log_command(tx, "fund release", why, {"region": region, "year": year}, after)
    return made


class MonthSoFar(NamedTuple):
    """One month of a year's status. ``state``: paid; open (it has cost, or is over); coming.

    A paid month's money is what it was paid by, whatever the year's figures have become since.
    """

    month: str
    state: str
    allocatable: int | None
    incurred: int
    due: int
    paid: int
    retained: int
    left: int | None  # of the year's allocatable, after this month


class Status(NamedTuple):
    """A region's year: its budget (None by item), its months, where it is going."""

    rule: str
    budget: Budget | None
    months: list[MonthSoFar]
    forecast: Forecast | None


async def status(tx: Tx, policies: Policies, region: str, year: int) -> Status:
    """The burn-down of a year's budget by month, and its forecast. Raises Stop."""
    names = _months(year)
    version, rule = in_force(policies, region, *names)
    with_budget = [name for name in names if has_budget(version, rule, name)]
    figured = await _figured(tx, version, rule, with_budget[-1]) if with_budget else None
    costs = await payment_store.unpaid(tx, rule_of(region, rule), year)
    paid = await payment_store.months(tx, region, year)
    today = await payment_store.today(tx)
    left = figured.budget.allocatable if figured else None
    rows, cost_so_far = [], []
    for number, name in enumerate(names, 1):
        today_allocatable = figured.budget.of(number) if figured and name in with_budget else None
        allocatable, incurred, due, at_once, kept = paid.get(name, (today_allocatable, costs.get(name, 0), 0, 0, 0))
        state = "paid" if name in paid else "open" if incurred or name < today[:7] else "coming"
        left = left - (due if name in paid else incurred) if left is not None else None
        rows.append(MonthSoFar(name, state, allocatable, incurred, due, at_once, kept, left))
        if state != "coming":
            cost_so_far.append(incurred)
    going = payment.forecast(cost_so_far, figured.budget.allocatable) if figured else None
    return Status(rule.rule if figured else "by_item", figured.budget if figured else None, rows, going)
