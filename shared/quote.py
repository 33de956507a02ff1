"""A quote (试算凭证): what a trial promised, in the text that the claim carries back. Pure.

Nothing is kept of a trial, so the quote itself says what was quoted: who needs no secret to read it gains nothing by
making one up, because it can only stop a settlement, never change an amount to the sender's favour.

``q1.<content>.<pack>.<accumulators>.<pooled>.<large_expense>.<civil_servant>.<veterans>.<account>.<family_account>``:
three digests and six amounts in fen.
"""

import hashlib
import re
from typing import Final

import msgspec

from shared.claim import Claim
from shared.events import Decision, Stale

FUNDS: Final = ("pooled", "large_expense", "civil_servant", "veterans")

_FORM: Final = re.compile(r"q1\.([0-9a-f]{12})\.([0-9a-f]{8})\.([0-9a-f]{8})((?:\.(?:0|[1-9][0-9]{0,14})){6})", re.ASCII)


class Quote(msgspec.Struct, frozen=True, kw_only=True):
    """What a trial found: on which content, pack and accumulators (digests), and who would pay what (fen)."""

    content: str
    pack: str
    accumulators: str
    funds: tuple[int, int, int, int]  # in the order of FUNDS
    account: int  # the most that the member's own account will be asked for
    family_account: int  # and the family payer's

    def written(self) -> str:
        """The text that a claim carries."""
        amounts = ".".join(str(amount) for amount in (*self.funds, self.account, self.family_account))
        return f"q1.{self.content}.{self.pack}.{self.accumulators}.{amounts}"


def read(text: str) -> Quote | None:
    """Reads a quote; None for what no trial has given out."""
    match = _FORM.fullmatch(text)
    if match is None:
        return None
    pooled, large_expense, civil_servant, veterans, account, family_account = map(int, match[4][1:].split("."))
    return Quote(
        content=match[1],
        pack=match[2],
        accumulators=match[3],
        funds=(pooled, large_expense, civil_servant, veterans),
        account=account,
        family_account=family_account,
    )


def quoted(claim: Claim, decision: Decision, account: int, family_account: int) -> Quote:
    """The quote of a decision on a claim, with what its accounts would pay (fen)."""
    return Quote(
        content=_content(claim),
        pack=_pack(decision),
        accumulators=_accumulators(decision),
        funds=_funds(decision),
        account=account,
        family_account=family_account,
    )


def staleness(claim: Claim, decision: Decision) -> Stale | None:
    """What keeps a claim from settling by its quote; None if the funds pay what was quoted.

    ``decision`` is what would be settled now. A quote of another claim does not count, whatever it says.
    """
    assert claim.quote is not None
    now = dict(zip(FUNDS, _funds(decision), strict=True))
    given = read(claim.quote)
    if given is None:
        return Stale(quoted={}, current=now, changed=("quote",))
    if given.content != _content(claim):
        changed: tuple[str, ...] = ("content",)
    elif given.funds == _funds(decision):
        return None
    else:
        moved = {"policy": given.pack != _pack(decision), "accumulators": given.accumulators != _accumulators(decision)}
        changed = tuple(name for name, differs in moved.items() if differs) or ("register",)
    return Stale(quoted=dict(zip(FUNDS, given.funds, strict=True)), current=now, changed=changed)


def _funds(decision: Decision) -> tuple[int, int, int, int]:
    return decision.pooled, decision.large_expense, decision.civil_servant, decision.veterans


def _content(claim: Claim) -> str:
    """Of what is to be paid for: not the number, which may be given later, nor when it is submitted."""
    same = msgspec.structs.replace(claim, claim_no="", submitted_at="", submitted_on=claim.visited_on, quote=None)
    return _digest(msgspec.json.encode(same), 6)


def _pack(decision: Decision) -> str:
    return _digest(decision.policy.hash.encode() if decision.policy else b"", 4)


def _accumulators(decision: Decision) -> str:
    return _digest(msgspec.json.encode([decision.period, sorted(decision.before.items())]), 4)


def _digest(material: bytes, size: int) -> str:
    return hashlib.blake2b(material, digest_size=size).hexdigest()
