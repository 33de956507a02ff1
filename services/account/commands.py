"""The commands that credit accounts, as they travel on ``account.commands``: a run, cut into pieces. Pure.

A piece says what each member is due for a month by the law and the operator's figures; what of it is still to be booked is
decided where the books are, so that a piece may come twice, and a run be commanded again.
"""

from typing import Final, Literal

import msgspec

from shared.errors import Unreadable
from shared.money import MAX_FEN, PPM
from shared.policy.crediting import Source
from shared.strict_json import UNREADABLE

COMMANDS: Final = "account.commands"
PIECE: Final = 500  # members in a piece

MONTHLY: Final = "monthly"
TRUE_UP: Final = "true_up"


class Entry(msgspec.Struct, frozen=True, array_like=True):
    """What a member is due for a month (fen), from which base, by which of the piece's ``rules``.

    ``back``: he is insured anew since his account was closed, so that the month is credited to one opened anew.
    ``since_ppm``: of a true-up, the yearly rates added up by which later months of his were credited with interest.
    ``title``: of what he is due besides the month's credit, the supplement that gives it.
    """

    member_id: str
    month: str
    due: int
    basis: int | None
    rule: int
    back: bool = False
    since_ppm: int = 0
    title: str = ""


class Rule(msgspec.Struct, frozen=True, array_like=True):
    """The article, and who pays: contributions or the pooled fund."""

    article: str
    source: Source


class Piece(msgspec.Struct, frozen=True, kw_only=True):
    """One piece of a run: the members of one partition. ``interest_ppm``: a year's, of which a month pays a twelfth."""

    run: int
    kind: Literal["monthly", "true_up"]
    region: str
    rules: tuple[Rule, ...]
    entries: tuple[Entry, ...]
    interest_ppm: int = 0


_DECODER: Final = msgspec.json.Decoder(Piece)
encode: Final = msgspec.json.Encoder().encode


def decode(value: bytes) -> Piece:
    """Reads a piece. Raises Unreadable."""
    try:
        piece = _DECODER.decode(value)
    except UNREADABLE as error:
        raise Unreadable(f"not a command to credit accounts: {error}") from error
    if not piece.entries or not 0 <= piece.interest_ppm <= PPM:
        raise Unreadable("a piece has entries, and a rate of interest from 0 to 100 %")
    for one in piece.entries:
        if not (0 <= one.due <= MAX_FEN and one.since_ppm >= 0 and 0 <= one.rule < len(piece.rules) and one.member_id):
            raise Unreadable("an entry names a member, an amount and a rule of its piece")
    return piece
