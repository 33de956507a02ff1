"""The closed list of reason codes (contract.md, section 2), with their texts in Chinese and English.

A reason is for people: it says what, where and how to mend it. ``REJECTED`` codes book nothing; with the others the
claim settles without a fund, or with a part of it.
"""

import msgspec

VERSION = 1

_NOT_BINDING = {
    "malformed": ("格式错误", "malformed"),
    "sum_mismatch": ("金额合计不符", "the amounts do not add up"),
    "visit_in_future": ("就诊时间晚于提交时间", "the visit is later than the submission"),
}
_BINDING = {
    "unknown_member": ("参保人未登记", "the member is not in the register"),
    "unknown_institution": ("医药机构未登记", "the institution is not in the register"),
    "duplicate_conflict": ("同一结算号内容不同，首次结果有效", "same number with other content; the first outcome stands"),
    "claim_not_found": ("未找到该结算号，该号已关闭", "no claim has this number; the number is now closed"),
    "reversed_before_arrival": ("该结算号已先被撤销", "this number was reversed before the claim arrived"),
    "later_claim_stands": ("其后的结算未撤销，不能撤销本笔", "a later claim of the same person and period stands"),
    "policy_not_in_force": ("就诊日无有效政策", "no policy is in force on the day of the visit"),
    "benefit_not_configured": ("待遇参数未配置", "the benefit needs a parameter that is not configured"),
    "manual_after_deadline": ("已过手工报销期限", "the deadline for manual reimbursement has passed"),
    "region_not_served": ("参保地不在本系统", "the insured region is not served here"),
    "quote_stale": ("试算结果已变化", "the quote is no longer current"),
}
_SETTLED = {
    "not_in_benefit_period": ("不在待遇享受期", "not in the benefit period"),
    "inpatient_stay": ("住院期间不享受门诊统筹", "no outpatient benefit during an inpatient stay"),
    "institution_not_designated": ("非定点医药机构", "the institution is not designated"),
    "level_too_low": ("机构级别不在支付范围", "the institution's level is outside the benefit"),
    "pharmacy_not_covered": ("药店不在统筹支付范围", "pharmacies are outside the benefit"),
    "prescription_required": ("缺少外配处方", "an outside prescription is required"),
    "internet_not_covered": ("互联网诊疗未纳入支付", "internet visits are not covered"),
    "remote_not_filed": ("未办理异地就医备案", "care in another region was not filed"),
    "remote_other_institution": ("不是备案选定的机构", "not the institution chosen in the filing"),
    "excluded_work_injury": ("应由工伤保险支付", "work injury insurance is liable"),
    "excluded_third_party": ("应由第三人负担", "a third party is liable"),
    "excluded_public_health": ("应由公共卫生负担", "public health is liable"),
    "excluded_abroad": ("境外就医", "care abroad"),
    "excluded_wellness": ("健身养生体检不属于保障范围", "fitness, wellness and check-ups are outside the insurance"),
    "benefit_not_qualified": ("未取得该待遇资格", "the member is not qualified for the benefit"),
    "nothing_in_scope": ("无政策范围内费用", "nothing of the cost is in scope"),
    "within_deductible": ("未超过起付线", "within the deductible"),
    "cap_reached": ("达到支付限额", "a cap limits the payment"),
    "account_use_not_allowed": ("个人账户不得用于该用途", "the account may not be used for this"),
    "family_link_missing": ("未登记家庭共济关系", "the family payer is not registered and authorised"),
    "unknown_item": ("目录外项目，自费", "not in the catalogue; own-paid"),
}

TEXTS: dict[str, tuple[str, str]] = _NOT_BINDING | _BINDING | _SETTLED
NOT_BINDING = frozenset(_NOT_BINDING)  # a corrected record may use the number again
REJECTED = frozenset(_NOT_BINDING) | frozenset(_BINDING)
SETTLED = frozenset(_SETTLED)
REJECTS_USE = frozenset({"account_use_not_allowed", "family_link_missing"})  # an account use, which asks for nothing else


class Reason(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Why: a code of the closed list, the article where one applies, the field where one is at fault."""

    code: str
    zh: str
    en: str
    article: str | None = None
    field: str | None = None


def reason(code: str, *, article: str | None = None, field: str | None = None, zh: str = "", en: str = "") -> Reason:
    """A reason by its code, its standing text followed by what is particular to the case. Raises KeyError."""
    text_zh, text_en = TEXTS[code]
    return Reason(
        code=code,
        zh=f"{text_zh}：{zh}" if zh else text_zh,
        en=f"{text_en}: {en}" if en else text_en,
        article=article,
        field=field,
    )
