"""One pass over all decisions, member by member in the order in which they were made, for whoever wants to look.

Memory holds a page of members at a time, and Postgres sorts an eighth of many decisions at a time: sorted at once they would need
as much of the disk again as they take. What a decision's own bytes must say (I2, I20) is looked at here; what needs the engine
(I3, I13, I16) is handed in from above.
"""
# ruff: noqa: S608 - SQL put together from this package's own names

from collections.abc import AsyncIterable, AsyncIterator, Callable, Iterable, Mapping, Sequence
from itertools import pairwise
from operator import attrgetter, itemgetter
from typing import Final, NamedTuple, Protocol

import asyncpg

from services.ops.audit.check import Check, Family, Finding
from services.ops.audit.outcomes import Row, name_of
from services.ops.audit.view import View, pages
from shared.events import Decision, Event, decode
from shared.strict_json import UNREADABLE

_COLUMNS: Final = (
    *("total", "own_paid", "over_limit", "pre_self_pay", "in_scope", "deductible"),
    *("pooled", "large_expense", "civil_servant", "veterans"),
)
# In one call each: an audit compares millions.
_about = itemgetter("institution_id", "claim_no", "kind", "revision", "member_id", "outcome", "period")
_amounts_kept, _amounts_said = itemgetter(*_COLUMNS), attrgetter(*_COLUMNS)
_DECISIONS = f"""
    select d.institution_id, d.claim_no, d.kind, d.revision, d.member_id, d.outcome, d.period, d.visited_on, d.pack_hash, d.value,
        {", ".join(f"d.{name}" for name in _COLUMNS)}
    from adjudication.decision d where d.kind <> 'question' and ($1::text[] is null or d.member_id = any($1))
        and ($2::text is null or d.member_id > $2) and ($3::text is null or d.member_id <= $3)
    order by d.member_id, d.ordinal
"""
_AT_ONCE: Final = 1_000_000  # decisions that Postgres sorts, some 1.4 kB each; more of them in no more than so many parts,
_MOST_PARTS: Final = 8  # for it reads through all of them for each
_BORDERS = "select percentile_disc($1::float8[]) within group (order by member_id) from eligibility.member"
_COUNTERS = """
    select member_id, period, name, used, ceiling, version from adjudication.counter
    where member_id = any($1::text[]) order by member_id, period, name
"""
_UNDECIDED = """
    select member_id, period, name, used, ceiling, version from adjudication.counter c
    where ($1::text[] is null or member_id = any($1)) and not exists (
        select from adjudication.decision d where d.kind <> 'question' and d.member_id = c.member_id)
    order by member_id, period, name
"""
# Decisions bear no time. Of whom there is an outcome since then, or a decision without one yet, all are gone through again.
_MEMBERS = """
    select distinct member_id from account.outcome where settled_at >= $1
    union
    select d.member_id from adjudication.decision d left join account.outcome o using (institution_id, claim_no, kind, revision)
    where d.kind not in ('question', 'readjudication') and o.claim_no is null
"""
_COUNT = "select count(*) from adjudication.decision where kind <> 'question' and ($1::text[] is null or member_id = any($1))"


class Decided(NamedTuple):
    """One decision: how it is named, its event with its grounds."""

    name: str
    event: Event
    decision: Decision


class Kept(NamedTuple):
    """An accumulator as the table has it."""

    used: int
    ceiling: int | None
    version: int


class Past(NamedTuple):
    """All that was decided for one member, oldest first, and the accumulators this left."""

    member_id: str
    decisions: Sequence[Decided]
    counters: Mapping[tuple[str, str], Kept]  # (period, name)


class Observer(Protocol):
    """Looks at one member after the other."""

    findings: Sequence[Finding]

    def see(self, past: Past) -> None: ...


_BYTES: Final = Check(
    "I2",
    "decision_bytes_equal_columns",
    "决定字节与表列一致",
    "a decision's bytes say what its row says",
    ("adjudication.decision",),
)
_REGION: Final = Check(
    "I20",
    "pack_is_of_the_insured_region",
    "适用参保地政策",
    "each claim was decided under the insured region's pack",
    ("adjudication.decision",),
)


def decisions(*makers: Callable[[int], Observer]) -> Family:
    """The pass with these observers, each made for so many decisions."""

    async def look(view: View) -> list[Finding]:
        members = None
        if view.since is not None:
            members = [row["member_id"] for row in await view.connection.fetch(_MEMBERS, view.since)]
        rows = await view.connection.fetchval(_COUNT, members)
        own = [Finding(check, rows=rows) for check in (_BYTES, _REGION)]
        observers = [make(rows) for make in makers]
        async for past in _members(view.connection, own, members, rows):
            for observer in observers:
                observer.see(past)
        findings = own + [finding for observer in observers for finding in observer.findings]
        if members is not None:
            for finding in findings:
                finding.notes.append(f"the {len(members)} members with an outcome since then, their decisions from the first on")
        return findings

    return look


async def _members(
    connection: asyncpg.Connection, own: Sequence[Finding], members: Sequence[str] | None, rows: int
) -> AsyncIterator[Past]:
    """Members with their accumulators; at the end those of whom there are accumulators and no decision."""
    async for several in _by_member(_decisions(connection, members, rows)):
        kept = _kept(await connection.fetch(_COUNTERS, list(several)))
        for member_id, found in several.items():
            yield Past(member_id, [one for row in found if (one := _read(row, own)) is not None], kept.get(member_id, {}))
    async for page in pages(connection, _UNDECIDED, members):
        for member_id, counters in _kept(page).items():
            yield Past(member_id, (), counters)


async def _decisions(
    connection: asyncpg.Connection, members: Sequence[str] | None, rows: int
) -> AsyncIterator[Sequence[asyncpg.Record]]:
    """All decisions, from border to border: borders between members of the register part whoever else has decisions too."""
    parts = min(-(-rows // _AT_ONCE), _MOST_PARTS)
    borders = await connection.fetchval(_BORDERS, [n / parts for n in range(1, parts)]) if parts > 1 else []
    for after, last in pairwise([None, *(borders or ()), None]):
        async for page in pages(connection, _DECISIONS, members, after, last):
            yield page


async def _by_member(found: AsyncIterable[Sequence[asyncpg.Record]]) -> AsyncIterator[Mapping[str, list[asyncpg.Record]]]:
    """Each page's members with all their rows: the last one waits for the next page."""
    groups: dict[str, list[asyncpg.Record]] = {}
    async for page in found:
        for row in page:
            groups.setdefault(row["member_id"], []).append(row)
        last, rows = groups.popitem()
        yield groups
        groups = {last: rows}
    yield groups


def _kept(rows: Iterable[asyncpg.Record]) -> dict[str, dict[tuple[str, str], Kept]]:
    kept: dict[str, dict[tuple[str, str], Kept]] = {}
    for member_id, period, name, used, ceiling, version in rows:
        kept.setdefault(member_id, {})[period, name] = Kept(used, ceiling, version)
    return kept


def _read(row: asyncpg.Record, own: Sequence[Finding]) -> Decided | None:
    said, region = own
    name = name_of(row)
    try:
        event = decode(row["value"])
    except (*UNREADABLE, TypeError, ValueError) as unreadable:
        said.breach(name, f"the bytes are no event: {unreadable}")
        return None
    decision = event.decision
    if event.rework is not None:  # a command: its decisions are the revisions after it
        decision = Decision(outcome="")
        if wrong := as_stored(row, event, decision):
            said.breach(name, wrong)
        return Decided(name, event, decision)
    if decision is None:
        said.breach(name, "the bytes hold no decision")
        return None
    if wrong := as_stored(row, event, decision):
        said.breach(name, wrong)
    if event.verdict is not None and decision.policy is not None and decision.policy.region != event.verdict.region:
        region.breach(name, f"insured in {event.verdict.region}, decided by {decision.policy.region}")
    return Decided(name, event, decision)


def as_stored(row: Row, event: Event, decision: Decision) -> str | None:
    """What the bytes say otherwise than the columns, or None."""
    told = (*event.inbox_key, event.member_id, decision.outcome or None, decision.period)
    if told != _about(row):
        return f"the bytes are about {told}"
    said_amounts, kept_amounts = _amounts_said(decision), _amounts_kept(row)
    if said_amounts != kept_amounts:
        name, one, other = next(three for three in zip(_COLUMNS, said_amounts, kept_amounts, strict=True) if three[1] != three[2])
        return f"{name} is {one} in the bytes, {other} in the table"
    visited = None if event.claim is None else event.claim.visited_on
    if visited != row["visited_on"]:  # policies, budgets and months of payment go by it
        return f"the visit is on {visited} in the bytes, on {row['visited_on']} in the table"
    said = None if decision.policy is None else decision.policy.hash
    return None if said == row["pack_hash"] else f"decided under pack {said}, the table says {row['pack_hash']}"
