"""Which outcomes make one region owe another (policy.md, section 6). Pure.

The place of care pays its institution and is owed by the place of insurance: the funds' and the accounts' share alike.
Cash never crosses a border.
"""

from collections.abc import Mapping
from typing import NamedTuple

import msgspec

from shared.identity import part_of
from shared.money import signed_fen

Key = tuple[str, str, str, int]  # institution, claim number (or use number), kind, revision


class Settled(msgspec.Struct, frozen=True):
    """What of an outcome on ``claims.settled`` concerns two regions."""

    kind: str
    institution_id: str
    member_id: str
    fund_total: str
    account: str
    family_account: str
    revision: int = 0
    claim_no: str = ""
    use_no: str = ""
    insured_region: str | None = None
    care_region: str | None = None
    payee: str = ""  # member: the region of insurance settles with its own member

    @property
    def number(self) -> str:
        """The claim's number, or the account use's: one space of numbers."""
        return self.claim_no or self.use_no

    @property
    def key(self) -> Key:
        """The natural key of the obligation."""
        return (self.institution_id, self.number, self.kind, self.revision)

    @property
    def remote(self) -> bool:
        """Care in another region than the insured one, whose institution the place of care pays."""
        apart = bool(self.insured_region and self.care_region) and self.insured_region != self.care_region
        return apart and not self.payee

    @property
    def taken_back(self) -> tuple[Key, ...]:
        """Of a reversal: the obligations it may take back. What later revisions changed never crossed a border."""
        if self.kind != "reversal":
            return ()
        return tuple((self.institution_id, self.number, kind, 0) for kind in ("claim", "account_use"))


class Obligation(NamedTuple):
    """The debtor (place of insurance) owes the creditor (place of care) ``amount`` fen; of a reversal, negative."""

    key: Key
    debtor: str
    creditor: str
    amount: int
    window_id: int
    part: int  # the member's


def obligation(settled: Settled, window_id: int, filed: Mapping[Key, int]) -> Obligation | None:
    """What an outcome makes one region owe another; None when nothing crosses a border. ``filed``: fen, by obligation.

    Raises ValueError for an amount that is none.
    """
    debtor, creditor = settled.insured_region, settled.care_region
    if debtor is None or creditor is None or not settled.remote:
        return None
    amount = signed_fen(settled.fund_total) + signed_fen(settled.account) + signed_fen(settled.family_account)
    if settled.kind == "reversal":
        amount = -sum(filed.get(key, 0) for key in settled.taken_back)
    if not amount:
        return None
    return Obligation(settled.key, debtor, creditor, amount, window_id, part_of(settled.member_id))
