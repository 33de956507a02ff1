"""What is wrong with a record, told to people: field, fault and remedy in Chinese and English.

Pure. The record's own words are quoted shortened and cleaned, so that no text can break a screen or a log.
"""

from collections.abc import Mapping
from typing import Any, Final

from pydantic import ValidationError

from shared.money import yuan
from shared.reasons import Reason, reason
from shared.strict_json import Numeral

MOST_REASONS: Final = 20
_LONGEST_QUOTE: Final = 40

_IDENTIFIER = (
    "1 至 64 个可见字符的字符串，首尾无空格",
    "a string of 1 to 64 printable characters, no space at either end",
)
_NUMBER = (
    "1 至 30 个可见字符的字符串，首尾无空格",
    "a string of 1 to 30 printable characters, no space at either end",
)
_AMOUNT = (
    '以元为单位、整数至多 13 位且无前导零、至多两位小数的非负字符串，如 "123.45"',
    'a non-negative string in yuan, at most 13 digits with no leading zero and two decimals, like "123.45"',
)
_INSTANT = (
    '带时区的 RFC 3339 时间，如 "2023-05-01T09:30:00+08:00"',
    'an RFC 3339 instant with offset, like "2023-05-01T09:30:00+08:00"',
)
_SWITCH = ("true 或 false", "true or false")

EXPECTED: Final[dict[str, tuple[str, str]]] = {
    "type": (
        "claim、reversal 或 account_use；登记数据请发往 register.* 主题",
        "claim, reversal or account_use; register data goes to the register.* topics",
    ),
    "claim_no": _NUMBER,
    "use_no": _NUMBER,
    "institution_id": _IDENTIFIER,
    "member_id": _IDENTIFIER,
    "for_member": _IDENTIFIER,
    "prescribed_by": _IDENTIFIER,
    "doctor_id": _IDENTIFIER,
    "family_payer": _IDENTIFIER,
    "quote": ("试算返回的 quote 原文", "the quote as the trial gave it"),
    "purpose": _IDENTIFIER,
    "code": _IDENTIFIER,
    "insured_region": ("六位行政区划代码的字符串", "a string of six digits, the region's code"),
    "benefit": (
        "ordinary、hypertension、diabetes、chronic:代码、special_drug:代码、day_surgery 或 maternity",
        "ordinary, hypertension, diabetes, chronic:CODE, special_drug:CODE, day_surgery or maternity",
    ),
    "channel": ("direct、internet 或 manual", "direct, internet or manual"),
    "emergency": _SWITCH,
    "use_account": _SWITCH,
    "visited_at": _INSTANT,
    "submitted_at": _INSTANT,
    "reversed_at": _INSTANT,
    "used_at": _INSTANT,
    "total": _AMOUNT,
    "own_paid": _AMOUNT,
    "over_limit": _AMOUNT,
    "pre_self_pay": _AMOUNT,
    "in_scope": _AMOUNT,
    "amount": _AMOUNT,
    "lines": ("非空的明细数组", "a non-empty list of lines"),
    "lines[]": (
        "含 line_no、code、quantity、unit_price、amount 的对象",
        "an object of line_no, code, quantity, unit_price and amount",
    ),
    "line_no": (
        "正整数或至多 30 个可见字符，同一结算内不重复",
        "a positive integer or at most 30 printable characters, once in a claim",
    ),
    "quantity": (
        '整数至多 12 位且无前导零、至多四位小数的非负字符串，如 "1.5"',
        'a non-negative string of at most 12 digits with no leading zero and four decimals, like "1.5"',
    ),
    "unit_price": (
        '整数至多 12 位且无前导零、至多六位小数的非负字符串，如 "12.345"',
        'a non-negative string of at most 12 digits with no leading zero and six decimals, like "12.345"',
    ),
    "excluded_as": (
        "work_injury、third_party、public_health、abroad 或 wellness",
        "work_injury, third_party, public_health, abroad or wellness",
    ),
    "reason": ("1 至 500 个字符的字符串", "a string of 1 to 500 characters"),
}


def clean(text: str) -> str:
    """A record's own words as they may be shown: printable, and not longer than a glance."""
    short = text[:_LONGEST_QUOTE]
    shown = "".join(character if character.isprintable() else "\N{REPLACEMENT CHARACTER}" for character in short)
    return shown if len(text) == len(short) else shown + "…"


def _kind(value: object) -> tuple[str, str]:
    match value:
        case None:
            shown = ("空值 null", "null")
        case bool():
            shown = (f"布尔值 {str(value).lower()}", f"the boolean {str(value).lower()}")
        case int():
            shown = (f"数字 {value}", f"the number {value}")
        case Numeral(text=text):
            shown = (f"数字 {clean(text)}", f"the number {clean(text)}")
        case str():
            shown = (f"“{clean(value)}”", f'"{clean(value)}"')
        case list():
            shown = ("数组", "a list")
        case _:
            shown = ("对象", "an object")
    return shown


def wrong(field: str, value: object, name: str = "") -> Reason:
    """A field holds what it must not; ``name`` is the field's own when ``field`` is a path to it."""
    (zh, en), (expected_zh, expected_en) = _kind(value), EXPECTED[name or field]
    return reason(
        "malformed", field=field,
        zh=f"字段 {field} 的值是{zh}，应为：{expected_zh}",
        en=f"{field} is {en}; give {expected_en}",
    )  # fmt: skip


def missing(field: str, name: str = "") -> Reason:
    """A required field is not there."""
    expected_zh, expected_en = EXPECTED[name or field]
    return reason(
        "malformed", field=field,
        zh=f"缺少字段 {field}，请填写：{expected_zh}",
        en=f"{field} is missing; give {expected_en}",
    )  # fmt: skip


def unknown(field: str) -> Reason:
    """A field that the contract does not know."""
    return reason(
        "malformed", field=field,
        zh=f"未知字段 {field}，请删除或改正名称",
        en=f"{field} is not a field of this type; remove it or correct its name",
    )  # fmt: skip


def amounts_or_lines(field: str) -> Reason:
    """Both ways to state the cost are given, or a part of one."""
    return reason(
        "malformed", field=field,
        zh="own_paid、over_limit、pre_self_pay、in_scope 四项与 lines 二者只填其一",
        en="give either all of own_paid, over_limit, pre_self_pay and in_scope, or lines, and not both",
    )  # fmt: skip


def sums_differ(field: str, stated_fen: int, worked_out_fen: int) -> Reason:
    """A stated amount is not what its parts give."""
    stated, worked_out = yuan(stated_fen), yuan(worked_out_fen)
    return reason(
        "sum_mismatch", field=field,
        zh=f"字段 {field} 填报 {stated} 元，按明细合计为 {worked_out} 元，请核对后改正",
        en=f"{field} says {stated}, its parts give {worked_out}; correct whichever is wrong",
    )  # fmt: skip


def in_future(visited_at: str, submitted_at: str) -> Reason:
    """The visit is later than the record's own submission."""
    return reason(
        "visit_in_future", field="visited_at",
        zh=f"就诊 {visited_at}，提交 {submitted_at}，请改正其一",
        en=f"visited at {visited_at}, submitted at {submitted_at}; correct the wrong one",
    )  # fmt: skip


def _path(location: tuple[int | str, ...]) -> tuple[str, str]:
    """A field's place as people write it (``lines[2].amount``), and its name in ``EXPECTED``."""
    path = name = ""
    for step in location:
        if isinstance(step, int):
            path, name = f"{path}[{step}]", f"{name}[]"
        else:
            name = step
            path = f"{path}.{clean(step)}" if path else clean(step)
    return path, name


def _fault(problem: Mapping[str, Any]) -> Reason:
    location = problem["loc"]
    if problem["type"] == "string_unicode" and not (location and isinstance(location[-1], str)):
        # Half a surrogate pair in a field's name, which pydantic cannot place.
        location = (*location, problem["input"])
    path, name = _path(location)
    if problem["type"] == "missing":
        return missing(path, name)
    if name not in EXPECTED or problem["type"] == "extra_forbidden":
        return unknown(path)
    return wrong(path, problem["input"], name)


def malformed(error: ValidationError) -> tuple[Reason, ...]:
    """Every problem of a record, in the order of the contract's fields; at most twenty."""
    problems = error.errors(include_url=False, include_context=False)
    return tuple(_fault(problem) for problem in problems[:MOST_REASONS])
