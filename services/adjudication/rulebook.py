"""A version's rulebook: its plans, compiled when they are first needed and kept; the hot path sees no pydantic."""

from __future__ import annotations

from bisect import bisect_right
from datetime import date
from functools import lru_cache

from services.adjudication.compiler import Compiler
from services.adjudication.plan import Kind, Plan
from shared.events import Verdict
from shared.policy import Version


class Rulebook:
    """A version, compiled as far as it was needed."""

    def __init__(self, version: Version) -> None:
        self.version = version
        self._boundaries = version.boundaries()
        self._plans: dict[tuple[int, Kind], Plan] = {}
        self._levels = version.benefits.levels
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

    def place(self, verdict: Verdict) -> tuple[str, str | None]:
        """As what the claim's place counts (level 1, 2 or 3, or a pharmacy in rows of its own), and who says so."""
        levels, institution = self._levels, verdict.institution
        facts, article = institution, None
        if institution is not None and institution.kind == "pharmacy" and levels.pharmacy is not None:
            rule, article = levels.pharmacy.as_, levels.pharmacy.article
            if rule != "prescriber":
                return rule, article
            facts = verdict.prescriber_host or verdict.prescriber
        elif institution is not None and institution.kind == "internet" and levels.internet is not None:
            facts, article = verdict.host or institution, levels.internet.article
        if facts is not None and facts.level in {"1", "2", "3"}:
            return facts.level, article
        return levels.unrated.as_, article or levels.unrated.article

    def plan(self, benefit: str, day: date, verdict: Verdict) -> Plan:
        """The plan for a claim of this benefit on this day, by what the verdict says of member and place."""
        member, institution = verdict.member, verdict.institution
        assert member is not None
        place, level_article = self.place(verdict)
        kind = Kind(
            verdict.benefit or benefit,  # eligibility may put another in place of the claimed one
            member.status,
            place,
            institution is not None and institution.kind == "pharmacy",
            member.supplements,
            level_article,
        )
        key = (bisect_right(self._boundaries, day) - 1, kind)
        plan = self._plans.get(key)
        if plan is None:
            plan = Compiler(self.version, day, kind).plan()
            if plan.missing is None:  # a made-up code never finds its parameters, and must not fill the memory
                self._plans[key] = plan
        return plan
