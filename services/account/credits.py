"""Credits to personal accounts: the first content of a credit stands, the same again is the same credit.

A credit comes from the register, with its number, month and amount. Pure.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import NamedTuple

from services.account import journals
from services.account.ledger import Journal
from shared.errors import Unreadable
from shared.identity import part_of
from shared.register import AccountCredit

CreditKey = tuple[str, str]  # member, credit number


class Credited(NamedTuple):
    """A credit to be booked, with its journal (none for a credit of nothing)."""

    credit: AccountCredit
    part: int
    journal: Journal | None


@dataclass(slots=True)
class CreditFacts:
    """What a batch of credits is decided on."""

    booked: dict[CreditKey, AccountCredit]
    journal_ids: Iterator[int]
    closed: set[str] = field(default_factory=set)


def book(credit: AccountCredit, facts: CreditFacts) -> Credited | None:
    """Decides one credit. None: it is booked already.

    Raises Unreadable for a number that was used with other content: money is never replaced; and for a closed account.
    """
    key = (credit.member_id, credit.credit_no)
    if credit.member_id in facts.closed and key not in facts.booked:
        raise Unreadable("member_id: 个人账户已销户，不能划入 / the account is closed: nothing can be credited to it")
    first = facts.booked.setdefault(key, credit)
    if first is not credit:
        if first != credit:
            raise Unreadable(
                "credit_no: 该划入编号已用于其他内容，首次内容有效；请换用新编号"
                " / was used with other content, which stands: use a new number"
            )
        return None
    part = part_of(credit.member_id)
    postings = journals.credit(credit.member_id, credit.amount)
    journal = None
    if postings:
        journal = Journal(
            journal_id=next(facts.journal_ids),
            issuer=credit.member_id,
            number=credit.credit_no,
            kind="credit",
            revision=0,
            part=part,
            postings=postings,
        )
    return Credited(credit, part, journal)
