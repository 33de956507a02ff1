"""A day of claims, made up: bills of every kind, and what else a day brings - repeats, conflicts, reversals, mistakes.

Pure given the seed: the same arguments give the same lines on any machine. Lines come in the order of their
arrival, and ``submitted_at`` is that arrival. The shares are constants, so that a test can hold them against the feed.
"""

import heapq
from bisect import bisect
from collections.abc import Callable, Iterator, Sequence
from datetime import date, datetime, timedelta
from itertools import accumulate
from random import Random
from typing import Final, TypeVar

from services.ops.population import Grant, Line, Person, Population, Town
from shared.calendar import SHANGHAI
from shared.money import half_up, yuan

T = TypeVar("T")
DAY: Final = date(2023, 6, 15)  # all five cities' texts are in force on it

# Of every hundred bills, so many arrive from hour to hour (from 0:00 on): two peaks, as outpatient counters have them.
HOURS: Final = (0.2, 0.1, 0.1, 0.1, 0.1, 0.3, 1, 4, 11, 14, 13, 7, 4, 5, 10, 11, 8, 4, 2.5, 2, 1.5, 0.6, 0.3, 0.2)

# Of all bills:
AT_HOSPITAL: Final = 0.42
AT_PHARMACY: Final = 0.28  # the rest: at clinics
BY_INTERNET: Final = 0.02
BY_HAND: Final = 0.01  # manual reimbursement of an earlier visit
EARLIER_DAY: Final = 0.08  # uploaded late
EMERGENCY: Final = 0.02
PRICED_BY_LINES: Final = 0.15
USES_ACCOUNT: Final = 0.75
EXCLUDED: Final = 0.004
UNFILED_ELSEWHERE: Final = 0.01
UNKNOWN_MEMBER: Final = 0.002
UNKNOWN_PLACE: Final = 0.001
NOT_SERVED: Final = 0.001  # insured in a region that is not here
PAID_BY_A_STRANGER: Final = 0.002
OTHER_BENEFITS: Final = {"653100": ("day_surgery", 0.003), "420300": ("maternity", 0.003)}  # where the texts know them

# Of what could be so: of bills at pharmacies, of bills of the qualified, of those who filed, of those with a family payer.
PRESCRIBED: Final = 0.7
TAKES_BENEFIT: Final = 0.5
TREATED_WHERE_FILED: Final = 0.6
FAMILY_PAYS: Final = 0.5

# Beside the bills, for each of them:
ACCOUNT_USED: Final = 0.03
REPEATED: Final = 0.02
IN_CONFLICT: Final = 0.004
REVERSED: Final = 0.015
REVERSED_TWICE: Final = 0.2  # of the reversed
REVERSED_FIRST: Final = 0.001
MALFORMED: Final = 0.005
SUM_MISMATCH: Final = 0.002
IN_FUTURE: Final = 0.001
CORRECTED: Final = 0.6  # of the mistaken, later, under the same number
BROKEN: Final = 0.001  # bytes that are no JSON; only where they are asked for

MEDIAN_BILL_FEN: Final = 165_00
_FULL_DAY: Final = 86_400
_HOURS_UP_TO: Final = (0.0, *accumulate(HOURS))
_EXCLUSIONS: Final = ("work_injury", "third_party", "public_health", "abroad", "wellness")
_AT_PHARMACY: Final = ("drugs", "drugs", "drugs", "devices", "consumables", "wellness")
_ELSEWHERE: Final = ("own_share", "own_share", "own_share", "own_share", "tcm_preventive", "premium", "fitness")

_MISTAKES: Final[tuple[Callable[[Line], Line], ...]] = (
    lambda bill: bill | {"total": float(bill["total"])},
    lambda bill: bill | {"total": bill["total"] + "0"},
    lambda bill: {name: value for name, value in bill.items() if name != "channel"},
    lambda bill: bill | {"visited_at": bill["visited_at"][:10]},
    lambda bill: bill | {"hospital_name": "人民医院"},
    lambda bill: bill | {"benefit": "outpatient"},
    lambda bill: bill | {"member_id": None},
)


def generate(
    claims: int, members: int, regions: Sequence[str], seed: int, *, broken: bool = False, zipf: float = 0.0
) -> Iterator[Line | bytes]:
    """The register of so many members, then a day with so many bills and all that goes with them.

    ``broken`` adds lines that nobody can read, as bytes. ``zipf`` (0 up to 1): the exponent by which people and places
    are met; at 0.6 a tenth of them has 40 % of the bills. Raises ValueError where nobody is there to be billed.
    """
    if not 0 <= zipf < 1:
        raise ValueError("an exponent from 0 up to, and without, 1")
    if members < len(regions) or not regions:
        raise ValueError("at least one region, and a member for each")
    rng = Random(seed)  # noqa: S311 - reproducible, not secret
    tag = f"{seed & 0xFFFF:04x}"
    population = Population(members, regions, rng, DAY, tag)
    yield from population.register()
    yield from _Day(population.towns, rng, tag, broken=broken, zipf=zipf).lines(claims)


def _arrival(at: float) -> float:
    """The second of the day by which a share of the bills (0…1) has arrived."""
    target = at * _HOURS_UP_TO[-1]
    hour = bisect(_HOURS_UP_TO, target) - 1
    return 3600 * (hour + (target - _HOURS_UP_TO[hour]) / HOURS[hour])


def _instant(second: float, day: date = DAY) -> str:
    moment = datetime(day.year, day.month, day.day, tzinfo=SHANGHAI) + timedelta(seconds=int(second))
    return moment.isoformat()


class _Day:
    """The day while it passes: what is still to arrive waits by its time."""

    def __init__(self, towns: Sequence[Town], rng: Random, tag: str, *, broken: bool, zipf: float) -> None:
        self._towns = towns
        self._town_of = {town.region: town for town in towns}
        self._people = [person for town in towns for person in town.people]
        self._rng = rng
        self._tag = tag
        self._broken = broken
        self._zipf = zipf
        self._waiting: list[tuple[float, int, Line]] = []
        self._count = 0

    def lines(self, claims: int) -> Iterator[Line | bytes]:
        """All lines in the order of arrival."""
        for number in range(claims):
            second = _arrival((number + self._rng.random()) / claims)
            while self._waiting and self._waiting[0][0] <= second:
                yield heapq.heappop(self._waiting)[2]
            first = self._first(self._bill(number, second), second)
            yield first
            if self._broken and self._rng.random() < BROKEN:
                yield repr(first).encode()[: self._rng.randrange(1, 200)]
        while self._waiting:
            yield heapq.heappop(self._waiting)[2]

    def _later(self, second: float, line: Line, *, most: int = 3600) -> None:
        """Lets a line arrive within ``most`` seconds, or by midnight."""
        due = min(second + self._rng.uniform(1, most), _FULL_DAY - 1)
        stamp = {"claim": "submitted_at", "reversal": "reversed_at"}.get(line["type"])
        self._count += 1
        heapq.heappush(self._waiting, (due, self._count, line | {stamp: _instant(due)} if stamp else line))

    def _first(self, bill: Line, second: float) -> Line:
        """What arrives first under a bill's number; what follows it is put off."""
        chance = self._rng.random
        if chance() < ACCOUNT_USED:
            self._later(second, self._account_use(bill))
        at = chance()
        for share, spoil in (
            (MALFORMED, self._rng.choice(_MISTAKES)),
            (SUM_MISMATCH, self._wrong_total),
            (IN_FUTURE, self._future_visit),
        ):
            if at < share:
                if chance() < CORRECTED:
                    self._later(second, bill)
                return spoil(bill)
            at -= share
        if chance() < REVERSED_FIRST:
            self._later(second, bill)
            return self._reversal(bill, second)
        if chance() < REPEATED:
            self._later(second, bill, most=600)
        if chance() < IN_CONFLICT:
            self._later(second, bill | {"emergency": not bill["emergency"]})
        if chance() < REVERSED:
            self._later(second, self._reversal(bill, second))
            if chance() < REVERSED_TWICE:
                self._later(second, self._reversal(bill, second))
        return bill

    def _wrong_total(self, bill: Line) -> Line:
        return bill | {"total": bill["total"][:-2] + ("01" if bill["total"].endswith("00") else "00")}

    def _future_visit(self, bill: Line) -> Line:
        return bill | {"visited_at": _instant(self._rng.randrange(_FULL_DAY), DAY + timedelta(days=1))}

    def _reversal(self, bill: Line, second: float) -> Line:
        return {
            "type": "reversal", "claim_no": bill["claim_no"], "institution_id": bill["institution_id"],
            "reversed_at": _instant(second), "reason": self._rng.choice(("退费", "重复收费", "录入错误")),
        }  # fmt: skip

    def _account_use(self, bill: Line) -> Line:
        purposes = _AT_PHARMACY if bill["institution_id"].startswith("P") else _ELSEWHERE
        return {
            "type": "account_use", "use_no": "U" + bill["claim_no"], "institution_id": bill["institution_id"],
            "member_id": bill["member_id"], "purpose": self._rng.choice(purposes),
            "amount": yuan(int(self._rng.lognormvariate(0, 0.6) * 60_00)), "used_at": bill["visited_at"],
        }  # fmt: skip

    def _bill(self, number: int, second: float) -> Line:
        rng, chance = self._rng, self._rng.random
        person = self._met(rng.choice(self._towns).people) if self._zipf else rng.choice(self._people)
        town = self._town_of[person.region]
        care = self._where(town, person)
        kind, place = self._place(care)
        bill: Line = {
            "type": "claim", "claim_no": f"{DAY:%Y%m%d}{self._tag}{number:08d}", "institution_id": place,
            "member_id": person.member_id, "benefit": "ordinary", "channel": "internet" if kind == "internet" else "direct",
            "emergency": kind == "hospital" and chance() < EMERGENCY, "use_account": chance() < USES_ACCOUNT,
            "visited_at": _instant(max(0, second - rng.randrange(60, 7200))), "submitted_at": _instant(second),
        }  # fmt: skip
        if care is not town:
            bill["insured_region"] = person.region
        if kind == "pharmacy" and chance() < PRESCRIBED:
            bill["prescribed_by"] = rng.choice(care.by_kind["hospital"])
        if person.grants and chance() < TAKES_BENEFIT:
            bill |= _granted(rng.choice(person.grants))
        elif person.region in OTHER_BENEFITS and chance() < OTHER_BENEFITS[person.region][1]:
            bill["benefit"] = OTHER_BENEFITS[person.region][0]
        self._when(bill, second)
        self._who_pays(bill, person)
        self._oddities(bill)
        return bill | (self._priced(care) if chance() < PRICED_BY_LINES else self._divided())

    def _met(self, ranked: Sequence[T]) -> T:
        """One of them by rank, as often as Zipf's law has it; with an exponent of 0, anyone."""
        return ranked[int(len(ranked) * self._rng.random() ** (1 / (1 - self._zipf)))] if self._zipf else self._rng.choice(ranked)

    def _where(self, home: Town, person: Person) -> Town:
        if person.away is not None and self._rng.random() < TREATED_WHERE_FILED:
            return self._town_of[person.away]
        return self._rng.choice(self._towns) if self._rng.random() < UNFILED_ELSEWHERE else home

    def _place(self, town: Town) -> tuple[str, str]:
        at = self._rng.random()
        if at < BY_INTERNET:
            return "internet", self._met(town.by_kind["internet"])
        if at < BY_INTERNET + AT_HOSPITAL:
            return "hospital", self._met(town.by_kind["hospital"] + town.by_kind["psychiatric"])
        if at < BY_INTERNET + AT_HOSPITAL + AT_PHARMACY:
            return "pharmacy", self._met(town.by_kind["pharmacy"])
        return "clinic", self._met(town.clinics())

    def _when(self, bill: Line, second: float) -> None:
        """Most are billed on the day of the visit; some are uploaded days later, a few come by hand after months."""
        at = self._rng.random()
        if at < BY_HAND:
            bill["channel"] = "manual"
            bill["visited_at"] = _instant(second, DAY - timedelta(days=self._rng.randrange(30, 240)))
        elif at < BY_HAND + EARLIER_DAY:
            bill["visited_at"] = _instant(second, DAY - timedelta(days=self._rng.randrange(1, 15)))

    def _who_pays(self, bill: Line, person: Person) -> None:
        if not bill["use_account"]:
            return
        if person.payer is not None and self._rng.random() < FAMILY_PAYS:
            bill["family_payer"] = person.payer
        elif self._rng.random() < PAID_BY_A_STRANGER:
            bill["family_payer"] = self._rng.choice(self._town_of[person.region].people).member_id

    def _oddities(self, bill: Line) -> None:
        at = self._rng.random()
        for share, change in (
            (EXCLUDED, {"excluded_as": self._rng.choice(_EXCLUSIONS)}),
            (UNKNOWN_MEMBER, {"member_id": "X" + bill["member_id"]}),
            (UNKNOWN_PLACE, {"institution_id": "H999999" + bill["institution_id"][-5:]}),
            (NOT_SERVED, {"member_id": "999999" + bill["member_id"][6:], "insured_region": "999999"}),
        ):
            if at < share:
                bill.update(change)
                return
            at -= share

    def _divided(self) -> Line:
        """The four amounts of a bill (fen inside): a few all own-paid, most with little outside the scope."""
        rng = self._rng
        total = max(100, int(MEDIAN_BILL_FEN * rng.lognormvariate(0, 0.9)))
        own_paid = total if rng.random() < 0.01 else int(total * rng.random() ** 3 * 0.3)
        over_limit = int((total - own_paid) * 0.05) if rng.random() < 0.1 else 0
        pre_self_pay = int((total - own_paid - over_limit) * rng.choice((0, 0.03, 0.05, 0.1)))
        return {
            "total": yuan(total), "own_paid": yuan(own_paid), "over_limit": yuan(over_limit),
            "pre_self_pay": yuan(pre_self_pay), "in_scope": yuan(total - own_paid - over_limit - pre_self_pay),
        }  # fmt: skip

    def _priced(self, town: Town) -> Line:
        """One to five items of the catalogue of the place of care; now and then one that it does not have."""
        rng = self._rng
        lines, total = [], 0
        for line_no in range(1, rng.randrange(2, 7)):
            code, price = rng.choice(town.items)
            halves = rng.randrange(1, 7)
            amount = half_up(price * halves, 2 * 10_000)
            total += amount
            lines.append({
                "line_no": line_no, "code": code if rng.random() > 0.01 else "Z" + code, "quantity": str(halves / 2),
                "unit_price": f"{price // 10**6}.{price % 10**6:06d}", "amount": yuan(amount),
            })  # fmt: skip
        return {"total": yuan(total), "lines": lines}


def _granted(grant: Grant) -> Line:
    """What a bill says to make use of a grant."""
    if grant.institution_id is None:
        return {"benefit": grant.benefit}
    return {"benefit": grant.benefit, "institution_id": grant.institution_id, "doctor_id": grant.doctor_id}
