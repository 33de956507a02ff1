"""Compiles a benefit of a version into a plan: tables looked up, parameters filled in, only numbers left."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import date
from decimal import ROUND_HALF_UP, Decimal
from typing import Any

from services.adjudication import rules
from services.adjudication.counters import VISIT_CLAIMS, VISIT_DEDUCTIBLE, VISIT_FIRST, VISIT_FUND, VISITS
from services.adjudication.plan import Compiled, Kind, Missing, NoBenefit, Plan
from shared.money import yuan
from shared.policy import Version
from shared.policy.benefits import (
    AbovePooledCap,
    AnnualCap,
    AnnualDeductible,
    Benefit,
    PooledCap,
    Ratio,
    Remainder,
    SpillOver,
    SupplementStep,
    Tally,
    VisitCap,
    VisitDeductible,
)
from shared.policy.figure import Row, exact
from shared.reasons import Reason, reason


class Compiler:
    """Turns one benefit of a version into a plan."""

    def __init__(self, version: Version, day: date, kind: Kind) -> None:
        self.version = version
        self.day = day
        self.kind = kind
        self.name: Benefit = version.benefits.ordinary
        self.missing: Missing | NoBenefit | None = None
        self.counters: dict[str, None] = {}  # a set that keeps its order
        self.fund_counters: list[str] = []
        self.ceilings: dict[str, int] = {}
        self.articles: dict[str, None] = {}
        self.pays_remainder = False
        self.pooled_cap_enforced = False

    def plan(self) -> Plan:
        """The plan; one that lacks a parameter says which."""
        base = self.kind.benefit.partition(":")[0]
        benefit: Benefit | None = getattr(self.version.benefits, base, None)
        if not isinstance(benefit, Benefit):
            return Plan(missing=NoBenefit(base, self.version.benefits.ordinary.article))
        self.name = benefit
        self.articles[benefit.article] = None
        if self.kind.level_article is not None:
            self.articles[self.kind.level_article] = None
        pool = [self._compile(step) for step in benefit.pool]
        after = [self._compile(step) for step in benefit.after]
        return Plan(
            pool=tuple(step for step in pool if step is not None),
            after=tuple(step for step in after if step is not None),
            counters=tuple(self.counters),
            fund_counters=tuple(self.fund_counters),
            ceilings=self.ceilings,
            articles=tuple(self.articles),
            pays_remainder=self.pays_remainder,
            missing=self.missing,
        )

    def _compile(self, step: Any) -> Compiled | None:
        return _COMPILERS[type(step)](self, step)

    def annual_deductible(self, step: AnnualDeductible) -> Compiled:
        """One figure and the accumulator it runs over."""
        amount, article = self._figure(step.amount)
        why = reason("within_deductible", article=article, zh=f"{yuan(amount)}元", en=f"{yuan(amount)} yuan")
        rule = rules.Deductible(amount, self._use(self._counter(step.counter)), article, why)
        return rules.annual_deductible, rule

    def visit_deductible(self, step: VisitDeductible) -> Compiled:
        """Two figures, and the accumulators that tell visits apart."""
        first, article = self._figure(step.first)
        later, _ = self._figure(step.later)
        for name in (VISITS, VISIT_CLAIMS, VISIT_FIRST, VISIT_DEDUCTIBLE):
            self._use(name)
        why = reason(
            "within_deductible",
            article=article,
            zh=f"首次{yuan(first)}元，其后{yuan(later)}元",
            en=f"{yuan(first)} yuan for the first visit, {yuan(later)} for later ones",
        )
        return rules.visit_deductible, rules.VisitDeductible(first, later, article, why)

    def ratio(self, step: Ratio) -> Compiled:
        """The table's figure, and the points on top."""
        ppm, article = self._figure(step.table)
        for row in step.add:
            if row.holds_for(self.kind.status, self.kind.place) and row.holds_on(self.day):
                ppm += self._figure((row,))[0]
        return rules.ratio, rules.Ratio(ppm, article)

    def visit_cap(self, step: VisitCap) -> Compiled:
        """Over one visit."""
        return rules.visit_cap, self._cap(step.amount, VISIT_FUND, "单次限额", "cap of one visit")

    def annual_cap(self, step: AnnualCap) -> Compiled:
        """Over the period."""
        return rules.annual_cap, self._cap(step.amount, self._counter(step.counter), "年度限额", "annual cap")

    def _cap(self, amount: Sequence[Row], counter: str, zh: str, en: str) -> rules.Cap:
        limit, article = self._figure(amount)
        self._use(counter)
        self.fund_counters.append(counter)
        self.ceilings[counter] = limit
        why = _cap_reached(article, f"{self.name.zh}{zh}", f"{self.name.en}, {en}", limit)
        return rules.Cap(limit, counter, article, why)

    def pooled_cap(self, step: PooledCap) -> Compiled | None:
        """Counted always; enforced when the operator has supplied the cap."""
        self.articles[step.article] = None
        counter = self._counter(step.counter)
        if isinstance(self._look_up(step.amount), Missing):
            self._use(counter)
            self.fund_counters.append(counter)
            return None
        self.pooled_cap_enforced = True
        cap = self._cap(step.amount, counter, "计入的统筹基金年度限额", "annual cap of the pooled fund")
        return rules.pooled_cap, cap

    def supplement(self, step: SupplementStep | AbovePooledCap) -> Compiled | None:
        """For those who have it; above the pooled cap only where that is enforced. What is missing stops whom it reaches."""
        if step.fund not in self.kind.entitlements:
            return None
        if isinstance(step, AbovePooledCap) and not self.pooled_cap_enforced:
            return None
        ratio, cap = self._look_up(step.ratio), self._look_up(step.cap)
        missing = next((found for found in (ratio, cap) if isinstance(found, Missing)), None)
        article, capped_by = (found.article if isinstance(found, Missing) else found[1] for found in (ratio, cap))
        limit = 0 if isinstance(cap, Missing) else cap[0]
        counter = self._use(step.counter or f"{step.fund}.fund")
        rule = rules.Supplement(
            fund=step.fund,
            ppm=0 if isinstance(ratio, Missing) else ratio[0],
            cap=limit,
            counter=counter,
            article=article,
            reason=_cap_reached(capped_by, *_SUPPLEMENTS[step.fund], limit),
            missing=missing,
        )
        self.articles |= {article: None, capped_by: None}
        return (rules.supplement if isinstance(step, SupplementStep) else rules.above_pooled_cap), rule

    def spill_over(self, step: SpillOver) -> Compiled:
        """The other benefit's plan, for the same member and place."""
        other = Compiler(self.version, self.day, self.kind._replace(benefit=step.to)).plan()
        self.missing = self.missing or other.missing
        for name in other.counters:
            self._use(name)
        return rules.spill_over, rules.SpillOver(other, step.article)

    def tally(self, step: Tally) -> Compiled:
        """Only counts."""
        self.articles[step.article] = None
        return rules.tally, rules.Tally(self._use(step.counter), step.article)

    def remainder(self, step: Remainder) -> Compiled | None:
        """For those entitled, at medical institutions."""
        if step.entitled not in self.kind.entitlements or self.kind.pharmacy:
            return None
        self.pays_remainder = True
        self.articles[step.article] = None
        return rules.remainder, rules.Remainder(step.fund, step.of, step.article)

    def _counter(self, name: str) -> str:
        return name.replace("{benefit}", self.kind.benefit)

    def _use(self, counter: str) -> str:
        self.counters[counter] = None
        return counter

    def _figure(self, rows: Sequence[Row]) -> tuple[int, str]:
        """The figure that holds for the plan, with its article; zero, and ``missing`` set, where it is not supplied."""
        found = self._look_up(rows)
        if isinstance(found, Missing):
            self.missing = self.missing or found
            return 0, found.article
        self.articles[found[1]] = None
        return found

    def _look_up(self, rows: Sequence[Row]) -> tuple[int, str] | Missing:
        for row in rows:
            if row.holds_for(self.kind.status, self.kind.place) and row.holds_on(self.day):
                if row.value is not None:
                    return exact(row.value, row.unit), row.article
                return self._parameter(row)
        raise LookupError(f"no row for {self.kind} on {self.day}")  # lint refuses such a pack

    def _parameter(self, row: Row) -> tuple[int, str] | Missing:
        assert row.needs is not None
        name = self._counter(row.needs)
        value = self._supplied(name)
        if value is not None:
            return exact(value, row.unit), row.article
        if row.share_of is not None:
            whole = self._supplied(row.share_of.of)
            if whole is not None:
                part = whole * row.share_of.percent / 100
                return exact(part.quantize(Decimal("0.01"), ROUND_HALF_UP), row.unit), row.article
            name = f"{name} / {row.share_of.of}"
        return Missing(name, row.unit, row.article)

    def _supplied(self, name: str) -> Decimal | None:
        given = self.version.figures.at(name, self.day)
        if given is None or isinstance(given, Decimal):
            return given
        for row in given:
            if row.holds_for(self.kind.status, self.kind.place):
                return row.value
        return None


_COMPILERS: dict[type, Callable[[Compiler, Any], Compiled | None]] = {
    AnnualDeductible: Compiler.annual_deductible,
    VisitDeductible: Compiler.visit_deductible,
    Ratio: Compiler.ratio,
    VisitCap: Compiler.visit_cap,
    AnnualCap: Compiler.annual_cap,
    PooledCap: Compiler.pooled_cap,
    SupplementStep: Compiler.supplement,
    AbovePooledCap: Compiler.supplement,
    SpillOver: Compiler.spill_over,
    Remainder: Compiler.remainder,
    Tally: Compiler.tally,
}
_SUPPLEMENTS = {
    "civil_servant": ("公务员医疗补助年度限额", "annual cap of the civil-servant supplement"),
    "large_expense": ("职工大额医疗费用补助年度限额", "annual cap of the large-expense supplement"),
}


def _cap_reached(article: str, zh: str, en: str, limit: int) -> Reason:
    return reason("cap_reached", article=article, zh=f"{zh}{yuan(limit)}元", en=f"{en}, {yuan(limit)} yuan")
