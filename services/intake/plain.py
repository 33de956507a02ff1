"""The plain claim, which most are: ASCII, with its four amounts, nothing missing and nothing wrong; read in one pass.

Pure, and a matter of speed alone: whatever is not as plain as that is left to ``submission.py``, which would read a plain claim
with the same result (tests/properties/test_submission_plain.py).
"""

from datetime import datetime
from typing import Annotated, Final, Literal

import msgspec

from shared.calendar import read_instant
from shared.claim import Amounts, Claim
from shared.money import fen

_Id = Annotated[str, msgspec.Meta(pattern=r"^[!-~]{1,64}\Z")]
_Number = Annotated[str, msgspec.Meta(pattern=r"^[!-~]{1,30}\Z")]
_Benefit = Annotated[
    str,
    msgspec.Meta(pattern=r"^(?:ordinary|hypertension|diabetes|day_surgery|maternity|(?:chronic|special_drug):[!-9;-~]{1,50})\Z"),
]
_Channel = Literal["direct", "internet", "manual"]
_Excluded = Literal["work_injury", "third_party", "public_health", "abroad", "wellness"]


class _Written(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The fields of a claim with amounts, as they stand in the record."""

    type: Literal["claim"]
    claim_no: _Number
    institution_id: _Id
    member_id: _Id
    benefit: _Benefit
    channel: _Channel
    emergency: bool
    use_account: bool
    visited_at: str
    submitted_at: str
    total: str
    own_paid: str
    over_limit: str
    pre_self_pay: str
    in_scope: str
    insured_region: Annotated[str, msgspec.Meta(pattern=r"^[0-9]{6}\Z")] | None = None
    prescribed_by: _Id | None = None
    doctor_id: _Id | None = None
    family_payer: _Id | None = None
    quote: Annotated[str, msgspec.Meta(pattern=r"^[!-~]{1,160}\Z")] | None = None
    excluded_as: _Excluded | None = None


class _Content(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What the digest is of: the canonical values, in the order of ``forms.ClaimForm``, without what a retry makes anew."""

    type: str
    claim_no: str
    institution_id: str
    member_id: str
    insured_region: str | None = None
    benefit: str
    channel: str
    emergency: bool
    prescribed_by: str | None = None
    doctor_id: str | None = None
    visited_at: datetime
    total: int
    own_paid: int
    over_limit: int
    pre_self_pay: int
    in_scope: int
    use_account: bool
    family_payer: str | None = None
    quote: str | None = None
    excluded_as: str | None = None


_REQUIRED: Final = len(_Written.__struct_fields__) - len(_Written.__struct_defaults__)
_QUOTATION_MARKS: Final = 2 * (2 * _REQUIRED - 2)  # two round each name and each text; two of the fields are no texts

_read = msgspec.json.Decoder(_Written).decode
_encode = msgspec.json.Encoder().encode


def read(value: bytes) -> tuple[Claim, bytes] | None:
    """A plain claim and what its digest is of; None for whatever needs a closer look."""
    if b"\\" in value:
        return None
    try:
        written = _read(value)
        visited_at, submitted_at = read_instant(written.visited_at), read_instant(written.submitted_at)
        amounts = Amounts(
            total=fen(written.total),
            own_paid=fen(written.own_paid),
            over_limit=fen(written.over_limit),
            pre_self_pay=fen(written.pre_self_pay),
            in_scope=fen(written.in_scope),
        )
    except (msgspec.MsgspecError, UnicodeDecodeError, ValueError):
        return None
    if visited_at > submitted_at or value.count(b'"') != _quotation_marks(written):
        return None
    return _claim(written, amounts, visited_at, submitted_at), _encode(_content(written, amounts, visited_at))


def _quotation_marks(written: _Written) -> int:
    """As many as there are when no field stands there twice, of which the decoder says nothing."""
    optional: tuple[str | None, ...] = (
        *(written.insured_region, written.prescribed_by, written.doctor_id),
        *(written.family_payer, written.quote, written.excluded_as),
    )
    return _QUOTATION_MARKS + 4 * (len(optional) - optional.count(None))


def _claim(written: _Written, amounts: Amounts, visited_at: datetime, submitted_at: datetime) -> Claim:
    return Claim(
        claim_no=written.claim_no,
        institution_id=written.institution_id,
        member_id=written.member_id,
        benefit=written.benefit,
        channel=written.channel,
        visited_at=visited_at.isoformat(),
        visited_on=visited_at.date(),
        submitted_at=submitted_at.isoformat(),
        submitted_on=submitted_at.date(),
        total=amounts.total,
        emergency=written.emergency,
        use_account=written.use_account,
        amounts=amounts,
        insured_region=written.insured_region,
        prescribed_by=written.prescribed_by,
        doctor_id=written.doctor_id,
        family_payer=written.family_payer,
        quote=written.quote,
        excluded_as=written.excluded_as,
    )


def _content(written: _Written, amounts: Amounts, visited_at: datetime) -> _Content:
    return _Content(
        type=written.type,
        claim_no=written.claim_no,
        institution_id=written.institution_id,
        member_id=written.member_id,
        insured_region=written.insured_region,
        benefit=written.benefit,
        channel=written.channel,
        emergency=written.emergency,
        prescribed_by=written.prescribed_by,
        doctor_id=written.doctor_id,
        visited_at=visited_at,
        total=amounts.total,
        own_paid=amounts.own_paid,
        over_limit=amounts.over_limit,
        pre_self_pay=amounts.pre_self_pay,
        in_scope=amounts.in_scope,
        use_account=written.use_account,
        family_payer=written.family_payer,
        quote=written.quote,
        excluded_as=written.excluded_as,
    )
