"""A version's rulebook: its plans, compiled when they are first needed and kept; the hot path sees no pydantic."""

from __future__ import annotations

from bisect import bisect_right
from datetime import date
from functools import lru_cache

from services.adjudication.compiler import Compiler
from services.adjudication.plan import Kind, Plan
from shared.events import InstitutionFacts, Verdict
from shared.policy import Version


class Rulebook:
    """A version, compiled as far as it was needed."""

    def __init__(self, version: Version) -> None:
        self.version = version
        self._boundaries = version.boundaries()
        self._plans: dict[tuple[int, Kind], Plan] = {}
        levels = version.benefits.levels
        self._unrated = levels.unrated.as_
        self._pharmacy = None if levels.pharmacy is None else levels.pharmacy.as_
        self._special = tuple((span.from_, span.to) for span in version.benefits.period.special)

    @staticmethod
    @lru_cache(maxsize=256)
    def of(version: Version) -> Rulebook:
        """The version's rulebook, one for all who ask."""
        return Rulebook(version)

    def period(self, day: date) -> str:
        """What the accumulators run over on a day: ``2023``, or ``2022-11/2022-12`` where the law says so."""
        for start, end in self._special:
            if start <= day <= end:
                return f"{start:%Y-%m}/{end:%Y-%m}"
        return f"{day.year:04d}"

    def place(self, verdict: Verdict) -> str:
        """As what the claim's place counts: level 1, 2 or 3, or a pharmacy in rows of its own."""
        institution = verdict.institution
        if institution is None:
            return self._unrated
        facts: InstitutionFacts | None = institution
        if institution.kind == "pharmacy":
            if self._pharmacy != "prescriber":
                return self._pharmacy or self._unrated
            facts = verdict.prescriber
        elif institution.kind == "internet":
            facts = verdict.host or institution
        return facts.level if facts is not None and facts.level in {"1", "2", "3"} else self._unrated

    def plan(self, benefit: str, day: date, verdict: Verdict) -> Plan:
        """The plan for a claim of this benefit on this day, by what the verdict says of member and place."""
        member, institution = verdict.member, verdict.institution
        assert member is not None
        kind = Kind(
            verdict.benefit or benefit,  # eligibility may put another in place of the claimed one
            member.status,
            self.place(verdict),
            institution is not None and institution.kind == "pharmacy",
            member.supplements,
        )
        key = (bisect_right(self._boundaries, day) - 1, kind)
        plan = self._plans.get(key)
        if plan is None:
            plan = Compiler(self.version, day, kind).plan()
            if plan.missing is None:  # a made-up code never finds its parameters, and must not fill the memory
                self._plans[key] = plan
        return plan
