"""Claims, verdicts and events for tests of adjudication, and a step driven as the loop drives it."""

from collections.abc import Sequence
from datetime import date
from pathlib import Path
from typing import Any

import msgspec

from services.adjudication.memory import MemoryStore
from services.adjudication.steps import AdjudicationStep
from services.adjudication.store import Ruling, Store
from shared.claim import AccountUse, Amounts, Claim, Reversal
from shared.events import ELIGIBLE, Decision, Event, InstitutionFacts, MemberFacts, Verdict, decode
from shared.identity import event_id
from shared.policy import Policies
from shared.runtime.step import Filed

PACKS = Path(__file__).parents[1] / "policies"
POLICIES = Policies.load(PACKS)
CANGZHOU, ZHANJIANG, BAZHONG, KASHGAR, SHIYAN = "130900", "440800", "511900", "653100", "420300"


def amounts(in_scope: int, *, pre_self_pay: int = 0, over_limit: int = 0, own_paid: int = 0) -> Amounts:
    total = in_scope + pre_self_pay + over_limit + own_paid
    return Amounts(total=total, own_paid=own_paid, over_limit=over_limit, pre_self_pay=pre_self_pay, in_scope=in_scope)


def claim(
    number: str,
    in_scope: int | Amounts,
    *,
    day: date = date(2023, 5, 1),
    benefit: str = "ordinary",
    institution: str = "I1",
    member: str = "M1",
) -> Claim:
    """A claim of so many fen in scope."""
    divided = in_scope if isinstance(in_scope, Amounts) else amounts(in_scope)
    return Claim(
        claim_no=number,
        institution_id=institution,
        member_id=member,
        benefit=benefit,
        channel="direct",
        visited_at=f"{day}T09:00:00+08:00",
        visited_on=day,
        submitted_at=f"{day}T09:30:00+08:00",
        submitted_on=day,
        total=divided.total,
        amounts=divided,
    )


def facts(region: str, kind: str = "hospital", level: str = "2", institution: str = "I1") -> InstitutionFacts:
    return InstitutionFacts(institution_id=institution, region=region, kind=kind, level=level, designated=True)


def verdict(
    region: str,
    status: str = "active",
    level: str = "2",
    *,
    kind: str = "hospital",
    supplements: tuple[str, ...] = (),
    **fields: Any,
) -> Verdict:
    """Eligible: the fund is open."""
    member = MemberFacts(
        region=region,
        status=status,
        employment="employee",
        sector="enterprise",
        valid_from=date(2020, 1, 1),
        supplements=supplements,
    )
    said: dict[str, Any] = {"member": member, "institution": facts(region, kind, level), "articles": ("A:1",)}
    return Verdict(region=region, care_region=region, **said | fields)


def claimed(claim: Claim, verdict: Verdict) -> Event:
    """A claim as eligibility announces it."""
    return _event("claim", claim.institution_id, claim.claim_no, claim.member_id, claim=claim, verdict=verdict)


def reversed_(number: str, *, institution: str = "I1", member: str = "M1") -> Event:
    """A claim's cancelling as eligibility announces it."""
    said = Reversal(claim_no=number, institution_id=institution, reversed_at="2023-05-02T09:00:00+08:00", reason="error")
    return _event("reversal", institution, number, member, reversal=said)


def asked(number: str, count: int, *, institution: str = "I1", member: str = "M1") -> Event:
    """A repeat of a claim, on its way to account."""
    event = _event("question", institution, number, member)
    return msgspec.structs.replace(event, asks="claim", number=count)


def used(number: str, amount: int, *, member: str = "M1") -> Event:
    """A purchase from a personal account."""
    use = AccountUse(
        use_no=number,
        institution_id="I1",
        member_id=member,
        purpose="drugs",
        amount=amount,
        used_at="2023-05-01T09:00:00+08:00",
        used_on=date(2023, 5, 1),
    )
    return _event("account_use", "I1", number, member, use=use)


def _event(kind: str, institution: str, number: str, member: str, **fields: Any) -> Event:
    return Event(
        kind=kind,
        event_id=event_id(kind, institution, number),
        institution_id=institution,
        claim_no=number,
        member_id=member,
        digest="0" * 64,
        accepted_at="2023-05-01T01:30:00.000Z",
        **fields,
    )


class Bench:
    """A step over a store, batch by batch, as the loop works: load, decide, announce, record."""

    def __init__(self, store: Store | None = None, tx: Any = None, policies: Policies = POLICIES) -> None:
        self.store = MemoryStore() if store is None else store
        self.tx = tx
        self.step = AdjudicationStep(self.store, policies)
        self.seq = 0
        self.announced: list[bytes] = []

    async def settle(self, *events: Event) -> list[Event | None]:
        """Settles one batch; None for what was dropped."""
        facts = await self.step.load(self.tx, events)
        filed: list[Filed[Ruling]] = []
        out: list[Event | None] = []
        for offset, event in enumerate(events):
            decided = self.step.decide(event, facts)
            if decided is None:
                out.append(None)
                continue
            for ruling in decided if isinstance(decided, list) else [decided]:
                message = self.step.announce(ruling)
                if message is not None:
                    self.seq += 1
                    self.announced.append(message.value)
                filed.append(Filed(ruling, ELIGIBLE, 0, offset, self.seq if message else None, message))
                out.append(decode(message.value) if message else ruling.event)
        await self.step.record(self.tx, filed)
        return out

    async def decisions(self, *events: Event) -> Sequence[Decision]:
        """Settles one batch of which nothing is dropped."""
        out = await self.settle(*events)
        return [event.decision for event in out if event is not None and event.decision is not None]
