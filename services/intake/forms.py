"""The outside forms of contract.md section 1 as strict models: one for each ``type`` of ``claims.submitted``.

Pure. Validated values are canonical: amounts in fen, instants in Asia/Shanghai, quantities in 1/10 000,
prices in 1/1 000 000 yuan. An optional field that is null is one that is absent. What a field must hold is
told to people in ``faults.py``, so the validators here only say no.
"""

import re
from collections.abc import Callable
from datetime import datetime
from typing import Annotated, Final, Literal, TypeVar

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    PlainValidator,
    StringConstraints,
    TypeAdapter,
    ValidationError,
)

from shared.calendar import read_instant
from shared.money import fen, half_up

T = TypeVar("T")

QUANTITY_PLACES: Final = 4
PRICE_PLACES: Final = 6
_LINE_UNIT: Final = 10 ** (QUANTITY_PLACES + PRICE_PLACES - 2)  # quantity x price, in fen


def _from_string(read: Callable[[str], T]) -> PlainValidator:
    def validate(value: object) -> T:
        if type(value) is not str:
            raise ValueError("not a string")
        return read(value)

    return PlainValidator(validate, json_schema_input_type=str)


def _decimal(places: int) -> Callable[[str], int]:
    pattern = re.compile(rf"(0|[1-9][0-9]{{0,11}})(?:\.([0-9]{{1,{places}}}))?", re.ASCII)

    def read(text: str) -> int:
        match = pattern.fullmatch(text)
        if match is None:
            raise ValueError("not such a decimal")
        return int(match[1] + (match[2] or "").ljust(places, "0"))

    return read


read_quantity: Final = _decimal(QUANTITY_PLACES)
read_price: Final = _decimal(PRICE_PLACES)


def line_amount(quantity: int, unit_price: int) -> int:
    """What a line comes to (fen), of its quantity (1/10 000) and price (1/1 000 000 yuan)."""
    return half_up(quantity * unit_price, _LINE_UNIT)


def written(scaled: int, places: int) -> str:
    """A quantity or a price as a decimal, with no more digits than it needs."""
    whole, fraction = divmod(scaled, 10**places)
    return f"{whole}.{fraction:0{places}d}".rstrip("0").rstrip(".")


def _line_number(value: object) -> str:
    """``1`` and ``"1"`` are the same line."""
    return str(value) if type(value) is int and value > 0 else _short.validate_python(value)


# No control, format, private or unassigned character; no separator but the plain space, and none at an end.
_PRINTABLE = r"^[^\p{C}\p{Z}](?:(?:[^\p{C}\p{Z}]| )*[^\p{C}\p{Z}])?$"

Identifier = Annotated[str, StringConstraints(min_length=1, max_length=64, pattern=_PRINTABLE)]
Number = Annotated[str, StringConstraints(min_length=1, max_length=30, pattern=_PRINTABLE)]
Quote = Annotated[str, StringConstraints(min_length=1, max_length=160, pattern=_PRINTABLE)]
Region = Annotated[str, StringConstraints(pattern=r"^[0-9]{6}$")]
Benefit = Annotated[
    str,
    StringConstraints(
        pattern=r"^(?:ordinary|hypertension|diabetes|day_surgery|maternity|(?:chronic|special_drug):[^\p{C}\p{Z}:]{1,50})$"
    ),
]
FreeText = Annotated[str, StringConstraints(min_length=1, max_length=500, pattern=r"^[^\x00]*$")]
Fen = Annotated[int, _from_string(fen)]
Quantity = Annotated[int, _from_string(read_quantity)]
Price = Annotated[int, _from_string(read_price)]
Instant = Annotated[datetime, _from_string(read_instant)]
LineNumber = Annotated[str, PlainValidator(_line_number, json_schema_input_type=int | str)]

_short: TypeAdapter[str] = TypeAdapter(Number, config=ConfigDict(strict=True))
_identifier: TypeAdapter[str] = TypeAdapter(Identifier, config=ConfigDict(strict=True))


def is_identifier(value: object) -> bool:
    """Whether a value may stand as the id of a person or an institution."""
    try:
        _identifier.validate_python(value)
    except ValidationError:
        return False
    return True


class Form(BaseModel):
    """A feed object: no unknown field, no value turned into another type."""

    model_config = ConfigDict(strict=True, extra="forbid", frozen=True, hide_input_in_errors=True)


class LineForm(Form):
    """One line of a bill."""

    line_no: LineNumber
    code: Identifier
    quantity: Quantity
    unit_price: Price
    amount: Fen


class ClaimForm(Form):
    """A ``claim``: the four amounts or the lines, never both (``submission.py`` sees to that)."""

    type: Literal["claim"]
    claim_no: Number
    institution_id: Identifier
    member_id: Identifier
    insured_region: Region | None = None
    benefit: Benefit
    channel: Literal["direct", "internet", "manual"]
    emergency: bool
    prescribed_by: Identifier | None = None
    doctor_id: Identifier | None = None
    visited_at: Instant
    submitted_at: Instant
    total: Fen
    own_paid: Fen | None = None
    over_limit: Fen | None = None
    pre_self_pay: Fen | None = None
    in_scope: Fen | None = None
    lines: list[LineForm] | None = Field(default=None, min_length=1, fail_fast=True)
    use_account: bool
    family_payer: Identifier | None = None
    quote: Quote | None = None
    excluded_as: Literal["work_injury", "third_party", "public_health", "abroad", "wellness"] | None = None


class ReversalForm(Form):
    """A ``reversal``."""

    type: Literal["reversal"]
    claim_no: Number
    institution_id: Identifier
    reversed_at: Instant
    reason: FreeText


class AccountUseForm(Form):
    """An ``account_use``."""

    type: Literal["account_use"]
    use_no: Number
    institution_id: Identifier
    member_id: Identifier
    for_member: Identifier | None = None
    purpose: Identifier
    amount: Fen
    used_at: Instant


FORMS: Final[dict[str, type[Form]]] = {
    "claim": ClaimForm,
    "reversal": ReversalForm,
    "account_use": AccountUseForm,
}
