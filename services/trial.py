"""A trial (试算): what would be paid, by the very steps that settle, over stores that only read.

Nothing is written anywhere and nothing goes to Kafka. Accumulators come from Redis, everything else and every miss from
Postgres; what Redis shows may be a moment old, and then the quote is refused at settlement, never honoured wrongly.
"""

import asyncio
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from contextlib import AbstractAsyncContextManager
from typing import Any, Final, NamedTuple

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
from shared.events import Decision, Event
from shared.identity import event_id
from shared.money import fen
from shared.outcome import Outcome, decode
from shared.policy import Policies
from shared.quote import quoted
from shared.runtime.cache import Cache, Counters
from shared.runtime.database import OFFENCES, TROUBLE
from shared.runtime.step import Step, Tx

Connections = Callable[[], AbstractAsyncContextManager[Any]]
Trial = tuple[Outcome, str | None]  # and its quote

_AT_ONCE: Final = 2  # sessions that try; more would only make smaller handfuls
_TOGETHER: Final = 50


class _Waiting(NamedTuple):
    """A trial that waits for its turn. ``members``: whose accumulators and accounts it would move."""

    submission: Submission
    members: frozenset[str]
    answer: asyncio.Future[Trial]


class Trials:
    """Tries claims over stores that are only read. ``connections`` gives the sessions to read by.

    What waits while others are tried goes together with the next: a question a table for all of it. Two of one member never
    do, for the second would see what the first would use.
    """

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
        self._waiting: list[_Waiting] = []
        self._under_way: set[asyncio.Task[None]] = set()

    async def __call__(self, submission: Submission) -> Trial:
        """What a well-formed claim would come to, and the quote to settle it by; no quote where it would be rejected.

        The number is not looked at: a trial is about money. Raises one of ``database.TROUBLE``.
        """
        assert submission.claim is not None
        assert submission.member_id is not None
        members = frozenset({submission.member_id, submission.claim.family_payer or submission.member_id})
        waiting = _Waiting(submission, members, asyncio.get_running_loop().create_future())
        self._waiting.append(waiting)
        if len(self._under_way) < _AT_ONCE:
            task = asyncio.create_task(self._work())
            self._under_way.add(task)
            task.add_done_callback(self._under_way.discard)
        return await waiting.answer

    async def _work(self) -> None:
        while self._waiting:
            await self._answer(self._next())

    def _next(self) -> list[_Waiting]:
        taken: list[_Waiting] = []
        left: list[_Waiting] = []
        busy: set[str] = set()
        for one in self._waiting:
            fits = len(taken) < _TOGETHER and not one.members & busy
            (taken if fits else left).append(one)
            busy |= one.members
        self._waiting = left
        return taken

    async def _answer(self, waiting: Sequence[_Waiting]) -> None:
        """Tries them together; one that cannot be tried is found by trying each alone."""
        try:
            trials = await self._try([one.submission for one in waiting])
        except Exception as failure:  # noqa: BLE001 - whoever asked is told, whatever it is
            away = isinstance(failure, TROUBLE) and not isinstance(failure, OFFENCES)
            for one in waiting:
                if away or len(waiting) == 1:
                    if not one.answer.done():  # his client may have gone
                        one.answer.set_exception(failure)
                else:
                    await self._answer([one])
            return
        for one, trial in zip(waiting, trials, strict=True):
            if not one.answer.done():
                one.answer.set_result(trial)

    async def _try(self, submissions: Sequence[Submission]) -> list[Trial]:
        async with self._connections() as tx:
            judged: list[Event] = await _decide(self._eligibility, tx, [_accepted(one) for one in submissions])
            ruled = await _decide(self._adjudication, tx, judged)
            settled = await _decide(self._account, tx, [ruling.event for ruling in ruled])
        return [
            _trial(submission, ruling.event.decision, decode(settlement.answer.value))
            for submission, ruling, settlement in zip(submissions, ruled, settled, strict=True)
        ]


def _trial(submission: Submission, decision: Decision | None, outcome: Outcome) -> Trial:
    assert submission.claim is not None
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


async def _decide(step: Step[Event, Any, Any], tx: Tx, events: Sequence[Event]) -> list[Any]:
    facts = await step.load(tx, events)
    return [step.decide(event, facts) for event in events]


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
        """See ``Store``."""
        wanted = set(keys)
        found = dict.fromkeys(wanted, Counter())
        unknown = wanted.copy()
        for member_id, shown in (await self._hot({key.member_id for key in wanted})).items():
            for (period, name), (used, version) in shown.items():
                key = CounterKey(member_id, period, name)
                if key in wanted and used >= 0 and version >= 0:
                    found[key] = Counter(used, None, version)
                    unknown.discard(key)
        return found | await self.read(tx, unknown) if unknown else found

    async def _hot(self, members: Collection[str]) -> dict[str, Counters]:
        try:
            return await self._cache.read([*members])
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
