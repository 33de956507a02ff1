"""A small world for tests of eligibility: one member M of a city, one hospital H there, and what a test adds to them."""

from datetime import date
from pathlib import Path
from typing import Any

from services.eligibility.coverage import Judge
from services.eligibility.register import Register
from shared.calendar import SHANGHAI, read_instant
from shared.claim import Amounts, Claim
from shared.events import Verdict
from shared.policy import Policies
from shared.register import (
    CatalogueItem,
    FamilyLink,
    Grant,
    InpatientStay,
    Institution,
    Member,
    RegisterRecord,
    RemoteFiling,
)

CANGZHOU, ZHANJIANG, BAZHONG, KASHGAR, SHIYAN = "130900", "440800", "511900", "653100", "420300"
CITIES = (CANGZHOU, ZHANJIANG, BAZHONG, KASHGAR, SHIYAN)
POLICIES = Policies.load(Path(__file__).parents[1] / "policies")
DAY = date(2023, 5, 10)  # all five packs are in force


def member(region: str, member_id: str = "M", *, since: str = "2020-01-01", **more: Any) -> Member:
    """An active employee."""
    plain: dict[str, Any] = {"status": "active", "employment": "employee", "sector": "enterprise"}
    return Member(member_id=member_id, region=region, valid_from=date.fromisoformat(since), **(plain | more))


def place(region: str, institution_id: str = "H", *, since: str = "2020-01-01", **more: Any) -> Institution:
    """A designated hospital of level 2."""
    plain: dict[str, Any] = {"kind": "hospital", "level": "2", "pooled_outpatient": True, "networked": True}
    first = date.fromisoformat(since)
    return Institution(institution_id=institution_id, region=region, designated_from=first, **(plain | more))


def pharmacy(region: str, institution_id: str = "H", **more: Any) -> Institution:
    """A designated pharmacy that sells on the pooled fund's account."""
    return place(region, institution_id, **({"kind": "pharmacy", "level": "none"} | more))


def filing(care_region: str, kind: str, institution_id: str | None = None, **more: Any) -> RemoteFiling:
    """A filing of M from the year's first day on."""
    return RemoteFiling("M", care_region, kind, date(2023, 1, 1), institution_id=institution_id, **more)  # type: ignore[arg-type]


def grant(benefit: str, **more: Any) -> Grant:
    """A qualification from the year's first day on."""
    return Grant(benefit, date(2023, 1, 1), **more)


def claim(**changes: Any) -> Claim:
    """M at H, 100 yuan in scope; ``visited_at`` and ``submitted_at`` bring their dates along."""
    morning = f"{DAY}T09:00:00+08:00"
    plain: dict[str, Any] = {
        "claim_no": "C1",
        "institution_id": "H",
        "member_id": "M",
        "benefit": "ordinary",
        "channel": "direct",
        "visited_at": morning,
        "submitted_at": morning,
        "total": 10_000,
        "amounts": Amounts(total=10_000, own_paid=0, over_limit=0, pre_self_pay=0, in_scope=10_000),
    }
    fields = plain | changes
    fields["visited_on"] = read_instant(fields["visited_at"]).astimezone(SHANGHAI).date()
    fields["submitted_on"] = read_instant(fields["submitted_at"]).astimezone(SHANGHAI).date()
    return Claim(**fields)


def on(day: date | str) -> str:
    """Nine in the morning of a day."""
    return f"{day}T09:00:00+08:00"


def register(region: str, *rows: RegisterRecord) -> Register:
    """M and H of a region, and the rows given; a row about M or H stands in their place."""
    by_type: dict[type[Any], list[Any]] = {}
    for row in rows:
        by_type.setdefault(type(row), []).append(row)
    members = by_type.get(Member, [])
    institutions = by_type.get(Institution, [])
    if all(row.member_id != "M" for row in members):
        members = [*members, member(region)]
    if all(row.institution_id != "H" for row in institutions):
        institutions = [*institutions, place(region)]
    return Register(
        members=members,
        institutions=institutions,
        links=by_type.get(FamilyLink, []),
        filings=by_type.get(RemoteFiling, []),
        stays=by_type.get(InpatientStay, []),
        items=by_type.get(CatalogueItem, []),
    )


def judge(region: str, *rows: RegisterRecord, **changes: Any) -> Verdict:
    """The verdict on one claim in this world."""
    return Judge(POLICIES).claim(claim(**changes), register(region, *rows))


def finding(verdict: Verdict) -> tuple[str, str | None]:
    """The code and article that decide: a rejection's, else why no fund pays, else "open"."""
    why = verdict.rejection or next(iter(verdict.fund_closed), None)
    return ("open", None) if why is None else (why.code, why.article)
