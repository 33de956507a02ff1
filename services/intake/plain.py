"""The plain claim, which most are: ASCII, with its amounts or lines, nothing missing and nothing wrong; read in one pass.

Pure, and a matter of speed alone: whatever is not as plain as that is left to ``submission.py``, which would read a plain claim
with the same result (tests/properties/test_submission_plain.py).
"""

from datetime import datetime
from typing import Annotated, Final, Literal, NamedTuple

import msgspec

from services.intake.forms import PRICE_PLACES, QUANTITY_PLACES, LineForm, line_amount, read_price, read_quantity, written
from shared.calendar import read_instant
from shared.claim import Amounts, Claim, Line
from shared.money import fen
from shared.strict_json import UNREADABLE

_Id = Annotated[str, msgspec.Meta(pattern=r"^[!-~]{1,64}\Z")]
_Number = Annotated[str, msgspec.Meta(pattern=r"^[!-~]{1,30}\Z")]
_Benefit = Annotated[
    str,
    msgspec.Meta(pattern=r"^(?:ordinary|hypertension|diabetes|day_surgery|maternity|(?:chronic|special_drug):[!-9;-~]{1,50})\Z"),
]
_Channel = Literal["direct", "internet", "manual"]
_Excluded = Literal["work_injury", "third_party", "public_health", "abroad", "wellness"]


class _WrittenLine(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    line_no: Annotated[int, msgspec.Meta(gt=0, lt=10**18)] | _Number
    code: _Id
    quantity: str
    unit_price: str
    amount: str


class _Written(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The fields of a claim, as they stand in the record."""

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
    own_paid: str | None = None
    over_limit: str | None = None
    pre_self_pay: str | None = None
    in_scope: str | None = None
    lines: list[_WrittenLine] | None = None
    insured_region: Annotated[str, msgspec.Meta(pattern=r"^[0-9]{6}\Z")] | None = None
    prescribed_by: _Id | None = None
    doctor_id: _Id | None = None
    family_payer: _Id | None = None
    quote: Annotated[str, msgspec.Meta(pattern=r"^[!-~]{1,160}\Z")] | None = None
    excluded_as: _Excluded | None = None


class _ContentLine(msgspec.Struct, frozen=True, kw_only=True):
    line_no: str
    code: str
    quantity: int
    unit_price: int
    amount: int


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
    own_paid: int | None = None
    over_limit: int | None = None
    pre_self_pay: int | None = None
    in_scope: int | None = None
    lines: list[_ContentLine] | None = None
    use_account: bool
    family_payer: str | None = None
    quote: str | None = None
    excluded_as: str | None = None


class _Values(NamedTuple):
    """What the texts say: amounts in fen, instants in Asia/Shanghai."""

    total: int
    amounts: Amounts | None
    lines: list[_ContentLine] | None
    visited_at: datetime
    submitted_at: datetime


_SECONDS_AND_OFFSET: Final = len("2023-05-01T09:30:00+08:00")
_REQUIRED: Final = len(_Written.__struct_fields__) - len(_Written.__struct_defaults__)
_QUOTATION_MARKS: Final = 2 * (2 * _REQUIRED - 2)  # two round each name and each text; two of the fields are no texts
_OF_A_LINE: Final = 2 * (2 * len(_WrittenLine.__struct_fields__) - 1)  # its number may be none

_read = msgspec.json.Decoder(_Written).decode
_encode = msgspec.json.Encoder().encode


def read(value: bytes) -> tuple[Claim, bytes] | None:
    """A plain claim and what its digest is of; None for whatever needs a closer look."""
    if b"\\" in value:
        return None
    try:
        claim = _read(value)
        values = _values(claim)
    except (*UNREADABLE, ValueError):
        return None
    if values.visited_at > values.submitted_at or value.count(b'"') != _quotation_marks(claim):
        return None
    return _claim(claim, values), _encode(_content(claim, values))


def _values(claim: _Written) -> _Values:
    total, lines = fen(claim.total), claim.lines
    return _Values(
        total,
        None if lines else _amounts(claim, total),
        _lines(claim, lines, total) if lines else None,
        read_instant(claim.visited_at),
        read_instant(claim.submitted_at),
    )


def _amounts(claim: _Written, total: int) -> Amounts:
    own_paid, over_limit, pre_self_pay, in_scope = claim.own_paid, claim.over_limit, claim.pre_self_pay, claim.in_scope
    if own_paid is None or over_limit is None or pre_self_pay is None or in_scope is None or claim.lines is not None:
        raise ValueError("not the four amounts")
    return Amounts(
        total=total,
        own_paid=fen(own_paid),
        over_limit=fen(over_limit),
        pre_self_pay=fen(pre_self_pay),
        in_scope=fen(in_scope),
    )


def _lines(claim: _Written, lines: list[_WrittenLine], total: int) -> list[_ContentLine]:
    read = [
        _ContentLine(
            line_no=str(line.line_no),
            code=line.code,
            quantity=read_quantity(line.quantity),
            unit_price=read_price(line.unit_price),
            amount=fen(line.amount),
        )
        for line in lines
    ]
    if (claim.own_paid, claim.over_limit, claim.pre_self_pay, claim.in_scope) != (None, None, None, None):
        raise ValueError("amounts beside the lines")
    if any(line.amount != line_amount(line.quantity, line.unit_price) for line in read):
        raise ValueError("a line that does not come to its amount")
    if sum([line.amount for line in read]) != total or len({line.line_no for line in read}) != len(read):
        raise ValueError("lines that do not come to the total, or one twice")
    return read


def _quotation_marks(claim: _Written) -> int:
    """As many as there are when no field stands there twice, of which the decoder says nothing."""
    optional: tuple[str | None, ...] = (
        *(claim.own_paid, claim.over_limit, claim.pre_self_pay, claim.in_scope),
        *(claim.insured_region, claim.prescribed_by, claim.doctor_id),
        *(claim.family_payer, claim.quote, claim.excluded_as),
    )
    marks = _QUOTATION_MARKS + 4 * (len(optional) - optional.count(None))
    if claim.lines:
        marks += 2 + sum([_OF_A_LINE + 2 * (type(line.line_no) is str) for line in claim.lines])
    return marks


def _claim(claim: _Written, values: _Values) -> Claim:
    return Claim(
        claim_no=claim.claim_no,
        institution_id=claim.institution_id,
        member_id=claim.member_id,
        benefit=claim.benefit,
        channel=claim.channel,
        visited_at=_spelled(claim.visited_at, values.visited_at),
        visited_on=values.visited_at.date(),
        submitted_at=_spelled(claim.submitted_at, values.submitted_at),
        submitted_on=values.submitted_at.date(),
        total=values.total,
        emergency=claim.emergency,
        use_account=claim.use_account,
        amounts=values.amounts,
        lines=tuple([line_of(line) for line in values.lines or ()]),
        insured_region=claim.insured_region,
        prescribed_by=claim.prescribed_by,
        doctor_id=claim.doctor_id,
        family_payer=claim.family_payer,
        quote=claim.quote,
        excluded_as=claim.excluded_as,
    )


def _spelled(text: str, instant: datetime) -> str:
    """An instant's canonical spelling: as it stands there, which is usual, or made anew."""
    canonical = len(text) == _SECONDS_AND_OFFSET and text[10] == "T" and text.endswith("+08:00")
    return text if canonical else instant.isoformat()


def line_of(line: LineForm | _ContentLine) -> Line:
    """A line as the claim carries it, in canonical spelling, whichever way it was read."""
    return Line(
        line_no=line.line_no,
        code=line.code,
        quantity=written(line.quantity, QUANTITY_PLACES),
        unit_price=written(line.unit_price, PRICE_PLACES),
        amount=line.amount,
    )


def _content(claim: _Written, values: _Values) -> _Content:
    amounts = values.amounts
    return _Content(
        type=claim.type,
        claim_no=claim.claim_no,
        institution_id=claim.institution_id,
        member_id=claim.member_id,
        insured_region=claim.insured_region,
        benefit=claim.benefit,
        channel=claim.channel,
        emergency=claim.emergency,
        prescribed_by=claim.prescribed_by,
        doctor_id=claim.doctor_id,
        visited_at=values.visited_at,
        total=values.total,
        own_paid=amounts.own_paid if amounts else None,
        over_limit=amounts.over_limit if amounts else None,
        pre_self_pay=amounts.pre_self_pay if amounts else None,
        in_scope=amounts.in_scope if amounts else None,
        lines=values.lines,
        use_account=claim.use_account,
        family_payer=claim.family_payer,
        quote=claim.quote,
        excluded_as=claim.excluded_as,
    )
