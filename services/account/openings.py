"""Opening an account anew: for who left and is insured again; with the balance that went along, where the operator says so.

The first month's credit opens it too, without a balance. These books cannot know where a balance was sent to that went along,
so that it is brought back by command only, and once.
"""

from datetime import date
from typing import Any, Final, NamedTuple

from services.account import journals
from services.account.crediting_store import PostgresCreditingStore, open_anew, write_openings
from services.account.entitlement import Span
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
    select k.region, k.closed_on, k.leaving, k.disposal, k.amount, b.closed, coalesce((
        select sum(o.amount) from account.opening as o where o.member_id = k.member_id and o.number > k.number
    ), 0)::bigint as brought
    from account.closing as k join account.balance as b using (member_id)
    where k.member_id = $1 order by k.number desc limit 1
"""


class Wanted(NamedTuple):
    """Whose account, on which day (today), and whether the balance that went along comes with it."""

    member_id: str
    day: date
    bring: bool


class Found(NamedTuple):
    """What is to be opened. ``amount`` (fen) comes from ``left``, the closing's region; not ``closed``: open already."""

    region: str
    left: str
    amount: int
    closed: bool


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
    amount = 0
    if wanted.bring:
        if last["disposal"] != "transferred" or region == last["region"] or last["brought"] or not last["amount"]:
            how = f"{yuan(last['amount'])} {last['disposal']}, {yuan(last['brought'])} of it brought back already"
            raise Stop(f"there is no balance to bring: when he left {last['region']} there were {how}")
        amount = last["amount"]
    return Found(region, last["region"], amount, last["closed"])


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
        await write_journals(tx, [_journal(number, opening, found.left)])
        await move(tx, {member_id: found.amount} if found.amount else {})
        before = {"member_id": member_id, "closed": found.closed}
        after = {"member_id": member_id, "closed": False, "region": found.region, "brought": yuan(found.amount), "number": number}
        await log_command(tx, "account open", reason, before, after)
    return found


def _journal(number: int, opening: Opening, left: str) -> Journal | None:
    if not opening.amount:
        return None
    return Journal(
        journal_id=number,
        issuer=opening.member_id,
        number=f"{left}/{number}",
        kind="opening",
        revision=0,
        part=opening.part,
        postings=journals.bringing(opening.member_id, left, opening.amount),
    )
