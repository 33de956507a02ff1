"""The people and places of a generated day: institutions, catalogues, members, and what is registered of them.

Pure given its random numbers. Nobody here exists; the shares are of the order that the yearbooks report and are
all stated below. Register lines come first in a feed (contract.md, section 1).
"""

from collections.abc import Callable, Iterator, Sequence
from datetime import date, timedelta
from random import Random
from typing import Any, Final, NamedTuple

from shared.money import half_up, yuan

Line = dict[str, Any]

FIRST_DAY: Final = "2022-01-01"  # since when the register knows people and places

RETIRED: Final = 0.27
RETIRED_THIS_YEAR: Final = 0.02  # two lines of history
COVERAGE_ENDED: Final = 0.015
GOVERNMENT: Final = 0.18
FLEXIBLE_FULL: Final = 0.08
FLEXIBLE_POOLED_ONLY: Final = 0.04  # no account
LARGE_EXPENSE: Final = 0.6
VETERAN: Final = 0.004
LINKED: Final = 0.15  # somebody of the family may use the account
FILED_ELSEWHERE: Final = 0.04
IN_HOSPITAL: Final = 0.008

# Benefit, share of the members, and the regions whose texts know it (none named: any).
QUALIFIED: Final[tuple[tuple[str, float, tuple[str, ...]], ...]] = (
    ("hypertension", 0.12, ("511900",)),
    ("diabetes", 0.06, ("511900",)),
    ("chronic:M03900", 0.01, ()),
    ("chronic:M01600", 0.006, ()),
    ("chronic:M00500", 0.002, ()),
    ("special_drug:XL01", 0.004, ("653100",)),
)

# An institution of each row for so many members (at least one): kind, level, members, pooled outpatient, networked.
PLACES: Final = (
    ("hospital", "3", 4000, True, True),
    ("hospital", "2", 1500, True, True),
    ("psychiatric", "2", 8000, True, False),
    ("township", "1", 700, True, False),
    ("community", "none", 1000, True, False),
    ("village", "none", 2000, False, False),
    ("pharmacy", "none", 500, True, False),
    ("pharmacy", "none", 900, False, False),
    ("internet", "none", 10000, True, False),
)
NOT_DESIGNATED_EVERY: Final = 25  # one place of so many lost its designation

ITEMS: Final = 60  # of a region's catalogue
MEAN_BASE_FEN: Final = 6200_00  # contribution base, a month
CARRIED_OVER_FEN: Final = 900_00  # on an account, on average


class Item(NamedTuple):
    """An item as a bill needs it; ``price_micro_yuan`` is what institutions ask for a unit."""

    code: str
    price_micro_yuan: int


class Grant(NamedTuple):
    """A benefit somebody is qualified for, and where and by whom he must be treated."""

    benefit: str
    institution_id: str | None = None
    doctor_id: str | None = None


class Person(NamedTuple):
    """A member as the day's bills need him."""

    member_id: str
    region: str
    grants: tuple[Grant, ...]
    payer: str | None  # who lets him pay from his account
    away: str | None  # the region he filed for


class Town:
    """A region with its institutions by kind, its catalogue and its members."""

    def __init__(self, region: str) -> None:
        self.region = region
        self.by_kind: dict[str, list[str]] = {}
        self.networked: list[str] = []
        self.items: list[Item] = []
        self.people: list[Person] = []

    def clinics(self) -> list[str]:
        """Where people go when they do not go to a hospital."""
        return self.by_kind["township"] + self.by_kind["community"] + self.by_kind["village"]


class Population:
    """Towns and their people. ``register`` gives its lines once, and only then is everybody there."""

    def __init__(self, members: int, regions: Sequence[str], rng: Random, day: date, tag: str) -> None:
        self.towns = [Town(region) for region in regions]
        self._members = members
        self._rng = rng
        self._day = day
        self._tag = tag  # of the seed: two feeds do not share people, credits or numbers

    def register(self) -> Iterator[Line]:
        """The register's lines: places, catalogues, then people with all that belongs to them."""
        counts = [self._members // len(self.towns)] * len(self.towns)
        for extra in range(self._members % len(self.towns)):
            counts[extra] += 1
        for town, count in zip(self.towns, counts, strict=True):
            yield from _places(town, count)
            yield from _catalogue(town)
        for town, count in zip(self.towns, counts, strict=True):
            for number in range(count):
                yield from self._member(town, f"{town.region}{self._tag}{number:07d}")

    def _member(self, town: Town, member_id: str) -> Iterator[Line]:
        rng, chance = self._rng, self._rng.random
        retired = chance() < RETIRED
        base = half_up(int(MEAN_BASE_FEN * rng.lognormvariate(0, 0.4)), 100) * 100
        grants = tuple(self._grant(town, benefit) for benefit in _qualified(town.region, chance))
        employment = "employee" if retired else _employment(chance())
        line: Line = {
            "type": "member", "member_id": member_id, "region": town.region,
            "status": "retired" if retired else "active", "employment": employment,
            "sector": "government" if chance() < GOVERNMENT else "enterprise",
            "valid_from": FIRST_DAY, "contribution_base": yuan(base),
        }  # fmt: skip
        if supplements := _supplements(line["sector"], chance):
            line["supplements"] = supplements
        if grants:
            line["qualifications"] = [_granted(grant) for grant in grants]
        if chance() < COVERAGE_ENDED:
            line["covered_to"] = (self._day - timedelta(days=rng.randrange(1, 60))).isoformat()
        yield line
        if not retired and chance() < RETIRED_THIS_YEAR:
            since = date(self._day.year, rng.randrange(1, self._day.month + 1), 1)
            yield line | {"status": "retired", "valid_from": since.isoformat()}
        yield from self._around(town, member_id, grants)
        if employment != "flexible_pooled_only":
            yield from self._credits(member_id, base)

    def _around(self, town: Town, member_id: str, grants: tuple[Grant, ...]) -> Iterator[Line]:
        """Family, filings and stays; and the person is put among the town's people."""
        rng = self._rng
        payer = away = None
        if town.people and rng.random() < LINKED:
            payer = rng.choice(town.people).member_id
            relation = rng.choice(("spouse", "parent", "parent", "child"))
            yield {
                "type": "family_link", "holder_id": payer, "beneficiary_id": member_id,
                "relation": relation, "authorized_from": FIRST_DAY,
            }  # fmt: skip
        others = [other for other in self.towns if other is not town]
        if others and rng.random() < FILED_ELSEWHERE:
            other = rng.choice(others)
            away = other.region
            yield {
                "type": "remote_filing", "member_id": member_id, "care_region": away,
                "institution_id": rng.choice(other.networked),
                "kind": rng.choice(("settled_retiree", "posted", "referral", "temporary")), "valid_from": FIRST_DAY,
            }  # fmt: skip
        if rng.random() < IN_HOSPITAL:
            admitted = self._day - timedelta(days=rng.randrange(10))
            yield {
                "type": "inpatient_stay", "member_id": member_id, "institution_id": rng.choice(town.networked),
                "admitted_on": admitted.isoformat(), "discharged_on": (admitted + timedelta(days=12)).isoformat(),
            }  # fmt: skip
        town.people.append(Person(member_id, town.region, grants, payer, away))

    def _credits(self, member_id: str, base_fen: int) -> Iterator[Line]:
        month = f"{self._day:%Y-%m}"
        carried = int(CARRIED_OVER_FEN * self._rng.lognormvariate(-0.3, 0.8))
        for name, amount, reason in (
            ("carried-over", carried, "carried over from last year"),
            ("monthly", half_up(base_fen * 2, 100), "2 % of the month's base"),
        ):
            yield {
                "type": "account_credit", "credit_no": f"{month}-{self._tag}-{name}", "member_id": member_id,
                "amount": yuan(amount), "month": month, "reason": reason,
            }  # fmt: skip

    def _grant(self, town: Town, benefit: str) -> Grant:
        if not benefit.startswith("special_drug:"):
            return Grant(benefit)
        place = self._rng.choice(town.networked)
        return Grant(benefit, place, f"D{place[1:]}01")


def _qualified(region: str, chance: Callable[[], float]) -> list[str]:
    return [benefit for benefit, share, regions in QUALIFIED if chance() < share and (not regions or region in regions)]


def _employment(at: float) -> str:
    if at < FLEXIBLE_FULL:
        return "flexible_full"
    return "flexible_pooled_only" if at < FLEXIBLE_FULL + FLEXIBLE_POOLED_ONLY else "employee"


def _supplements(sector: str, chance: Callable[[], float]) -> list[str]:
    found = ["civil_servant"] if sector == "government" else []
    if chance() < LARGE_EXPENSE:
        found.append("large_expense")
    if chance() < VETERAN:
        found.append("veteran_1_6")
    return found


def _granted(grant: Grant) -> Line:
    fixed = {"institution_id": grant.institution_id, "doctor_id": grant.doctor_id} if grant.institution_id else {}
    return {"benefit": grant.benefit, "valid_from": FIRST_DAY, **fixed}


def _places(town: Town, members: int) -> Iterator[Line]:
    number = 0
    for kind, level, for_members, pooled, networked in PLACES:
        for _ in range(max(1, members // for_members)):
            number += 1
            place = f"{'P' if kind == 'pharmacy' else 'H'}{town.region}{number:05d}"
            town.by_kind.setdefault(kind, []).append(place)
            if networked:
                town.networked.append(place)
            line: Line = {
                "type": "institution", "institution_id": place, "region": town.region, "kind": kind, "level": level,
                "designated_from": FIRST_DAY, "pooled_outpatient": pooled, "networked": networked,
            }  # fmt: skip
            if number % NOT_DESIGNATED_EVERY == 0:
                line["designated_to"] = "2022-12-31"
            if kind == "internet":
                line["host_institution_id"] = town.networked[0]
            yield line


def _catalogue(town: Town) -> Iterator[Line]:
    """Every sixth item is 丙, every third 乙 with a share to pay first; half of the 乙 have a price limit."""
    for number in range(ITEMS):
        category = "丙" if number % 6 == 5 else "乙" if number % 3 == 1 else "甲"
        price = (350 + 1237 * number % 9000) * 10_000 + 2500 * (number % 4)
        code = f"X{number:05d}"
        town.items.append(Item(code, price))
        line: Line = {
            "type": "catalogue_item", "region": town.region, "code": code, "name": f"项目{number:02d}",
            "category": category, "pre_self_pay_ratio": "0.1" if category == "乙" else "0", "valid_from": FIRST_DAY,
        }  # fmt: skip
        if category == "乙" and number % 2 == 0:
            line["price_limit"] = yuan(price * 8 // 10 // 10_000)
        yield line
