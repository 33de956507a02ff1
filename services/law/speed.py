"""How fast the engine alone is, side by side with what pydantic takes to read the same claim. One core, no servers."""

import json
import time
from collections.abc import Callable, Iterator, Sequence
from datetime import date, timedelta
from typing import NamedTuple

from services.adjudication import engine
from services.adjudication.counters import Counters
from services.intake.forms import ClaimForm
from services.intake.submission import read
from shared.claim import Claim
from shared.events import InstitutionFacts, MemberFacts, Verdict
from shared.policy import Policies, Version

GOAL = 5.0  # the engine takes at most so many times what pydantic takes to read the claim
_CLAIMS = 5_000
_MEMBERS = 800
_REPEATS = 5


class Speed(NamedTuple):
    """One region's figures, in microseconds a claim: the best of several runs."""

    region: str
    engine_us: float
    pydantic_us: float

    @property
    def ratio(self) -> float:
        """How many times pydantic's reading the engine takes."""
        return self.engine_us / self.pydantic_us


def measure(policies: Policies) -> Iterator[Speed]:
    """Settles a year of ordinary visits in each region, accumulators in memory."""
    for region in policies.regions:
        version = next(one for one in policies.versions if one.region == region)
        lines = [_line(version, number) for number in range(_CLAIMS)]
        claims = [claim for line in lines if (claim := read(line).claim) is not None]
        verdict = _verdict(region)

        def decide(version: Version = version, claims: Sequence[Claim] = claims, verdict: Verdict = verdict) -> None:
            counters = Counters()
            for claim in claims:
                engine.decide(claim, verdict, version, counters)

        def parse(lines: Sequence[bytes] = lines) -> None:
            for line in lines:
                ClaimForm.model_validate_json(line)

        yield Speed(region, _best(decide), _best(parse))


def table(speeds: Sequence[Speed]) -> str:
    """The figures as text."""
    head = f"{'region':8} {'engine':>12} {'pydantic':>12} {'ratio':>6} {'claims/s':>9}"
    rows = (
        f"{one.region:8} {one.engine_us:9.1f} us {one.pydantic_us:9.1f} us {one.ratio:6.2f} {1e6 / one.engine_us:9,.0f}"
        for one in speeds
    )
    return "\n".join([head, *rows])


def _best(work: Callable[[], None]) -> float:
    times = []
    for _ in range(_REPEATS):
        start = time.perf_counter()
        work()
        times.append(time.perf_counter() - start)
    return min(times) / _CLAIMS * 1e6


def _line(version: Version, number: int) -> bytes:
    day = version.start + timedelta(days=number % 300)
    in_scope = f"{number % 400}.{number % 100:02d}"
    return json.dumps(
        {
            "type": "claim",
            "claim_no": f"C{number}",
            "institution_id": f"H{number % 40}",
            "member_id": f"M{number % _MEMBERS}",
            "benefit": "ordinary",
            "channel": "direct",
            "emergency": False,
            "visited_at": f"{day}T09:00:00+08:00",
            "submitted_at": f"{day}T09:30:00+08:00",
            "total": in_scope,
            "own_paid": "0.00",
            "over_limit": "0.00",
            "pre_self_pay": "0.00",
            "in_scope": in_scope,
            "use_account": True,
        }
    ).encode()


def _verdict(region: str) -> Verdict:
    member = MemberFacts(
        region=region,
        status="active",
        employment="employee",
        sector="enterprise",
        valid_from=date(2000, 1, 1),
        supplements=("civil_servant", "large_expense"),
    )
    place = InstitutionFacts(institution_id="H0", region=region, kind="hospital", level="2", designated=True)
    return Verdict(region=region, care_region=region, member=member, institution=place)
