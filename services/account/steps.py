"""Account's two steps: settling what adjudication decided, and booking credits of the register."""

from collections.abc import Callable, Sequence
from datetime import datetime

from services.account import credits as crediting
from services.account.answer import Facts, Settlement, accounts_wanted, keys_wanted
from services.account.settlement import settle
from services.account.store import Store
from services.account.use import Permission, permission
from shared.claim import AccountUse
from shared.errors import Unreadable
from shared.events import ADJUDICATED, Event, Verdict, decode
from shared.identity import claim_key
from shared.policy import Policies
from shared.register import AccountCredit, read
from shared.runtime.step import Filed, Message, Record, Tx
from shared.strict_json import UNREADABLE


class AccountStep:
    """Pays the person's share, books the journal, and answers for every claim that was accepted.

    ``clock`` is None in a replay, whose outcomes carry no instants.
    """

    service = "account"
    topics = (ADJUDICATED,)
    outbox = "account.outcome"

    def __init__(self, store: Store, policies: Policies, clock: Callable[[], datetime] | None) -> None:
        self._store = store
        self._policies = policies
        self._clock = clock

    def decode(self, record: Record) -> Event:
        """Reads adjudication's event. Raises Unreadable."""
        try:
            return decode(record.value)
        except UNREADABLE as error:
            raise Unreadable(f"not an event of adjudication: {error}") from error

    def key(self, event: Event) -> str:
        """A reversal or question waits behind its claim."""
        return claim_key(event.institution_id, event.claim_no)

    async def load(self, tx: Tx, events: Sequence[Event]) -> Facts:
        """Earlier answers, then the accounts: locked where money may move, only read where they are shown."""
        answers = await self._store.answers(tx, keys_wanted(events))
        moving, shown = accounts_wanted(events, answers)
        asks_who_left = any(event.kind in {"reversal", "account_use"} or event.revision for event in events)
        return Facts(
            now=self._clock() if self._clock else None,
            answers=answers,
            balances=await self._store.balances(tx, moving, shown),
            journal_ids=await self._store.journal_ids(tx, len(events)),
            left=await self._store.left(tx, moving) if asks_who_left else {},
        )

    def decide(self, event: Event, facts: Facts) -> Settlement | None:
        """See ``settlement.settle``."""
        return settle(event, facts, self._may_pay)

    def _may_pay(self, use: AccountUse, verdict: Verdict) -> Permission:
        version = self._policies.on(verdict.region, use.used_on)
        return permission(use, verdict, version.account if version else None)

    def announce(self, decision: Settlement) -> Message:
        """The outcome, to the world."""
        answer = decision.answer
        return Message(answer.target, decision.part, answer.member_id.encode(), answer.value)

    async def record(self, tx: Tx, filed: Sequence[Filed[Settlement]]) -> None:
        """Writes outcomes, journals, postings and balances."""
        await self._store.record(tx, filed)


class CreditStep:
    """Books credits to personal accounts. A credit can be spent once it is booked."""

    service = "account"
    topics = ("register.account_credit",)
    outbox = None

    def __init__(self, store: Store) -> None:
        self._store = store

    def decode(self, record: Record) -> AccountCredit:
        """Reads a credit. Raises Unreadable, naming field and fault."""
        credit = read(record.value, "account_credit")
        assert isinstance(credit, AccountCredit)
        return credit

    def key(self, _event: AccountCredit) -> None:
        """Credits do not wait for each other."""

    async def load(self, tx: Tx, events: Sequence[AccountCredit]) -> crediting.CreditFacts:
        """The accounts, opened and locked; only then the credits booked before, or another partition might book one of them."""
        members = {credit.member_id for credit in events}
        await self._store.balances(tx, members, ())
        booked = await self._store.credits(tx, {(credit.member_id, credit.credit_no) for credit in events})
        closed = {member_id for member_id, left in (await self._store.left(tx, members)).items() if left.closed}
        return crediting.CreditFacts(booked, await self._store.journal_ids(tx, len(events)), closed)

    def decide(self, event: AccountCredit, facts: crediting.CreditFacts) -> crediting.Credited | None:
        """See ``credits.book``."""
        return crediting.book(event, facts)

    def announce(self, _decision: crediting.Credited) -> None:
        """Nobody needs to know."""

    async def record(self, tx: Tx, filed: Sequence[Filed[crediting.Credited]]) -> None:
        """Writes credits, journals, postings and balances."""
        await self._store.record_credits(tx, [one.decision for one in filed])
