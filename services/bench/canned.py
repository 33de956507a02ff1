"""The first floor: the same services, topics, batches and rows, but nothing judged or worked out. What the law costs.

``python -m services.bench.canned SERVICE`` is ``gongji serve SERVICE`` with a fixed verdict and a fixed decision in the places of
eligibility's and adjudication's pure cores. Only the benchmark starts it; the services know no such switch.
"""

import sys
from datetime import date
from typing import Any

from services import serve
from services.adjudication import engine
from services.adjudication.counters import Counters
from services.eligibility.coverage import Judge
from shared.claim import Amounts, Claim
from shared.events import Decision, InstitutionFacts, MemberFacts, Verdict
from shared.policy import Version

_NO_COST = Amounts(total=0, own_paid=0, over_limit=0, pre_self_pay=0, in_scope=0)

_SOMEBODY = MemberFacts(region="130900", status="active", employment="employee", sector="enterprise", valid_from=date(2022, 1, 1))


def fixed_verdict(_judge: Judge, claim: Claim, register: Any) -> Verdict:
    """Everybody is entitled, at any place, to the ordinary benefit."""
    facts = register.member(claim.member_id, claim.visited_on) or _SOMEBODY
    region = facts.region
    place = InstitutionFacts(
        institution_id=claim.institution_id, region=region, kind="hospital", level="2", designated=True, pooled_outpatient=True
    )
    amounts = claim.amounts or _NO_COST
    return Verdict(region=region, care_region=region, amounts=amounts, account_open=True, member=facts, institution=place)


def fixed_decision(
    claim: Claim,
    verdict: Verdict,
    version: Version | None,
    counters: Counters,
    trace: Any = None,
    *,
    prepared: engine.Prepared | None = None,
) -> Decision:
    """Half of what is in scope is paid, and every accumulator that the law would have moved moves by one."""
    del trace
    amounts = verdict.amounts or _NO_COST
    for key in engine.counter_keys(claim, verdict, version) if prepared is None else prepared.keys:
        counters.book(key, counters.used(key) + 1, None)
    return Decision(
        outcome="settled", total=amounts.total, own_paid=amounts.own_paid, over_limit=amounts.over_limit,
        pre_self_pay=amounts.pre_self_pay, in_scope=amounts.in_scope, pooled=amounts.in_scope // 2, period="canned",
    )  # fmt: skip


def main(service: str) -> None:
    """Runs one service with the fixed answers."""
    Judge.claim = fixed_verdict  # type: ignore[method-assign,assignment]
    engine.decide = fixed_decision
    serve.one(service)


if __name__ == "__main__":
    main(sys.argv[1])
