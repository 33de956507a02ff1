"""Eligibility's verdict on a claim: may it be settled, may a fund pay, may an account pay, what does it cost. Pure.

Rejections come first, in this order (the first that holds is the reason): ``region_not_served`` (the region the claim
names), ``unknown_member``, ``region_not_served`` (the region the register names, which is the one that counts),
``unknown_institution``, ``policy_not_in_force``, ``manual_after_deadline``. Then the grounds of ``grounds.py``.
"""

from datetime import date
from typing import Final, NamedTuple

from services.eligibility.grounds import Case, applied, first_that_holds
from services.eligibility.pricing import price
from services.eligibility.register import Register
from shared.claim import AccountUse, Claim
from shared.events import Beyond, InstitutionFacts, ItemFacts, MemberFacts, Verdict
from shared.policy import Policies, Version
from shared.policy.coverage import Coverage
from shared.reasons import Reason, reason

MANUAL: Final = "manual"


class Known(NamedTuple):
    """Who came, where to, under which rules."""

    member: MemberFacts
    institution: InstitutionFacts
    version: Version


class Judge:
    """Judges by the packs of a deployment."""

    def __init__(self, policies: Policies) -> None:
        self._policies = policies

    def claim(self, claim: Claim, register: Register) -> Verdict:
        """The verdict on a claim."""
        named = claim.insured_region
        if named is not None and not self._policies.serves(named):
            return Verdict(region=named, rejection=_not_served(named))
        known = self._known(claim.member_id, claim.institution_id, claim.visited_on, register)
        if isinstance(known, Verdict):
            return known
        late = _after_deadline(claim, known)
        if late is not None:
            return _rejected(late, known)
        return self._verdict(_case(claim, known, register))

    def use(self, use: AccountUse, register: Register) -> Verdict:
        """The verdict on a purchase from an account: who, where, and whether for a registered relation."""
        known = self._known(use.member_id, use.institution_id, use.used_on, register)
        if isinstance(known, Verdict):
            return known
        member, institution, version = known
        closed = None if institution.designated else _undesignated(version.coverage)
        other = use.for_member
        return Verdict(
            region=member.region,
            care_region=institution.region,
            policy=version.ref,
            account_open=closed is None,
            account_reason=closed,
            family_allowed=other is not None and _related(register, use.member_id, other, use.used_on, version.coverage),
            member=member,
            institution=institution,
        )

    def _known(self, member_id: str, institution_id: str, day: date, register: Register) -> Known | Verdict:
        """Who, where and by which rules; or the rejection."""
        member = register.member(member_id, day)
        institution = register.institution(institution_id, day)
        care_region = institution.region if institution is not None else ""
        if member is None:
            why = reason("unknown_member", field="member_id")
            return Verdict(care_region=care_region, rejection=why, institution=institution)
        region = member.region
        version = self._policies.on(region, day)
        if version is not None and institution is not None:
            return Known(member, institution, version)
        if not self._policies.serves(region):
            why = _not_served(region)
        elif institution is None:
            why = reason("unknown_institution", field="institution_id")
        else:
            why = reason("policy_not_in_force", zh=f"{region}，{day}", en=f"{region} on {day}")
        return Verdict(region=region, care_region=care_region, rejection=why, member=member, institution=institution)

    def _verdict(self, case: Case) -> Verdict:
        claim, version = case.claim, case.version
        items = _items(case)
        amounts, line_reasons = price(claim.lines, items.get) if claim.lines else (claim.amounts, ())
        closed = first_that_holds(case)
        account_reason = _account_closed(case)
        payer = claim.family_payer
        closed_family = None if payer is None else _family_closed(payer, case)
        return Verdict(
            region=version.region,
            care_region=case.institution.region,
            policy=version.ref,
            benefit=case.benefit if case.benefit != claim.benefit else "",
            fund_closed=() if closed is None else (closed,),
            account_open=account_reason is None,
            account_reason=account_reason,
            family_allowed=payer is not None and closed_family is None,
            family_reason=closed_family,
            line_reasons=line_reasons,
            items=tuple(items.values()),
            amounts=amounts,
            member=case.member,
            institution=case.institution,
            host=case.host,
            prescriber=case.prescriber,
            prescriber_host=case.prescriber_host,
            beyond=_beyond(case),
            articles=(*(applied(case) if closed is None else ()), *(() if payer is None else (case.coverage.family.article,))),
        )


def _case(claim: Claim, known: Known, register: Register) -> Case:
    day, coverage = claim.visited_on, known.version.coverage
    prescriber, host = claim.prescribed_by, register.host_of(claim.institution_id, day)
    benefit = _benefit(claim, known.member, coverage)
    return Case(
        claim=claim,
        benefit=benefit,
        family=benefit.partition(":")[0],
        member=known.member,
        institution=known.institution,
        host=host,
        prescriber=None if prescriber is None else register.institution(prescriber, day),
        prescriber_host=None if prescriber is None else register.host_of(prescriber, day),
        register=register,
        version=known.version,
        coverage=coverage,
        day=day,
        site=host or known.institution,
    )


def _beyond(case: Case) -> Beyond | None:
    """Whether what is above the benefit's limit may go on to another: that one's own conditions decide."""
    step = case.version.goes_on.get(case.family)
    if step is None:
        return None
    other = case._replace(benefit=step.to, family=step.to)
    return Beyond(article=step.article, closed=first_that_holds(other))


def _benefit(claim: Claim, member: MemberFacts, coverage: Coverage) -> str:
    """The benefit that applies: a two-diseases patient who meets the chronic standard gets that one instead."""
    rule = coverage.chronic_instead
    if rule is None or claim.benefit not in ("hypertension", "diabetes"):
        return claim.benefit
    codes = {f"chronic:{code}" for code in getattr(rule, claim.benefit)}
    return next((grant.benefit for grant in member.qualifications if grant.benefit in codes), claim.benefit)


def _items(case: Case) -> dict[str, ItemFacts]:
    """What the catalogue of the place of care says of the bill's codes on the day of the visit, each once."""
    found = {line.code: case.register.item(case.institution.region, line.code, case.day) for line in case.claim.lines}
    return {
        code: ItemFacts(
            code=code, category=item.category, pre_self_pay_ratio=item.pre_self_pay_ratio, price_limit=item.price_limit
        )
        for code, item in found.items()
        if item is not None
    }


def _after_deadline(claim: Claim, known: Known) -> Reason | None:
    rule = known.version.coverage.manual_deadline
    if rule is None or claim.channel != MANUAL:
        return None
    if rule.where == "other_region" and known.institution.region == known.version.region:
        return None
    handed_in, next_year = claim.submitted_on, claim.visited_on.year + 1
    if (handed_in.year, f"{handed_in:%m-%d}") <= (next_year, rule.until):
        return None
    last = f"{next_year}-{rule.until}"
    return reason("manual_after_deadline", article=rule.article, field="submitted_at", zh=f"截止 {last}", en=f"it was {last}")


def _account_closed(case: Case) -> Reason | None:
    """Why no account may carry the person's share; it may outside the benefit period."""
    kind = case.claim.excluded_as
    exclusion = None if kind is None else getattr(case.coverage.exclusions, kind)
    if exclusion is not None and exclusion.account is not None:
        return reason("account_use_not_allowed", article=exclusion.account.article, field="excluded_as")
    return None if case.institution.designated else _undesignated(case.coverage)


def _undesignated(coverage: Coverage) -> Reason:
    article = coverage.designation.account.article
    zh, en = "限定点医药机构", "only at designated institutions"
    return reason("account_use_not_allowed", article=article, field="institution_id", zh=zh, en=en)


def _family_closed(payer: str, case: Case) -> Reason | None:
    """Why the payer's account stays closed to the patient; None if it is open.

    Another city's account is not charged in a claim, of which one city owes all: it is by a purchase for the patient (Q34).
    """
    article, field = case.coverage.family.article, "family_payer"
    holder = case.register.member(payer, case.day)
    if holder is not None and holder.region != case.member.region:
        zh, en = (
            "持有人在另一统筹区参保，请另报账户支付",
            "the holder is insured in another city: send an account_use for the patient",
        )
        return reason("account_use_not_allowed", article=article, field=field, zh=zh, en=en)
    if _related(case.register, payer, case.claim.member_id, case.day, case.coverage):
        return None
    return reason("family_link_missing", article=article, field=field)


def _related(register: Register, holder: str, beneficiary: str, day: date, rules: Coverage) -> bool:
    return any(relation in rules.family.relations for relation in register.links(holder, beneficiary, day))


def _rejected(why: Reason, known: Known) -> Verdict:
    return Verdict(
        region=known.member.region,
        care_region=known.institution.region,
        policy=known.version.ref,
        rejection=why,
        member=known.member,
        institution=known.institution,
    )


def _not_served(region: str) -> Reason:
    return reason("region_not_served", field="insured_region", zh=region, en=region)
