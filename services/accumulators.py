"""What a member has used and has left of each deductible and cap on a day, with the articles: for the counter's clerk.

The figures come out of the very plans that decide claims. What is used comes from Redis, from Postgres where Redis has
nothing, and then Redis gets it too: the answer is the same.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import date
from typing import Any, Final, NamedTuple

from services.adjudication import rules
from services.adjudication.counters import VISITS, Counter, CounterKey, over
from services.adjudication.plan import Plan
from services.adjudication.rulebook import Rulebook
from services.adjudication.store import PostgresStore as AdjudicationBooks
from services.eligibility.register import Register
from services.eligibility.store import PostgresStore as RegisterBooks
from services.trial import Connections
from shared.events import InstitutionFacts, MemberFacts, Verdict
from shared.money import yuan
from shared.policy import Policies, Version
from shared.policy.benefits import Benefit
from shared.runtime.cache import Cache, Hot

_LEVELS: Final = ("1", "2", "3")
_BY_CODE: Final = ("chronic", "special_drug")


class Limit(NamedTuple):
    """One figure that limits an accumulator, by which article."""

    counter: str
    kind: str  # deductible, cap
    amount: int  # fen
    article: str
    per: str  # period, visit
    later: int | None = None  # fen, instead of ``amount`` when the period has had a visit already


class Accumulators:
    """Shows them. ``connections`` gives read-only sessions."""

    def __init__(self, policies: Policies, cache: Cache, connections: Connections) -> None:
        self._policies = policies
        self._cache = cache
        self._connections = connections
        self._register = RegisterBooks()
        self._books = AdjudicationBooks()

    async def __call__(self, member_id: str, day: date) -> Mapping[str, Any] | None:
        """The member's accumulators on a day; None if the register does not know him. Raises one of ``database.TROUBLE``."""
        async with self._connections() as tx:
            rows = await self._register.members(tx, [member_id])
            member = Register(members=rows).member(member_id, day)
            if member is None:
                return None
            version = self._policies.on(member.region, day)
            shown: dict[str, Any] = {"member_id": member_id, "on": day.isoformat(), "region": member.region}
            if version is None:
                return shown | {"policy": None, "period": None, "counters": []}
            period = Rulebook.of(version).period(day)
            limits = limits_of(version, member, day)
            names = {limit.counter for limit in limits if limit.per == "period"} | {VISITS}
            used = await self._used(tx, member_id, over(version.ref.region, period), names)
        policy = {"region": version.ref.region, "version": version.ref.version, "hash": version.ref.hash}
        return shown | {"policy": policy, "period": period, "counters": list(entries(limits, used))}

    async def _used(self, tx: Any, member_id: str, period: str, names: Iterable[str]) -> dict[str, int]:
        keys = {CounterKey(member_id, period, name) for name in names}
        found = await self._hot(member_id)
        missing = {key for key in keys if key not in found}
        if missing:
            stored = await self._books.read(tx, missing)
            found |= stored
            await self._refresh(stored)
        return {key.name: found[key].used for key in keys if key in found}

    async def _hot(self, member_id: str) -> dict[CounterKey, Counter]:
        try:
            shown = (await self._cache.read([member_id]))[member_id]
        except Cache.TROUBLE:
            return {}
        return {
            CounterKey(member_id, period, name): Counter(used, None, version)
            for (period, name), (used, version) in shown.items()
            if used >= 0 and version >= 0
        }

    async def _refresh(self, stored: Mapping[CounterKey, Counter]) -> None:
        try:
            await self._cache.write([Hot(*key, counter.used, counter.version) for key, counter in stored.items()])
        except Cache.TROUBLE:
            return


def limits_of(version: Version, member: MemberFacts, day: date) -> dict[Limit, dict[str, list[str]]]:
    """Every figure of every benefit the member can claim: for which benefits, at hospitals of which levels. Pure."""
    rulebook = Rulebook.of(version)
    found: dict[Limit, dict[str, list[str]]] = {}
    for benefit in _benefits(version, member):
        for level in _LEVELS:
            place = InstitutionFacts(
                institution_id="", region=member.region, kind="hospital", level=level, designated=True, networked=True
            )
            plan = rulebook.plan(benefit, day, Verdict(member=member, institution=place))
            for limit in _of_plan(plan) if plan.missing is None else ():
                levels = found.setdefault(limit, {}).setdefault(benefit, [])
                if level not in levels:
                    levels.append(level)
    return found


def _benefits(version: Version, member: MemberFacts) -> list[str]:
    """Those of the pack that need no code, and the coded ones that the member is qualified for."""
    plain = [
        name
        for name in type(version.benefits).model_fields
        if name not in _BY_CODE and isinstance(getattr(version.benefits, name), Benefit)
    ]
    return plain + sorted({one.benefit for one in member.qualifications} - set(plain))


def _of_plan(plan: Plan) -> Iterator[Limit]:
    for _, rule in (*plan.pool, *plan.after):
        if isinstance(rule, rules.Deductible):
            yield Limit(rule.counter, "deductible", rule.amount, rule.article, "period")
        elif isinstance(rule, rules.VisitDeductible):
            yield Limit(rule.counter, "deductible", rule.amount, rule.article, "visit", rule.later)
        elif isinstance(rule, rules.Cap):
            per = "visit" if rule.counter.startswith("visit.") else "period"
            yield Limit(rule.counter, "cap", rule.amount, rule.article, per)
        elif isinstance(rule, rules.Supplement) and rule.missing is None:
            yield Limit(rule.counter, "cap", rule.cap, rule.article, "period")
        elif isinstance(rule, rules.SpillOver):
            yield from _of_plan(rule.plan)


def entries(limits: Mapping[Limit, Mapping[str, Sequence[str]]], used: Mapping[str, int]) -> Iterator[dict[str, Any]]:
    """One entry a figure, with what is ``used`` (fen by accumulator) and left of it. Pure.

    Of a visit's own figures nothing is used yet, for the visit is still to come.
    """
    for limit, places in limits.items():
        amount = limit.amount if limit.later is None or not used.get(VISITS) else limit.later
        taken = used.get(limit.counter, 0) if limit.per == "period" else 0
        for levels in dict.fromkeys(tuple(one) for one in places.values()):
            yield {
                "name": limit.counter,
                "kind": limit.kind,
                "per": limit.per,
                "benefits": [benefit for benefit, one in places.items() if tuple(one) == levels],
                "levels": list(levels),
                "limit": yuan(amount),
                "used": yuan(taken),
                "left": yuan(max(0, amount - taken)),
                "article": limit.article,
            }
    if VISITS in used:
        yield {"name": VISITS, "kind": "count", "per": "period", "used": used[VISITS]}
