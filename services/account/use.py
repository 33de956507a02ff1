"""Whether a personal account may pay for something: who, for what, where (policy.md, section 4). Pure."""

from typing import Final, NamedTuple

from shared.claim import AccountUse
from shared.events import Verdict
from shared.policy.account import Account, Use
from shared.reasons import Reason, reason

_PLACES: Final = {
    "designated": ("限定点医药机构", "only at a designated institution"),
    "pharmacy": ("限定点零售药店", "only at a designated pharmacy"),
    "hospital": ("限定点医院", "only at a designated hospital"),
}
_PERSONS: Final = {
    True: ("仅可用于家庭成员", "only for members of the family"),
    False: ("仅可用于本人", "only for the member himself"),
}


class Permission(NamedTuple):
    """Whether an account may pay: why not, or None; by which articles."""

    refusal: Reason | None
    articles: tuple[str, ...] = ()


def permission(use: AccountUse, verdict: Verdict, account: Account | None) -> Permission:
    """Whether the account may pay for a purchase. ``account``: the rules in force, None without any."""
    if account is None:
        return Permission(reason("policy_not_in_force", field="used_at"))
    rule = account.rule(use.purpose)
    cited = rule or account.otherwise
    articles = (cited.article,) if cited else ()
    if rule is None:
        return Permission(reason("account_use_not_allowed", article=articles[0] if articles else None, field="purpose"), articles)
    return Permission(_refusal(use, verdict, rule), articles)


def _refusal(use: AccountUse, verdict: Verdict, rule: Use) -> Reason | None:
    if rule.word == "never":
        return reason("account_use_not_allowed", article=rule.article, field="purpose")
    if rule.word == "exploratory":
        zh, en = "条文为探索事项，本地尚未开通", "the article only explores this; it is not switched on here"
        return reason("account_use_not_allowed", article=rule.article, field="purpose", zh=zh, en=en)
    return _wrong_person(use, verdict, rule) or _wrong_place(verdict, rule)


def _wrong_person(use: AccountUse, verdict: Verdict, rule: Use) -> Reason | None:
    for_self = use.for_member in (None, use.member_id)
    if ("self" if for_self else "family") not in rule.who:
        zh, en = _PERSONS[for_self]
        return reason("account_use_not_allowed", article=rule.article, field="for_member", zh=zh, en=en)
    if not for_self and not verdict.family_allowed:
        return reason("family_link_missing", article=rule.article, field="for_member")
    return None


def _wrong_place(verdict: Verdict, rule: Use) -> Reason | None:
    institution = verdict.institution
    if rule.at == "anywhere":
        return None
    if institution is not None and institution.designated:
        kind = "pharmacy" if institution.kind == "pharmacy" else "hospital"
        if rule.at in {"designated", kind}:
            return None
    zh, en = _PLACES[rule.at]
    return reason("account_use_not_allowed", article=rule.article, field="institution_id", zh=zh, en=en)
