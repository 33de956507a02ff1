"""The register's feed objects (contract.md, section 1), read strictly: nothing half-understood is ever kept.

``read`` turns one record into one of the dataclasses below, or says in Chinese and English which field is at
fault and how to mend it, without ever quoting a value (values may be identities). Eligibility keeps these
records, account reads credits with them, and ``gongji feed send`` checks a file with them before it sends it.

Values are canonical: money in fen, unit prices in millionths of a yuan, ratios in parts per million.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import date
from typing import Annotated, Any, Final, Literal, TypeAlias

from pydantic import AfterValidator, BeforeValidator, ConfigDict, Strict, TypeAdapter, ValidationError, ValidationInfo
from pydantic_core import PydanticCustomError

from shared.calendar import read_date
from shared.errors import Unreadable
from shared.money import PPM, fen
from shared.strict_json import Numeral, read_object

MOST_FAULTS: Final = 10  # a message is for a person

# What a field must be, by the fault pydantic or the readers below report: (zh, en).
_REMEDIES: Final[dict[str, tuple[str, str]]] = {
    "missing": ("缺少，请补上", "is missing: add it"),
    "unexpected_keyword_argument": ("不是本类记录的字段，请删除", "is no field of this record: remove it"),
    "bool_type": ("须为 true 或 false", "must be true or false"),
    "tuple_type": ("须为数组", "must be an array"),
    "dataclass_type": ("须为对象", "must be an object"),
    "identifier": ("须为 1–64 个可见字符，首尾无空格", "must be 1 to 64 printable characters, no space at either end"),
    "name": ("须为 1–300 个可见字符", "must be 1 to 300 printable characters"),
    "region": ("须为 6 位行政区划代码的字符串", "must be a string of 6 digits, the admin division code"),
    "date": ("须为日期，如 2023-05-01", "must be a date like 2023-05-01"),
    "ends_before": ("不得早于 valid_from，请更正日期", "must not be before valid_from: correct the dates"),
    "month": ("须为月份，如 2023-05", "must be a month like 2023-05"),
    "amount": (
        "须为以元计的字符串，最多两位小数，如 123.45",
        "must be a string in yuan with at most two decimals, like 123.45",
    ),
    "unit_price": ("须为以元计的字符串，最多六位小数", "must be a string in yuan with at most six decimals"),
    "ratio": (
        "须为 0 至 1 之间、最多六位小数的数，如 0.1",
        "must be between 0 and 1 with at most six decimals, like 0.1",
    ),
    "benefit": (
        "须为 hypertension、diabetes、chronic:病种 或 special_drug:药品",
        "must be hypertension, diabetes, chronic:CODE or special_drug:CODE",
    ),
}

_REGION = re.compile(r"[0-9]{6}", re.ASCII)
_MONTH = re.compile(r"(?!0000)[0-9]{4}-(0[1-9]|1[0-2])", re.ASCII)
_BENEFIT = re.compile(r"hypertension|diabetes|(chronic|special_drug):[^\s:]{1,50}")
_MILLIONTHS = re.compile(r"(0|[1-9][0-9]{0,8})(?:\.([0-9]{1,6}))?", re.ASCII)


def _reader(fault: str, read: Callable[[str], Any]) -> BeforeValidator:
    """A field whose canonical value is read from a string; whatever is wrong is the one named fault."""

    def value_of(text: Any) -> Any:
        if type(text) is str:
            try:
                return read(text)
            except ValueError:
                pass
        elif type(text) is date:  # a record of our own making, checked once more
            return text
        raise PydanticCustomError(fault, "is wrong")

    return BeforeValidator(value_of)


def _matching(pattern: re.Pattern[str]) -> Callable[[str], str]:
    def read(text: str) -> str:
        if pattern.fullmatch(text) is None or not text.isprintable():
            raise ValueError(text)
        return text

    return read


def _printable(most: int) -> Callable[[str], str]:
    """Printable leaves out NUL (which Postgres cannot hold), control characters and lone surrogates."""

    def read(text: str) -> str:
        if not (0 < len(text) <= most and text.isprintable() and text == text.strip()):
            raise ValueError(text)
        return text

    return read


def _millionths(text: str) -> int:
    match = _MILLIONTHS.fullmatch(text)
    if match is None:
        raise ValueError(text)
    return int(match[1]) * PPM + int((match[2] or "").ljust(6, "0"))


def _ratio(value: Any) -> int:
    """A ratio as string or, since it is no amount, as number; never through a binary fraction."""
    text = value.text if isinstance(value, Numeral) else str(value) if type(value) is int else value
    try:
        ppm = _millionths(text)
    except (TypeError, ValueError):
        ppm = PPM + 1
    if ppm > PPM:
        raise PydanticCustomError("ratio", "is wrong")
    return ppm


def _not_before_it_begins(last: date | None, fields: ValidationInfo) -> date | None:
    """As the newest of its code, one that ended first would hold for no day and yet hide those before it."""
    if last is not None and last < fields.data.get("valid_from", date.min):  # a wrong one is told by itself
        raise PydanticCustomError("ends_before", "is wrong")
    return last


Identifier = Annotated[str, _reader("identifier", _printable(64))]
Region = Annotated[str, _reader("region", _matching(_REGION))]
Day = Annotated[date, _reader("date", read_date)]
Month = Annotated[str, _reader("month", _matching(_MONTH))]
Fen = Annotated[int, _reader("amount", fen)]
MicroYuan = Annotated[int, _reader("unit_price", _millionths)]
Ratio = Annotated[int, BeforeValidator(_ratio)]
Flag = Annotated[bool, Strict()]

_CLOSED: Final = ConfigDict(extra="forbid")


@dataclass(frozen=True, slots=True)
class Grant:
    """A benefit a member is qualified for; it holds with the institution and the doctor it names."""

    __pydantic_config__ = _CLOSED

    benefit: Annotated[str, _reader("benefit", _matching(_BENEFIT))]
    valid_from: Day
    valid_to: Day | None = None
    institution_id: Identifier | None = None
    doctor_id: Identifier | None = None


@dataclass(frozen=True, slots=True)
class Member:
    """A member (参保人) from ``valid_from`` on; several records make the history."""

    __pydantic_config__ = _CLOSED

    member_id: Identifier
    region: Region
    status: Literal["active", "retired"]
    employment: Literal["employee", "flexible_full", "flexible_pooled_only"]
    sector: Literal["enterprise", "government"]
    valid_from: Day
    covered_to: Day | None = None
    paid_through: Month | None = None
    contribution_base: Fen | None = None
    supplements: tuple[Literal["civil_servant", "large_expense", "veteran_1_6"], ...] = ()
    qualifications: tuple[Grant, ...] = ()


@dataclass(frozen=True, slots=True)
class Institution:
    """A medical institution or pharmacy (定点医药机构) from ``designated_from`` on."""

    __pydantic_config__ = _CLOSED

    institution_id: Identifier
    region: Region
    kind: Literal["hospital", "township", "community", "village", "psychiatric", "pharmacy", "internet"]
    level: Literal["1", "2", "3", "none"]
    designated_from: Day
    pooled_outpatient: Flag
    networked: Flag
    designated_to: Day | None = None
    host_institution_id: Identifier | None = None


@dataclass(frozen=True, slots=True)
class FamilyLink:
    """The holder of an account lets a member of the family pay from it (家庭共济)."""

    __pydantic_config__ = _CLOSED

    holder_id: Identifier
    beneficiary_id: Identifier
    relation: Literal["spouse", "parent", "child", "spouse_parent"]
    authorized_from: Day
    authorized_to: Day | None = None


@dataclass(frozen=True, slots=True)
class RemoteFiling:
    """Care in another region, filed (异地就医备案)."""

    __pydantic_config__ = _CLOSED

    member_id: Identifier
    care_region: Region
    kind: Literal["settled_retiree", "posted", "referral", "temporary"]
    valid_from: Day
    valid_to: Day | None = None
    institution_id: Identifier | None = None


@dataclass(frozen=True, slots=True)
class InpatientStay:
    """A stay in hospital; both its days belong to it, and without ``discharged_on`` it goes on."""

    __pydantic_config__ = _CLOSED

    member_id: Identifier
    institution_id: Identifier
    admitted_on: Day
    discharged_on: Day | None = None


@dataclass(frozen=True, slots=True)
class CatalogueItem:
    """An item of a region's catalogue (目录); ratio in ppm, a unit's price limit in millionths of a yuan."""

    __pydantic_config__ = _CLOSED

    region: Region
    code: Identifier
    name: Annotated[str, _reader("name", _printable(300))]
    category: Literal["甲", "乙", "丙"]
    pre_self_pay_ratio: Ratio
    valid_from: Day
    valid_to: Annotated[Day | None, AfterValidator(_not_before_it_begins)] = None
    price_limit: MicroYuan | None = None


@dataclass(frozen=True, slots=True)
class AccountCredit:
    """Money for a personal account (个人账户划入), in fen. Never replaced: (member, credit_no) is one."""

    __pydantic_config__ = _CLOSED

    credit_no: Identifier
    member_id: Identifier
    amount: Fen
    month: Month
    reason: Annotated[str, _reader("name", _printable(300))]


RegisterRecord: TypeAlias = Member | Institution | FamilyLink | RemoteFiling | InpatientStay | CatalogueItem | AccountCredit
_FORMS: Final[dict[str, TypeAdapter[Any]]] = {
    "member": TypeAdapter(Member),
    "institution": TypeAdapter(Institution),
    "family_link": TypeAdapter(FamilyLink),
    "remote_filing": TypeAdapter(RemoteFiling),
    "inpatient_stay": TypeAdapter(InpatientStay),
    "catalogue_item": TypeAdapter(CatalogueItem),
    "account_credit": TypeAdapter(AccountCredit),
}
TYPES: Final = tuple(_FORMS)


def read(value: bytes | None, expected_type: str | None = None) -> RegisterRecord:
    """Reads one record, of the type its topic carries if that is given. Raises Unreadable."""
    return understand(read_object(value), expected_type)


def understand(document: dict[str, Any], expected_type: str | None = None) -> RegisterRecord:
    """A record from its parsed JSON object. Raises Unreadable, naming each field at fault (at most ten)."""
    kind = document.get("type")
    form = _FORMS.get(kind) if isinstance(kind, str) else None
    if form is None or expected_type not in (None, kind):
        wanted = expected_type or "、".join(TYPES)
        raise Unreadable(f"type: 须为 {wanted} / must be {wanted.replace('、', ', ')}")
    fields = {name: content for name, content in document.items() if name != "type" and content is not None}
    try:
        record: RegisterRecord = form.validate_python(fields)
    except ValidationError as error:
        raise Unreadable("; ".join(_faults(str(kind), error))) from None
    return record


def _faults(kind: str, error: ValidationError) -> list[str]:
    found = []
    for fault in error.errors(include_url=False, include_input=False)[:MOST_FAULTS]:
        path = "".join(f"[{step}]" if isinstance(step, int) else f".{_shown(step)}" for step in fault["loc"])
        if fault["type"] == "literal_error":
            expected = fault["ctx"]["expected"]
            zh, en = f"只能是 {expected}", f"must be {expected}"
        else:
            zh, en = _REMEDIES.get(fault["type"], ("不正确", "is wrong"))
        found.append(f"{kind}{path}: {zh} / {en}")
    return found


def _shown(name: str) -> str:
    """A field's name as a message may show it: a stranger's may be anything, and long."""
    return name if name.isidentifier() and len(name) <= 40 else ascii(name[:40])
