"""Who is to be credited with what: the register read from end to end, in the order of members, a few thousand rows at a time."""

import json
from collections.abc import AsyncIterator, Iterator, Sequence
from typing import Any, Final, NamedTuple

from services.account.entitlement import NOT_IN_REGION, Due, Scale, Span
from services.account.leaving import Gone, is_back
from shared.errors import Stop
from shared.runtime.database import BY_KEYS

_PREFETCH: Final = 5000

# A member is a region's when any line of his history says so, or when the region has credited him for the month. An
# index gives the order, so nothing is sorted, and memory stays the same however many there are.
_HISTORIES: Final = """
select m.member_id, m.region, m.status, m.employment, m.sector, m.valid_from, m.covered_to, m.paid_through,
    m.contribution_base, m.supplements, booked.amount, booked.supplement, gone.region, gone.closed_on, gone.leaving,
    case when cardinality($4::bigint[]) = 0 then 0 else (
        select coalesce(sum(r.ppm), 0)::int from unnest($4::bigint[], $5::int[]) as r (run_id, ppm)
        join account.crediting as c on (c.member_id, c.region, c.run_id, c.title) = (m.member_id, $1, r.run_id, '')
    ) end as since_ppm, gone.closed
from eligibility.member as m
left join lateral (
    select k.region, k.closed_on, k.leaving, b.closed from account.closing as k join account.balance as b using (member_id)
    where k.member_id = m.member_id order by k.number desc limit 1
) as gone on true
cross join lateral (
    select (sum(c.amount) filter (where c.title = ''))::bigint as amount,
        (sum(c.amount) filter (where c.title <> ''))::bigint as supplement
    from account.crediting as c
    where c.member_id = m.member_id and c.region = $1 and c.month = $2
) as booked
where (booked.amount is not null or booked.supplement is not null or exists (
        select from eligibility.member as o where o.member_id = m.member_id and o.region = $1
    )) and not ($3 and booked.amount is not null and ($6 or booked.supplement is not null))
order by m.member_id, m.valid_from
"""
# What is being booked meanwhile is in the tables though not in the snapshot: a scan, cheap when the plan was made, reads all of
# it again for every member.
_BY_KEYS: Final = "; ".join(f"set local {name} = {value}" for name, value in BY_KEYS.items())
_KINDS: Final = "select distinct status, employment, sector from eligibility.member where region = $1"
_MEMBERS: Final = "select count(distinct member_id) from eligibility.member where region = $1"

_WORDS: Final = "select figures->>$2 from account.credit_run where region = $1 and figures ? $2"

CLOSED: Final = "account_closed"
OF_CLOSED: Final = "month_of_closed_account"  # he has another account by now, and the month is none of its


class Planned(NamedTuple):
    """A member's month: what it comes to, or why nothing; what is booked for it (None: nothing yet).

    Of an account that is closed only what was booked can come out otherwise: a month without is nobody's any more.
    """

    member_id: str
    due: Due | str
    booked: int | None
    back: bool = False  # he left, and is insured anew
    since_ppm: int = 0  # the yearly rates, added up, by which his later months were credited with interest
    title: str = ""  # the supplement that gives it; of the month's credit none

    @property
    def amount(self) -> int:
        """What it comes to, in fen."""
        return self.due.amount if isinstance(self.due, Due) else 0

    @property
    def difference(self) -> int:
        """What is still to be booked, in fen; below zero: to be taken back."""
        return self.amount - (self.booked or 0)


async def members(connection: Any, region: str) -> int:
    """How many members a region has, or had."""
    return int(await connection.fetchval(_MEMBERS, region))


async def check(connection: Any, scale: Scale, *, again: bool) -> None:
    """Raises Stop, naming them, when figures are missing that some member of the region needs.

    ``again``: for a true-up, also those that a provisional amount would stand in for once more: it would take back what was
    credited by them, as if they had never been published.
    """
    kinds = [(row[0], row[1], row[2]) for row in await connection.fetch(_KINDS, scale.region)]
    missing, why = set(scale.missing(kinds)), "is not supplied"
    if again and not missing:
        runs = await connection.fetch(_WORDS, scale.region, scale.month.text)
        missing = {figure for run in runs for figure in scale.withdrawn(kinds, json.loads(run[0]))}
        why = "credited the month, and is not supplied now"
    if missing:
        raise Stop(
            f"{scale.region} {scale.month.text}: the operator's figure {' and '.join(sorted(missing))} {why}; "
            "nothing is booked. Give it in the file of parameters (GONGJI_PARAMETERS)"
        )


class Rate(NamedTuple):
    """By how much a year (parts per million) a month's run credited interest."""

    month: str
    run: int
    ppm: int


async def plan(connection: Any, scale: Scale, later: Sequence[Rate] = (), *, only_new: bool) -> AsyncIterator[Planned]:
    """Every member of a region and month; ``only_new``: without those who have something booked for it. In a transaction.

    ``later``: the runs of months after this one that credited interest.
    """
    await connection.execute(_BY_KEYS)
    rates = ([rate.run for rate in later], [rate.ppm for rate in later])
    asked = (scale.region, scale.month.text, only_new, *rates, not scale.supplement_article)
    member_id, row = "", None
    history: list[Span] = []
    async for found in connection.cursor(_HISTORIES, *asked, prefetch=_PREFETCH):
        if found[0] != member_id:
            for planned in _planned(scale, history, row, only_new=only_new):
                yield planned
            member_id, row, history = found[0], found, []
        history.append(Span._make((*found[1:9], tuple(found[9]))))
    for planned in _planned(scale, history, row, only_new=only_new):
        yield planned


def _planned(scale: Scale, history: Sequence[Span], row: Any, *, only_new: bool) -> Iterator[Planned]:
    """The month's credit of a member, and what his supplement gives besides. ``only_new``: what has nothing booked."""
    if row is None:
        return
    member_id, booked, supplement = row[0], row[10], row[11]
    gone = None if row[12] is None else Gone(*row[12:15])
    now = None if gone is None else scale.state(history)
    back = gone is not None and now is not None and is_back(history, now, gone)
    shut = gone is not None and not back
    closed = CLOSED if row[16] else OF_CLOSED
    if booked is None or not only_new:
        yield Planned(member_id, closed if shut and booked is None else scale.due(history), booked, back, row[15])
    if not scale.supplement_article or (only_new and supplement is not None) or (shut and supplement is None):
        return
    due = scale.supplement(history)
    if due is not None or supplement is not None:
        yield Planned(member_id, due or NOT_IN_REGION, supplement, back, title="civil_servant")
