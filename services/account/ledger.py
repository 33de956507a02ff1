"""A journal that cannot be unbalanced.

A posting is a transfer: it debits one account and credits another with one amount, so every journal balances
by construction and all accounts together always sum to zero (invariant I1). What is booked stays; a correction
is a further journal that names the one it corrects. Amounts are fen. Pure.
"""

from collections.abc import Iterable
from typing import NamedTuple

import msgspec


class Posting(NamedTuple):
    """One transfer of ``amount`` fen between two accounts, named as in ``chart.CHART``."""

    debit: str
    credit: str
    amount: int


class Journal(msgspec.Struct, frozen=True, kw_only=True):
    """The postings of one happening, under its natural key (issuer, number, kind, revision).

    The issuer is the institution that numbered the claim or account use; of a credit, which no institution
    numbers, the member it belongs to. ``corrects`` names the journal that this one takes back.
    """

    journal_id: int
    issuer: str
    number: str
    kind: str  # claim, reversal, account_use, credit
    revision: int
    part: int
    postings: tuple[Posting, ...]
    corrects: int | None = None

    def __post_init__(self) -> None:
        """Raises ValueError for a journal that says nothing, or for a posting that is not a transfer."""
        if not self.postings:
            raise ValueError("a journal has at least one posting")
        for debit, credit, amount in self.postings:
            if type(amount) is not int or amount <= 0:
                raise ValueError(f"a posting moves a positive number of fen, not {amount!r}")
            if not debit or not credit or debit == credit:
                raise ValueError("a posting moves money between two different accounts")


def mirrored(postings: Iterable[Posting]) -> tuple[Posting, ...]:
    """The postings that take these back: the same amounts the other way round."""
    return tuple(Posting(debit=credit, credit=debit, amount=amount) for debit, credit, amount in postings)


def balances(postings: Iterable[Posting]) -> dict[str, int]:
    """Credits minus debits (fen) by account. The values always sum to zero."""
    totals: dict[str, int] = {}
    for debit, credit, amount in postings:
        totals[debit] = totals.get(debit, 0) - amount
        totals[credit] = totals.get(credit, 0) + amount
    return totals
