"""Why no fund pays a claim: each ground a small function of the case. Pure.

They are asked in the order of ``GROUNDS``, and the first that holds is the reason (contract.md: the first that fails
gives the reason). The order goes from the person to the place to the paper: insured on the day, the kind of cost, in
hospital, the institution, its level, pharmacies and prescriptions, internet visits, care in another region, and last
the benefit that must have been granted.
"""

from collections.abc import Callable
from datetime import date
from typing import Final, NamedTuple

from services.eligibility.register import Register
from shared.claim import Claim
from shared.events import InstitutionFacts, MemberFacts, Qualification
from shared.policy import Version
from shared.policy.coverage import Coverage, FilingRule, PharmacyRule
from shared.policy.figure import Cited
from shared.reasons import Reason, reason
from shared.register import RemoteFiling

PHARMACY: Final = "pharmacy"
INTERNET: Final = "internet"


class Case(NamedTuple):
    """One claim with everything that is known of it on the day of the visit."""

    claim: Claim
    benefit: str  # the one that applies, with its code; usually the claim's
    family: str  # without its code
    member: MemberFacts
    institution: InstitutionFacts
    host: InstitutionFacts | None  # the physical host of an internet hospital
    prescriber: InstitutionFacts | None
    prescriber_host: InstitutionFacts | None  # of a prescription from an internet hospital
    register: Register
    version: Version
    coverage: Coverage  # what the member's region says
    day: date  # of the visit, in Asia/Shanghai
    site: InstitutionFacts  # the physical institution: an internet hospital's host, where it has one

    @property
    def online(self) -> bool:
        """Whether it was an internet visit."""
        return INTERNET in (self.claim.channel, self.institution.kind)

    @property
    def away(self) -> bool:
        """Whether care was given outside the insured region."""
        return self.site.region != self.version.region


Ground = Callable[[Case], Reason | None]


def not_in_benefit_period(case: Case) -> Reason | None:
    """Before the member's first record, or after it says he is covered to."""
    member, day = case.member, case.day
    article = case.coverage.benefit_period.article
    if day < member.valid_from:
        first = member.valid_from
        return reason("not_in_benefit_period", article=article, zh=f"自 {first} 起参保", en=f"insured from {first}")
    if member.covered_to is not None and member.covered_to < day:
        last = member.covered_to
        return reason("not_in_benefit_period", article=article, zh=f"享受至 {last}", en=f"covered to {last}")
    return None


def excluded(case: Case) -> Reason | None:
    """A cost that somebody else must pay, or that is outside the insurance."""
    kind = case.claim.excluded_as
    if kind is None:
        return None
    return reason(f"excluded_{kind}", article=getattr(case.coverage.exclusions, kind).article, field="excluded_as")


def inpatient_stay(case: Case) -> Reason | None:
    """The day of the visit is one of a stay in hospital."""
    rule = case.coverage.inpatient_stay
    if rule is None or not rule.meant_for(case.family) or not case.register.stays(case.claim.member_id, case.day):
        return None
    return reason("inpatient_stay", article=rule.article, field="visited_at")


def institution_not_designated(case: Case) -> Reason | None:
    """Not designated on the day (emergencies may be free of that), or not for pooled outpatient care."""
    rule = case.coverage.designation
    freed = case.claim.emergency and rule.emergency is not None
    if not freed and not case.institution.designated:
        return reason("institution_not_designated", article=rule.article, field="institution_id")
    if not freed and case.coverage.internet.value and case.host is not None and not case.host.designated:
        return reason(
            "institution_not_designated",
            article=rule.article,
            field="institution_id",
            zh=f"依托的实体机构 {case.host.institution_id} 未定点",
            en=f"its physical host {case.host.institution_id} is not",
        )
    pooled = rule.pooled_outpatient
    if freed or pooled is None or not pooled.meant_for(case.family) or case.site.kind == PHARMACY:
        return None
    if case.site.pooled_outpatient:
        return None
    return reason(
        "institution_not_designated",
        article=pooled.article,
        field="institution_id",
        zh="不是门诊统筹定点",
        en="not for pooled outpatient care",
    )


def level_too_low(case: Case) -> Reason | None:
    """Below the level that the city wants at such a place, and none of the kinds it takes at any level."""
    site = case.site
    if not case.coverage.levels or site.kind in (PHARMACY, INTERNET):
        return None
    where = _where(case.version.region, site.region)
    for rule in case.coverage.levels:
        if rule.where != where or not rule.meant_for(case.family) or site.kind in rule.or_kinds:
            continue
        level = case.version.benefits.levels.unrated.as_ if site.level == "none" else site.level
        if level < rule.at_least:
            return reason(
                "level_too_low",
                article=rule.article,
                field="institution_id",
                zh=f"须为 {rule.at_least} 级及以上",
                en=f"level {rule.at_least} or above is needed",
            )
    return None


def pharmacy_not_covered(case: Case) -> Reason | None:
    """Pharmacies are not paid for this benefit, or not this one."""
    rule = pharmacy_rule(case)
    if rule is None:
        return None
    if not rule.value:
        return reason("pharmacy_not_covered", article=rule.article, field="institution_id")
    if rule.pooled_outpatient and not case.site.pooled_outpatient:
        zh, en = "不是门诊统筹定点药店", "not designated for pooled outpatient care"
        return reason("pharmacy_not_covered", article=rule.article, field="institution_id", zh=zh, en=en)
    if rule.home_only is not None and case.away:
        zh, en = "限参保地药店", "only pharmacies of the insured region"
        return reason("pharmacy_not_covered", article=rule.home_only.article, field="institution_id", zh=zh, en=en)
    return None


def prescription_required(case: Case) -> Reason | None:
    """A pharmacy without a prescription of a designated medical institution; an internet hospital's as a visit there."""
    rule = pharmacy_rule(case)
    if rule is None or not rule.prescription or _may_prescribe(case):
        return None
    zh, en = "", ""
    if case.claim.prescribed_by is not None:
        zh, en = "处方须由定点医疗机构开具", "it must be of a designated medical institution"
    return reason("prescription_required", article=rule.article, field="prescribed_by", zh=zh, en=en)


def _may_prescribe(case: Case) -> bool:
    prescriber, host = case.prescriber, case.prescriber_host
    if prescriber is None or not prescriber.designated or prescriber.kind == PHARMACY:
        return False
    return prescriber.kind != INTERNET or (case.coverage.internet.value and host is not None and host.designated)


def internet_not_covered(case: Case) -> Reason | None:
    """Internet visits are not paid, or the internet hospital has no physical host."""
    if not case.online:
        return None
    rule = case.coverage.internet
    if not rule.value:
        return reason("internet_not_covered", article=rule.article, field="channel")
    if case.institution.kind == INTERNET and case.host is None:
        zh, en = "未登记依托的实体机构", "no physical host is registered"
        return reason("internet_not_covered", article=rule.article, field="institution_id", zh=zh, en=en)
    return None


def remote_not_filed(case: Case) -> Reason | None:
    """Care in another region without a filing of a kind that counts."""
    rule = filing_rule(case)
    if rule is None or _filings(case, rule):
        return None
    kinds = ", ".join(rule.kinds)
    return reason("remote_not_filed", article=rule.article, zh=f"就医地 {case.site.region}", en=f"needs {kinds}")


def remote_other_institution(case: Case) -> Reason | None:
    """Not the networked institution chosen in the filing, where one has to be chosen."""
    rule = filing_rule(case)
    if rule is None or not rule.chosen_institution:
        return None
    places = (case.claim.institution_id, case.site.institution_id)
    chosen = any(filing.institution_id in places for filing in _last_filed(case, rule))
    if chosen and case.site.networked:
        return None
    zh, en = ("机构未联网", "it is not networked") if chosen else ("", "")
    return reason("remote_other_institution", article=rule.article, field="institution_id", zh=zh, en=en)


def benefit_not_qualified(case: Case) -> Reason | None:
    """The benefit was not granted to the member, or not with this institution and doctor."""
    for rule in case.coverage.qualifications:
        if not rule.meant_for(case.family):
            continue
        granted = [grant for grant in case.member.qualifications if grant.benefit == case.benefit]
        if any(_matches(grant, case.claim) for grant in granted):
            return None
        zh, en = ("须在认定的机构、由认定的医师", "only with the institution and doctor named") if granted else ("", "")
        return reason("benefit_not_qualified", article=rule.article, field="benefit", zh=zh, en=en)
    return None


GROUNDS: Final[tuple[Ground, ...]] = (
    not_in_benefit_period,
    excluded,
    inpatient_stay,
    institution_not_designated,
    level_too_low,
    pharmacy_not_covered,
    prescription_required,
    internet_not_covered,
    remote_not_filed,
    remote_other_institution,
    benefit_not_qualified,
)


def first_that_holds(case: Case) -> Reason | None:
    """Why no fund pays; None where one may."""
    for ground in GROUNDS:
        found = ground(case)
        if found is not None:
            return found
    return None


def pharmacy_rule(case: Case) -> PharmacyRule | None:
    """What the city says of pharmacies and this benefit; None at a medical institution, or where it says nothing."""
    if case.site.kind != PHARMACY:
        return None
    return next((rule for rule in case.coverage.pharmacies if rule.meant_for(case.family)), None)


def filing_rule(case: Case) -> FilingRule | None:
    """The rule on filings if this claim falls under it. An emergency counts as filed."""
    rule = case.coverage.filing
    if rule is None or case.claim.emergency or not case.away or not rule.meant_for(case.family):
        return None
    return rule if rule.channels is None or case.claim.channel in rule.channels else None


def applied(case: Case) -> tuple[str, ...]:
    """The articles on which the funds are open for this case, each once."""
    coverage = case.coverage
    cited: list[Cited | None] = [coverage.benefit_period, coverage.designation, pharmacy_rule(case)]
    where = _where(case.version.region, case.site.region) if coverage.levels else ""
    cited += [rule for rule in coverage.levels if rule.where == where and rule.meant_for(case.family)]
    if case.online:
        cited.append(coverage.internet)
    cited.append(filing_rule(case))
    if case.claim.emergency and not case.institution.designated:
        cited.append(coverage.designation.emergency)
    if case.claim.emergency and case.away and coverage.filing is not None:
        cited.append(coverage.filing.emergency)
    return tuple(dict.fromkeys(rule.article for rule in cited if rule is not None))


def _where(home: str, region: str) -> str:
    if region == home:
        return "home"
    return "province" if region[:2] == home[:2] else "elsewhere"  # the first two digits name the province


def _filings(case: Case, rule: FilingRule) -> list[RemoteFiling]:
    found = case.register.filings(case.claim.member_id, case.site.region, case.day)
    return [filing for filing in found if filing.kind in rule.kinds]


def _last_filed(case: Case, rule: FilingRule) -> list[RemoteFiling]:
    """Of the filings open on the day, whatever the region, the last: one institution is chosen, and choosing anew replaces it."""
    found = [one for one in case.register.filings(case.claim.member_id, None, case.day) if one.kind in rule.kinds]
    last = max((one.valid_from for one in found), default=None)
    return [one for one in found if one.valid_from == last]


def _matches(grant: Qualification, claim: Claim) -> bool:
    places = (None, claim.institution_id, claim.prescribed_by)
    return grant.institution_id in places and grant.doctor_id in (None, claim.doctor_id)
