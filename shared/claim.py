"""A submission in canonical form: what a feed object says once it is known to be well formed.

Amounts are fen. ``visited_on`` and ``submitted_on`` are the dates in Asia/Shanghai. Two submissions of one
number are *the same* when their digests agree (contract.md: without submitted_at, reversed_at and reason).
"""

from datetime import date

import msgspec


class Amounts(msgspec.Struct, frozen=True, kw_only=True):
    """How a claim's cost divides (fen): total = own_paid + over_limit + pre_self_pay + in_scope."""

    total: int
    own_paid: int  # 全自费 fulamt_ownpay_amt
    over_limit: int  # 超限价自费 overlmt_selfpay
    pre_self_pay: int  # 先行自付 preselfpay_amt
    in_scope: int  # 政策范围内 inscp_scp_amt

    def __post_init__(self) -> None:
        """Raises ValueError if a part is negative or the parts do not add up to the total."""
        parts = (self.own_paid, self.over_limit, self.pre_self_pay, self.in_scope)
        if min(parts) < 0 or sum(parts) != self.total:
            raise ValueError("the parts must be non-negative and add up to the total")


class Line(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One line of a bill, priced against the catalogue of the place of care. Quantity and price keep their text."""

    line_no: str
    code: str
    quantity: str  # decimal, at most four places
    unit_price: str  # yuan, decimal, at most six places
    amount: int  # fen


class Claim(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One outpatient bill of one member at one institution. Either ``amounts`` or ``lines`` is given."""

    claim_no: str
    institution_id: str
    member_id: str
    benefit: str  # ordinary, hypertension, diabetes, chronic:CODE, special_drug:CODE, day_surgery, maternity
    channel: str  # direct, internet, manual
    visited_at: str  # RFC 3339, +08:00
    visited_on: date
    submitted_at: str  # RFC 3339, +08:00
    submitted_on: date
    total: int
    emergency: bool = False
    use_account: bool = False
    amounts: Amounts | None = None
    lines: tuple[Line, ...] = ()
    insured_region: str | None = None
    prescribed_by: str | None = None
    doctor_id: str | None = None
    family_payer: str | None = None
    quote: str | None = None
    excluded_as: str | None = None  # work_injury, third_party, public_health, abroad, wellness


class Reversal(msgspec.Struct, frozen=True, kw_only=True):
    """The cancelling of a claim (or account use) by the institution that sent it. It names no member."""

    claim_no: str
    institution_id: str
    reversed_at: str
    reason: str


class AccountUse(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A purchase paid from a personal account, without any fund. ``use_no`` lives in the claim numbers' space."""

    use_no: str
    institution_id: str
    member_id: str
    purpose: str
    amount: int  # fen
    used_at: str
    used_on: date
    for_member: str | None = None
