"""Events and decisions for tests of account, and a step driven as the loop drives it."""

from collections.abc import Mapping, Sequence
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

from simulation.ledgers import JOURNAL, AccountStore

from services.account.answer import Facts, Settlement
from services.account.ledger import Posting
from services.account.memory import MemoryStore
from services.account.steps import AccountStep, CreditStep
from services.account.store import Store
from shared.claim import AccountUse, Claim, Reversal
from shared.events import ADJUDICATED, Decision, Event, InstitutionFacts, Verdict
from shared.identity import event_id
from shared.outcome import Outcome, decode
from shared.policy import Policies
from shared.register import AccountCredit
from shared.runtime.step import Filed

HOME, AWAY = "130900", "440800"
NOW = datetime(2023, 5, 1, 2, 3, 4, tzinfo=UTC)
NO_PACKS = Policies({}, {})
MIGRATIONS = Path(__file__).parents[1] / "deploy/migrations/sql"
TABLES = (
    "0001_account",
    "0002_crediting",
    "0006_account",
    "0008_late_credits",
    "0009_opening",
    "0010_interest",
    "0011_supplement",
)
SQL = "".join((MIGRATIONS / f"{name}.sql").read_text() for name in TABLES)


def institution(kind: str = "hospital", region: str = HOME, *, designated: bool = True) -> InstitutionFacts:
    return InstitutionFacts(institution_id="I1", region=region, kind=kind, level="2", designated=designated)


def claim(
    number: str,
    member: str = "M1",
    *,
    total: int = 10_000,
    pooled: int = 0,
    channel: str = "direct",
    verdict: Mapping[str, Any] | None = None,
    decision: Mapping[str, Any] | None = None,
    **fields: Any,
) -> Event:
    """A claim as adjudication announces it: all of its cost in scope, the own account open and asked for."""
    said = Claim(
        claim_no=number,
        institution_id="I1",
        member_id=member,
        benefit="ordinary",
        channel=channel,
        visited_at="2023-05-01T09:00:00+08:00",
        visited_on=date(2023, 5, 1),
        submitted_at="2023-05-01T09:30:00+08:00",
        submitted_on=date(2023, 5, 1),
        total=total,
        **{"use_account": True} | fields,
    )
    open_account: dict[str, Any] = {"region": HOME, "care_region": HOME, "account_open": True, "family_allowed": True}
    amounts: dict[str, Any] = {"outcome": "settled", "total": total, "in_scope": total, "pooled": pooled}
    return _event("claim", number, member, claim=said, verdict=Verdict(**open_account | dict(verdict or {})),
                  decision=Decision(**amounts | dict(decision or {})))  # fmt: skip


def reversal(number: str, member: str = "M1", *, total: int = 10_000, pooled: int = 0, **decision: Any) -> Event:
    """The reversal of a claim of these amounts."""
    said = Reversal(claim_no=number, institution_id="I1", reversed_at="2023-05-02T09:00:00+08:00", reason="x")
    amounts: dict[str, Any] = {"outcome": "reversed", "total": -total, "in_scope": -total, "pooled": -pooled}
    return _event("reversal", number, member, reversal=said, decision=Decision(**amounts | decision))


def purchase(number: str, purpose: str, amount: int = 5_000, member: str = "M1", **verdict: Any) -> Event:
    """An account use; ``for_member`` among the verdict's fields names another person."""
    said = AccountUse(
        use_no=number,
        institution_id="I1",
        member_id=member,
        for_member=verdict.pop("for_member", None),
        purpose=purpose,
        amount=amount,
        used_at="2023-05-01T09:00:00+08:00",
        used_on=date(2023, 5, 1),
    )
    facts: dict[str, Any] = {"region": HOME, "care_region": HOME, "institution": institution()}
    decision = Decision(outcome="settled", total=amount)
    return _event("account_use", number, member, use=said, verdict=Verdict(**facts | verdict), decision=decision)


def question(number: str, count: int, asks: str = "claim", member: str = "M1") -> Event:
    """The count-th repeat of a submission."""
    return _event("question", number, member, asks=asks, number=count)


def credit(number: str, amount: int, member: str = "M1") -> AccountCredit:
    return AccountCredit(credit_no=number, member_id=member, amount=amount, month="2023-05", reason="月划入")


def _event(kind: str, claim_no: str, member: str, **grown: Any) -> Event:
    return Event(
        kind=kind,
        event_id=event_id(kind, "I1", claim_no),
        institution_id="I1",
        claim_no=claim_no,
        member_id=member,
        digest="d",
        accepted_at="2023-05-01T01:30:00.000Z",
        **grown,
    )


class Books:
    """Account's steps over a store, batch by batch, as the loop calls them."""

    def __init__(self, store: Store | None = None, policies: Policies = NO_PACKS, tx: Any = None, partition: int = 0) -> None:
        self.store = store or MemoryStore()
        self.step = AccountStep(self.store, policies, lambda: NOW)
        self.credit_step = CreditStep(self.store)
        self.tx = tx
        self.partition = partition
        self.announced: list[bytes] = []

    async def facts(self, *events: Event) -> Facts:
        return await self.step.load(self.tx, events)

    async def settle(self, *events: Event) -> list[Outcome | None]:
        """Settles a batch; gives each event's outcome, None for what was dropped."""
        facts = await self.facts(*events)
        decisions = [self.step.decide(event, facts) for event in events]
        filed = self._filed([decision for decision in decisions if decision is not None])
        await self.step.record(self.tx, filed)
        return [decode(decision.answer.value) if decision else None for decision in decisions]

    async def add(self, *added: AccountCredit) -> None:
        """Books a batch of credits."""
        facts = await self.credit_step.load(self.tx, added)
        decisions = [self.credit_step.decide(one, facts) for one in added]
        filed = [Filed(d, "register.account_credit", 0, 0, None, None) for d in decisions if d is not None]
        await self.credit_step.record(self.tx, filed)

    async def balance(self, member: str) -> int:
        return (await self.store.balances(self.tx, (), (member,))).get(member, 0)

    async def postings(self) -> list[Posting]:
        """Everything booked, in order."""
        if isinstance(self.store, MemoryStore | AccountStore):
            kept = self.store.journals if isinstance(self.store, MemoryStore) else self.tx.books.rows(JOURNAL)
            journals = sorted(kept.values(), key=lambda journal: journal.journal_id)
            return [posting for journal in journals for posting in journal.postings]
        rows = await self.tx.fetch("select debit, credit, amount from account.posting order by journal_id, line")
        return [Posting(*row) for row in rows]

    def _filed(self, decisions: Sequence[Settlement]) -> list[Filed[Settlement]]:
        filed = []
        for decision in decisions:
            message = self.step.announce(decision)
            self.announced.append(message.value)
            filed.append(Filed(decision, ADJUDICATED, self.partition, 0, len(self.announced), message))
        return filed
