"""Closing an account on real books: looked up, decided, and booked in one transaction with the command's own row."""

from collections.abc import Sequence
from datetime import date
from typing import Any, NamedTuple

from services.account.crediting_store import PostgresCreditingStore
from services.account.leaving import Asked, Choice, Closing, choose, close
from shared.errors import Stop
from shared.money import yuan
from shared.policy import Policies
from shared.runtime.command import log_command
from shared.runtime.database import Database

_HISTORY = "select region, status, valid_from from eligibility.member where member_id = $1 order by valid_from"


class Wanted(NamedTuple):
    """What an operator asks for. ``to``: of several ways an article names; None for its first."""

    member_id: str
    case: str
    day: date
    to: str | None


class Leaver(NamedTuple):
    """Who leaves, as the register knows him on the day."""

    asked: Asked
    choice: Choice


async def look_up(reader: Any, policies: Policies, wanted: Wanted) -> Leaver:
    """What the law does with the account. Raises Stop for an unknown member, or where the article does not let it be closed."""
    member_id, case, day, to = wanted
    rows: Sequence[Any] = await reader.fetch(_HISTORY, member_id)
    if not rows:
        raise Stop("there is no such member in the register")
    row = next((row for row in reversed(rows) if row["valid_from"] <= day), rows[0])
    version = policies.on(row["region"], day)
    if version is None:
        raise Stop(f"no policy of {row['region']} is in force on {day}")
    choice = choose(version.account, case, row["status"], to)
    if choice.disposal == "transferred":
        _not_to_a_neighbour(policies, rows, row, choice)
    return Leaver(Asked(member_id, row["region"], case, day), choice)


def _not_to_a_neighbour(policies: Policies, rows: Sequence[Any], left: Any, choice: Choice) -> None:
    """A member has one account in all regions of these books: closed, it could not be credited where he went. Raises Stop."""
    for row in rows:
        if row["valid_from"] > left["valid_from"] and row["region"] != left["region"] and policies.serves(row["region"]):
            raise Stop(
                f"nothing is booked: from {row['valid_from']} on he is insured in {row['region']}, whose accounts are in these "
                f"books too, so that the account goes along by itself and stays open ({choice.article})"
            )


async def balance(reader: Any, member_id: str) -> int:
    """The balance (fen) of an open account, 0 where there is none. Raises Stop for a closed one."""
    row = await reader.fetchrow("select balance, closed from account.balance where member_id = $1", member_id)
    if row is not None and row["closed"]:
        raise Stop("the account is closed already")
    return 0 if row is None else int(row["balance"])


async def carry_out(writer: Database, leaver: Leaver, reason: str) -> Closing:
    """Closes the account. Raises Stop, with nothing booked, if it is closed already; Retry."""
    store = PostgresCreditingStore()
    member_id = leaver.asked.member_id
    async with writer.transaction() as tx:
        had = (await store.balances(tx, {member_id}, ()))[member_id]
        left = (await store.left(tx, {member_id})).get(member_id)
        if left is not None and left.closed:
            raise Stop("the account is closed already")
        closing = close(leaver.asked, leaver.choice, had, next(await store.journal_ids(tx, 1)))
        await store.record_closing(tx, closing)
        after = {"member_id": member_id, "case": closing.case, "balance": "0.00", "closed": True, "to": leaver.choice.disposal}
        before = {"member_id": member_id, "balance": yuan(had), "closed": False}
        await log_command(tx, "account close", reason, before, after)
    return closing
