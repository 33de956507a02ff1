"""The work list: postings that a person must see to. Pure."""

from typing import NamedTuple


class Todo(NamedTuple):
    """One posting of a journal: what is wrong, in which region, with whose account, how much (fen)."""

    line: int
    kind: str  # late_reversal, late_credit: for an account that is closed; overcredited: credited too much, and spent
    region: str
    member_id: str
    amount: int


NO_TODO: tuple[Todo, ...] = ()
