"""A path in memory for tests of a year worked out again: register, eligibility, adjudication, account, crossregion.

Driven as the loop drives it, one event a batch; ``late`` register lines come when they come.
"""

from collections.abc import Iterable
from datetime import UTC, date, datetime
from itertools import count
from typing import Any

from adjudication_cases import amounts
from eligibility_world import POLICIES

from services.account.memory import MemoryStore as AccountStore
from services.account.steps import AccountStep, CreditStep
from services.adjudication.counters import CounterKey
from services.adjudication.memory import MemoryStore as AdjudicationStore
from services.adjudication.steps import AdjudicationStep
from services.crossregion.memory import MemoryStore as ClearingStore
from services.crossregion.steps import CrossregionStep
from services.eligibility.memory import MemoryStore as RegisterStore
from services.eligibility.steps import EligibilityStep
from services.readjudication import command
from shared.claim import Amounts, Claim, Line, Reversal
from shared.events import Event, Reviewed, Rework, decode
from shared.identity import event_id
from shared.outcome import Outcome
from shared.outcome import decode as decode_outcome
from shared.policy import Policies
from shared.register import AccountCredit, RegisterRecord
from shared.runtime.step import Filed, Message, Record

NOW = datetime(2024, 3, 1, 2, 3, 4, tzinfo=UTC)
MONEY = ("pooled", "large_expense", "civil_servant", "veterans", "account", "family_account", "cash")


class YearWorld:
    """One member's path. Outcomes in the order in which they were made."""

    def __init__(self, register: Iterable[RegisterRecord], credit: int = 0, policies: Policies = POLICIES) -> None:
        self.register = RegisterStore()
        self.decisions = AdjudicationStore()
        self.accounts = AccountStore()
        self.clearing = ClearingStore()
        self._steps: tuple[Any, ...] = (
            EligibilityStep(self.register, policies),
            AdjudicationStep(self.decisions, policies),
            AccountStep(self.accounts, policies, lambda: NOW),
            CrossregionStep(self.clearing),
        )
        self._first = tuple(register)
        self._credit = credit
        self._numbers = count(1)
        self.outcomes: list[Outcome] = []

    async def begin(self) -> "YearWorld":
        """The register and the account as they are known from the start."""
        await self.register.keep(None, self._first)
        if self._credit:
            step = CreditStep(self.accounts)
            added = [AccountCredit(credit_no="1", member_id="M", amount=self._credit, month="2023-01", reason="x")]
            facts = await step.load(None, added)
            booked = step.decide(added[0], facts)
            assert booked is not None
            await step.record(None, [Filed(booked, "register.account_credit", 0, 0, None, None)])
        return self

    async def late(self, *records: RegisterRecord) -> None:
        """Register lines that arrive now."""
        await self.register.keep(None, records)

    async def settle(self, claim: Claim) -> Outcome:
        """A claim takes its path."""
        [outcome] = await self.send(_event("claim", claim.institution_id, claim.claim_no, claim=claim))
        return outcome

    async def cancel(self, number: str, institution: str = "H") -> Outcome:
        """The reversal of a claim."""
        said = Reversal(claim_no=number, institution_id=institution, reversed_at="2023-12-30T09:00:00+08:00", reason="x")
        [outcome] = await self.send(_event("reversal", institution, number, reversal=said))
        return outcome

    async def readjudicate(self, year: int = 2023) -> list[Outcome]:
        """The year worked out again by the register as it is now: the revisions that came of it."""
        return await self.send(await self.command(year), at=1)

    async def command(self, year: int = 2023) -> Event:
        """What the operator's command sends: the verdicts of now."""
        past = [decode(value) for _, value in await self.decisions.history(None, ["M"])]
        claims = [event for event in past if event.kind == "claim" and event.revision == 0]
        facts = await self._steps[0].load(None, claims)
        judged = [self._steps[0].decide(event, facts) for event in claims]
        reviewed = tuple(
            Reviewed(institution_id=event.institution_id, claim_no=event.claim_no, verdict=event.verdict) for event in judged
        )
        return command("M", Rework(year=year, reviewed=reviewed), next(self._numbers), NOW)

    async def send(self, event: Event, at: int = 0) -> list[Outcome]:
        """One event down the path from a step on; gives the outcomes."""
        events: list[Any] = [event]
        for step in self._steps[at:]:
            messages: list[Message] = []
            for one in events:
                facts = await step.load(None, [one])
                decided = step.decide(one, facts)
                decisions = decided if isinstance(decided, list) else [] if decided is None else [decided]
                said = [step.announce(decision) for decision in decisions]
                await step.record(None, [Filed(d, "t", 0, 0, 1 if m else None, m) for d, m in zip(decisions, said, strict=True)])
                messages += [message for message in said if message is not None]
            if step.service == "account":
                made = [decode_outcome(message.value) for message in messages]
                self.outcomes += made
            if step.service != "crossregion":
                nexts = self._steps[self._steps.index(step) + 1]
                events = [nexts.decode(Record(m.topic, 0, 0, 0, m.key, m.value)) for m in messages]
        return made

    def stands(self, number: str) -> dict[str, int]:
        """A claim's amounts (fen): the first outcome and every difference since, less its reversal."""
        found = [one for one in self.outcomes if one.claim_no == number]
        return {name: sum(_fen(getattr(one, name)) for one in found) for name in MONEY}

    def refunded(self, number: str) -> list[int]:
        """What revisions changed of a claim's cash (fen), unless a reversal took it all back."""
        found = [one for one in self.outcomes if one.claim_no == number]
        if any(one.kind == "reversal" for one in found):
            return []
        return [_fen(one.cash) for one in found if one.revision]

    def used(self) -> dict[CounterKey, int]:
        """Every accumulator that is not zero."""
        counters = {**self.decisions._counters, **dict(self.decisions._visits.items())}  # type: ignore[attr-defined]
        return {key: counter.used for key, counter in counters.items() if counter.used}

    def ledger(self) -> dict[str, int]:
        """Credits less debits (fen) of every account that is not zero."""
        ends: dict[str, int] = {}
        for journal in self.accounts.journals.values():
            for debit, credit, amount in journal.postings:
                ends[debit] = ends.get(debit, 0) - amount
                ends[credit] = ends.get(credit, 0) + amount
        return {account: amount for account, amount in ends.items() if amount}


def bill(
    number: str,
    in_scope: int | Amounts,
    day: date = date(2023, 5, 10),
    *,
    benefit: str = "ordinary",
    institution: str = "H",
    lines: tuple[Line, ...] = (),
    **more: Any,
) -> Claim:
    """A claim of M, of so many fen in scope, or with lines to be priced."""
    usual: dict[str, Any] = {"channel": "direct", "use_account": True}
    divided = in_scope if isinstance(in_scope, Amounts) else amounts(in_scope)
    return Claim(
        claim_no=number,
        institution_id=institution,
        member_id="M",
        benefit=benefit,
        visited_at=f"{day}T09:00:00+08:00",
        visited_on=day,
        submitted_at=f"{day}T09:30:00+08:00",
        submitted_on=day,
        total=sum(line.amount for line in lines) or divided.total,
        amounts=None if lines else divided,
        lines=lines,
        **usual | more,
    )


def _event(kind: str, institution: str, number: str, **fields: Any) -> Event:
    return Event(
        kind=kind,
        event_id=event_id(kind, institution, number),
        institution_id=institution,
        claim_no=number,
        member_id="M",
        digest="0" * 64,
        accepted_at="2023-05-01T01:30:00.000Z",
        **fields,
    )


def _fen(text: str) -> int:
    return int(text.replace(".", ""))
