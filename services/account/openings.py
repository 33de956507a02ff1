"""Opening an account anew: for who left and is insured again; with the balance that went along, where the operator says so.

The first month's credit opens it too, without a balance. These books cannot know where a balance was sent to that went along,
so that it is brought back by command only, and once: given again, the command brings what came late and was settled since.
"""

from collections.abc import Sequence
from datetime import date
from typing import Any, Final, NamedTuple

from services.account import journals
from services.account.crediting_store import PostgresCreditingStore, open_anew, write_openings
from services.account.entitlement import Span
from services.account.journals import Side
from services.account.leaving import Gone, Opening, is_back
from services.account.ledger import Journal
from services.account.store import move, write_journals
from shared.errors import Stop
from shared.identity import part_of
from shared.money import yuan
from shared.policy import Policies
from shared.runtime.command import log_command
from shared.runtime.database import Database

_HISTORY: Final = """
    select region, status, employment, sector, valid_from, covered_to, paid_through, contribution_base
    from eligibility.member where member_id = $1 and valid_from <= $2 order by valid_from
"""
_LAST: Final = """
    select k.region, k.closed_on, k.leaving, k.disposal, k.amount, b.closed
    from account.closing as k join account.balance as b using (member_id)
    where k.member_id = $1 order by k.number desc limit 1
"""
# What went along: the balance at the closing, and what came late and was settled. A balance that was not brought before the
# account was closed once more went out of these books.
_ALONG: Final = """
    with closing as (
        select *, lead(number) over (order by number) as following from account.closing where member_id = $1
    ), moved as (
        select region, amount from closing as k where disposal = 'transferred' and (following is null or exists (
            select from account.opening as o where o.member_id = $1 and o.amount > 0 and o.region <> k.region
                and o.number between k.number and k.following))
        union all
        select substr(p.credit, 13), p.amount from account.settling as s join account.posting as p using (journal_id)
        where s.member_id = $1 and p.credit like 'transferred:%'
        union all
        select substr(p.debit, 13), -p.amount from account.opening as o join account.posting as p on p.journal_id = o.number
        where o.member_id = $1 and o.amount > 0 and p.debit like 'transferred:%'
    )
    select region, sum(amount)::bigint from moved group by region having sum(amount) > 0 order by region
"""


class Wanted(NamedTuple):
    """Whose account, on which day (today), and whether the balance that went along comes with it."""

    member_id: str
    day: date
    bring: bool


class Found(NamedTuple):
    """What is to be opened. ``along``: fen that come from the regions they went along from; not ``closed``: open already."""

    region: str
    along: Sequence[Side]
    closed: bool

    @property
    def amount(self) -> int:
        """What comes, in fen."""
        return sum(amount for _, amount in self.along)


async def went_along(reader: Any, member_id: str) -> list[Side]:
    """What went along with a member from each region (fen), and was not brought anywhere yet."""
    return [(region, amount) for region, amount in await reader.fetch(_ALONG, member_id)]


async def look_up(reader: Any, policies: Policies, wanted: Wanted) -> Found:
    """What would be opened. Raises Stop where the member has no reason for another account, or no balance to bring."""
    history = [Span(*row) for row in await reader.fetch(_HISTORY, wanted.member_id, wanted.day)]
    last = await reader.fetchrow(_LAST, wanted.member_id)
    if last is None:
        raise Stop("no account of such a member was closed; the first credit opens one")
    if not last["closed"] and not wanted.bring:
        raise Stop("the account is open already")
    if not history or not is_back(history, history[-1], Gone(last["region"], last["closed_on"], last["leaving"])):
        raise Stop(
            f"nothing is booked: he left {last['region']} on {last['closed_on']} ({last['leaving']}), and the register does not"
            " have him insured anew since"
        )
    region = history[-1].region
    if not policies.serves(region):
        raise Stop(f"nothing is booked: he is insured in {region}, whose accounts are not in these books")
    along = [side for side in await went_along(reader, wanted.member_id) if side[0] != region] if wanted.bring else []
    if wanted.bring and not along:
        raise Stop(
            f"there is no balance to bring: when he left {last['region']} there were {yuan(last['amount'])} {last['disposal']},"
            " and nothing that went along is left. What came late is brought once it is settled (`gongji account settle`)"
        )
    return Found(region, along, last["closed"])


async def carry_out(writer: Database, policies: Policies, wanted: Wanted, reason: str) -> Found:
    """Opens the account. Raises Stop, with nothing booked; Retry."""
    store, member_id = PostgresCreditingStore(), wanted.member_id
    part = part_of(member_id)
    async with writer.transaction() as tx:
        if await tx.fetchval("select true from account.balance where member_id = $1 for update", member_id) is None:
            raise Stop("nobody knows an account of such a member")
        found = await look_up(tx, policies, wanted)
        number = next(await store.journal_ids(tx, 1))
        opening = Opening(member_id, part, found.region, found.amount)
        await (open_anew if found.closed else write_openings)(tx, [(number, opening)])
        await write_journals(tx, [_journal(number, opening, found.along)])
        await move(tx, {member_id: found.amount} if found.amount else {})
        before = {"member_id": member_id, "closed": found.closed}
        after = {"member_id": member_id, "closed": False, "region": found.region, "brought": yuan(found.amount), "number": number}
        await log_command(tx, "account open", reason, before, after)
    return found


def _journal(number: int, opening: Opening, along: Sequence[Side]) -> Journal | None:
    if not along:
        return None
    return Journal(
        journal_id=number,
        issuer=opening.member_id,
        number=str(number),
        kind="opening",
        revision=0,
        part=opening.part,
        postings=journals.bringing(opening.member_id, along),
    )
