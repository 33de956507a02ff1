"""A trial (试算): what would be paid, by the very steps that settle, over stores that only read.

Nothing is written anywhere and nothing goes to Kafka. Accumulators come from Redis, everything else and every miss from
Postgres; what Redis shows may be a moment old, and then the quote is refused at settlement, never honoured wrongly.
"""

from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from contextlib import AbstractAsyncContextManager
from typing import Any

import msgspec

from services.account.answer import Answer, Key
from services.account.steps import AccountStep
from services.account.store import PostgresStore as AccountBooks
from services.account.store import Store as AccountStore
from services.adjudication.counters import Counter, CounterKey
from services.adjudication.steps import AdjudicationStep
from services.adjudication.store import ClaimKey, InboxKey
from services.adjudication.store import PostgresStore as AdjudicationBooks
from services.adjudication.store import Store as AccumulatorStore
from services.eligibility.steps import EligibilityStep
from services.eligibility.store import Store as RegisterStore
from services.intake.submission import Submission
from shared.events import Event
from shared.identity import event_id
from shared.money import fen
from shared.outcome import Outcome, decode
from shared.policy import Policies
from shared.quote import quoted
from shared.runtime.cache import Cache
from shared.runtime.step import Step, Tx

Connections = Callable[[], AbstractAsyncContextManager[Any]]


class Trials:
    """Tries claims over stores that are only read. ``connections`` gives the sessions to read by."""

    def __init__(
        self,
        policies: Policies,
        register: RegisterStore,
        accumulators: AccumulatorStore,
        accounts: AccountStore,
        connections: Connections,
    ) -> None:
        self._connections = connections
        self._eligibility = EligibilityStep(register, policies)
        self._adjudication = AdjudicationStep(accumulators, policies)
        self._account = AccountStep(accounts, policies, None)

    async def __call__(self, submission: Submission) -> tuple[Outcome, str | None]:
        """What a well-formed claim would come to, and the quote to settle it by; no quote where it would be rejected.

        The number is not looked at: a trial is about money. Raises one of ``database.TROUBLE``.
        """
        assert submission.claim is not None
        event = _accepted(submission)
        async with self._connections() as tx:
            judged: Event = await _decide(self._eligibility, tx, event)
            ruled = await _decide(self._adjudication, tx, judged)
            settled = await _decide(self._account, tx, ruled.event)
        outcome = decode(settled.answer.value)
        decision = ruled.event.decision
        assert decision is not None
        if outcome.outcome != "settled":
            return outcome, None
        return outcome, quoted(submission.claim, decision, fen(outcome.account), fen(outcome.family_account)).written()


def _accepted(submission: Submission) -> Event:
    """The claim as intake would pass it on, without a quote of its own."""
    assert submission.claim is not None
    assert submission.member_id is not None
    return Event(
        kind="claim",
        event_id=event_id("claim", submission.institution_id, submission.claim_no),
        institution_id=submission.institution_id,
        claim_no=submission.claim_no,
        member_id=submission.member_id,
        digest=submission.digest,
        accepted_at="",
        claim=msgspec.structs.replace(submission.claim, quote=None),
    )


async def _decide(step: Step[Event, Any, Any], tx: Tx, event: Event) -> Any:
    return step.decide(event, await step.load(tx, [event]))


class ShownAccumulators(AdjudicationBooks):
    """The accumulators without locks: what Redis knows, and the rest from Postgres. No claim was ever decided."""

    def __init__(self, cache: Cache) -> None:
        self._cache = cache

    async def known(
        self, tx: Tx, inbox: Sequence[InboxKey], originals: Sequence[ClaimKey]
    ) -> tuple[set[InboxKey], dict[ClaimKey, bytes]]:
        """Nothing: a trial repeats nothing and reverses nothing."""
        del tx, inbox, originals
        return set(), {}

    async def counters(self, tx: Tx, keys: Iterable[CounterKey]) -> dict[CounterKey, Counter]:
        """See ``Store``; what was never used is not there, which counts as zero."""
        wanted = set(keys)
        found: dict[CounterKey, Counter] = {}
        for member_id in {key.member_id for key in wanted}:
            for (period, name), (used, version) in (await self._hot(member_id)).items():
                key = CounterKey(member_id, period, name)
                if key in wanted and used >= 0 and version >= 0:
                    found[key] = Counter(used, None, version)
        missing = wanted - found.keys()
        return found | await self.read(tx, missing) if missing else found

    async def _hot(self, member_id: str) -> dict[tuple[str, str], tuple[int, int]]:
        try:
            return await self._cache.read(member_id)
        except Cache.TROUBLE:
            return {}


class ShownAccounts(AccountBooks):
    """The balances without locks. Nothing was ever answered, and journals get numbers that nobody keeps."""

    async def answers(self, tx: Tx, keys: Collection[Key]) -> dict[Key, Answer]:
        """Nothing."""
        del tx, keys
        return {}

    async def balances(self, tx: Tx, moving: Collection[str], shown: Collection[str]) -> dict[str, int]:
        """Balances (fen) by member."""
        members = [*{*moving, *shown}]
        return dict(await tx.fetch("select member_id, balance from account.balance where member_id = any($1::text[])", members))

    async def journal_ids(self, tx: Tx, count: int) -> Iterator[int]:
        """From one on."""
        del tx
        return iter(range(1, count + 1))
