"""What mends a refusal: for each reason of a rejection the field to look at and what to do, in Chinese and English. Pure.

The reasons themselves stay as the books have them; these words are the counter's, for whoever sent the record.
"""

from typing import Final, NamedTuple


class Remedy(NamedTuple):
    """``field``: where to look when the reason names none itself."""

    field: str
    zh: str
    en: str


_FREE: Final = ("该号未占用，改正后可用原号发送", "the number is still free for the corrected record")
_USED: Final = ("已提交结算的号不可再用，请换新号", "a number that was sent to settle is used, take a new one")


def _remedy(field: str, zh: str, en: str, number: tuple[str, str]) -> Remedy:
    return Remedy(field, f"{zh}；{number[0]}", f"{en}; {number[1]}")


REMEDIES: Final[dict[str, Remedy]] = {
    "malformed": _remedy("type", "请按 reasons 改正所列字段", "correct the fields named in reasons", _FREE),
    "sum_mismatch": _remedy("total", "请核对 reasons 所列金额", "correct the amounts named in reasons", _FREE),
    "visit_in_future": _remedy("visited_at", "请核对 visited_at 与 submitted_at", "correct visited_at or submitted_at", _FREE),
    "unknown_member": _remedy(
        "member_id", "请核对参保人编号，或请经办机构登记", "check member_id, or have the agency register the member", _USED
    ),
    "unknown_institution": _remedy("institution_id", "请经办机构登记本机构", "have the agency register the institution", _USED),
    "duplicate_conflict": _remedy(
        "claim_no",
        "首次结果可按该号查询，另一笔费用须用另一号",
        "ask for the first outcome by its number; another bill needs its own",
        _USED,
    ),
    "claim_not_found": _remedy(
        "claim_no",
        "无可撤销，未记任何账，该号已关闭",
        "there is nothing to cancel, nothing is booked, and the number is closed",
        _USED,
    ),
    "reversed_before_arrival": _remedy(
        "claim_no", "该号已先被撤销而关闭", "the number was closed by a reversal before this came", _USED
    ),
    "later_claim_stands": Remedy(
        "claim_no",
        "须自最后一笔起逐笔撤销；对本号撤销的答复不再改变，请与经办机构联系",
        "claims are cancelled from the latest on; what was answered to this reversal stays, so turn to the agency",
    ),
    "policy_not_in_force": _remedy(
        "visited_at",
        "请核对就诊日期；日期无误的，请与经办机构联系",
        "check the day of the visit; if it is right, turn to the agency",
        _USED,
    ),
    "benefit_not_configured": _remedy(
        "benefit",
        "请核对待遇类别；无误的，请经办机构配置 reasons 所列内容",
        "check the benefit; if it is right, have the agency configure what is named in reasons",
        _USED,
    ),
    "manual_after_deadline": _remedy(
        "submitted_at",
        "期限已过，不再支付；请核对就诊日期",
        "nothing is paid after the deadline; check the day of the visit",
        _USED,
    ),
    "region_not_served": _remedy(
        "insured_region",
        "请核对参保地；无误的，请向该地经办机构申请",
        "check the insured region; if it is right, turn to its agency",
        _USED,
    ),
    "account_use_not_allowed": _remedy(
        "purpose",
        "按 reasons 所列条文，个人账户不得支付，由本人现金支付；填写有误的，请更正后发送",
        "by the article in reasons the account may not pay, so it is paid in cash; if the record was wrong, send it corrected",
        _USED,
    ),
    "family_link_missing": _remedy(
        "for_member",
        "请核对 for_member，或请经办机构登记家庭共济关系",
        "check for_member, or have the agency register the family link",
        _USED,
    ),
    "quote_stale": _remedy("quote", "请重新试算，以新的 quote 提交", "make a new trial and send its quote", _USED),
}

_RECORD: Final = ("请发送一个 UTF-8 JSON 对象", "send one JSON object in UTF-8")

# How each text of ``shared.errors.Unreadable`` begins, what it says in Chinese, and what mends it.
_UNREADABLE: Final = (
    ("the record is empty", "内容为空", _RECORD),
    ("not UTF-8", "不是 UTF-8 编码", _RECORD),
    ("not JSON", "不是合法的 JSON", _RECORD),
    ("not a JSON object", "不是 JSON 对象", _RECORD),
    ("nested", "嵌套过深", _RECORD),
    ("an object names a key twice", "同一对象中字段名重复", ("每个字段只填一次", "give each field once")),
    (
        "a register line",
        "登记数据不是结算记录",
        (
            "此处接受 claim、reversal、account_use；登记数据由经办机构发往 register.* 主题",
            "claim, reversal and account_use are taken here; the agency sends register data to the register.* topics",
        ),
    ),
    (
        "institution_id and claim_no",
        "须有字符串 institution_id 和 claim_no（账户使用为 use_no）",
        ("请填写这两个字段，均为字符串", "give both fields, as strings"),
    ),
    (
        "institution_id or claim_no holds",
        "institution_id 或 claim_no 含半个代理对",
        ("请改正该字段中的字符", "correct the characters of that field"),
    ),
)


def unreadable_because(text: str) -> tuple[tuple[str, str], tuple[str, str]]:
    """What is unreadable about a record and what mends it, each in both languages; the place stays in the reader's own words."""
    for start, zh, remedy in _UNREADABLE:
        if text.startswith(start):
            return (f"{zh}（{text}）", text), remedy
    return (f"无法读取（{text}）", text), _RECORD
