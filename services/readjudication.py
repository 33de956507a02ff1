"""A person's year worked out again (重新核算): what would change, by today's register and the very code that settles. Reads only.

``gongji claim readjudicate`` shows it, and sends the command that adjudication carries out (``services.adjudication.year``);
``gongji claim due`` looks for whom something would change. What is shown is a forecast: what is booked is decided where the
books are, in the order of the member's claims.
"""

from collections.abc import AsyncIterator, Sequence
from datetime import UTC, datetime
from itertools import count
from typing import Any, Final, NamedTuple

from services.account.answer import Facts, keys_wanted
from services.account.revision import revise
from services.account.store import PostgresStore as AccountBooks
from services.account.sums import Sums
from services.adjudication import year as years
from services.adjudication.counters import Counters
from services.adjudication.store import PostgresStore as AdjudicationBooks
from services.eligibility.steps import EligibilityStep
from services.eligibility.store import PostgresStore as RegisterBooks
from shared.calendar import stamp
from shared.claim import Claim
from shared.errors import Stop
from shared.events import Event, Reviewed, Rework, Verdict, decode
from shared.identity import event_id
from shared.policy import Policies, Version

_MEMBERS_AT_ONCE: Final = 200
_MEMBERS: Final = """
    select distinct member_id collate "C" as member_id from adjudication.decision
    where visited_on between make_date($1, 1, 1) and make_date($1, 12, 31) and kind = 'claim' and outcome = 'settled' order by 1
"""


class Changed(NamedTuple):
    """One claim's next revision, and by how much each amount changes (fen)."""

    event: Event
    change: Sums


class Planned(NamedTuple):
    """A member's year: the verdicts of today, and what would change. ``refused``: why it cannot be worked out."""

    member_id: str
    rework: Rework
    changed: tuple[Changed, ...] = ()
    refused: str = ""

    @property
    def net(self) -> int:
        """What the person is to get (below zero: to pay), beside what his accounts get. Fen."""
        return -sum(one.change.cash for one in self.changed)


def command(member_id: str, rework: Rework, number: int, now: datetime) -> Event:
    """The command as it joins the member's path. ``number``: of its row in the log of commands."""
    name = f"{member_id}/{rework.year}"
    return Event(
        kind=years.READJUDICATION,
        event_id=event_id(years.READJUDICATION, "", name, number),
        institution_id="",
        claim_no=name,
        member_id=member_id,
        digest="",
        accepted_at=stamp(now),
        number=number,
        rework=rework,
    )


class Years:
    """Plans over one deployment's books. ``tx`` is a read-only session with one snapshot."""

    def __init__(self, policies: Policies) -> None:
        self._policies = policies
        self._register = EligibilityStep(RegisterBooks(), policies)
        self._decisions = AdjudicationBooks()
        self._accounts = AccountBooks()

    async def plan(self, tx: Any, members: Sequence[str], year: int) -> list[Planned]:
        """What would change for each of these members. Raises Stop for a claim that is still on its way."""
        histories: dict[str, list[Event]] = {member_id: [] for member_id in members}
        for member_id, value in await self._decisions.history(tx, members):
            histories[member_id].append(decode(value))
        claims = [event for past in histories.values() for event in past if event.kind == "claim" and _settled(event, year)]
        facts = await self._register.load(tx, claims)
        judged = [self._register.decide(event, facts) for event in claims if event.revision == 0]
        plans = []
        for member_id, past in histories.items():
            mine = [_reviewed(event) for event in judged if event.member_id == member_id]
            plans.append(await self._planned(tx, member_id, Rework(year=year, reviewed=tuple(mine)), past))
        return plans

    async def due(self, tx: Any, year: int) -> AsyncIterator[Planned]:
        """Everybody for whom something would change, in the order of members."""
        members = [row[0] for row in await tx.fetch(_MEMBERS, year)]
        for start in range(0, len(members), _MEMBERS_AT_ONCE):
            for planned in await self.plan(tx, members[start : start + _MEMBERS_AT_ONCE], year):
                if planned.changed or planned.refused:
                    yield planned

    async def _planned(self, tx: Any, member_id: str, rework: Rework, past: Sequence[Event]) -> Planned:
        found = await self._decisions.read(tx, years.keys(past, rework, self._version_of))
        tried = command(member_id, rework, 0, datetime.min.replace(tzinfo=UTC))
        try:
            revisions = years.work_out(tried, past, Counters(found), self._version_of).revisions
        except years.Unworkable as unworkable:
            return Planned(member_id, rework, refused=str(unworkable))
        answers = await self._accounts.answers(tx, keys_wanted(revisions))
        facts = Facts(now=None, answers=answers, balances={}, journal_ids=count(1))
        try:
            changed = tuple(Changed(event, revise(event, facts).answer.sums) for event in revisions)
        except KeyError as missing:
            raise Stop(
                f"{'/'.join(map(str, missing.args[0][:2]))} is still on its way; ask again when it is settled"
            ) from missing
        return Planned(member_id, rework, changed)

    def _version_of(self, verdict: Verdict, claim: Claim) -> Version | None:
        return self._policies.on(verdict.region, claim.visited_on)


def _settled(event: Event, year: int) -> bool:
    claim, decision = event.claim, event.decision
    return claim is not None and decision is not None and decision.outcome == "settled" and claim.visited_on.year == year


def _reviewed(event: Event) -> Reviewed:
    assert event.verdict is not None
    return Reviewed(institution_id=event.institution_id, claim_no=event.claim_no, verdict=event.verdict)
