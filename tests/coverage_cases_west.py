"""Cases of persons and places, article by article: Bazhong, Kashgar, Shiyan."""

from coverage_cases import FAR, SAME_PROVINCE, case
from eligibility_world import (
    BAZHONG,
    DAY,
    KASHGAR,
    SHIYAN,
    filing,
    grant,
    member,
    on,
    pharmacy,
    place,
)

from shared.register import InpatientStay

TWO_DISEASES = (grant("hypertension"), grant("diabetes"))


BAZHONG_CASES = [
    case("a hospital", "511900:13", "open"),
    case("elsewhere without a filing", "511900:13", "open", place(FAR)),
    case("a stay in hospital excludes nothing", "511900:13", "open", InpatientStay("M", "H", DAY)),
    case(
        "a hospital not of the pooled scheme", "511900:13", "institution_not_designated", place(BAZHONG, pooled_outpatient=False)
    ),
    case("work injury", "511900:12", "excluded_work_injury", excluded_as="work_injury"),
    case("a third party", "511900:12", "excluded_third_party", excluded_as="third_party"),
    case("public health", "511900:12", "excluded_public_health", excluded_as="public_health"),
    case("care abroad", "511900:12", "excluded_abroad", excluded_as="abroad"),
    case("a check-up", "511900:12", "excluded_wellness", excluded_as="wellness"),
    case("a pharmacy without a prescription", "511900:18", "open", pharmacy(BAZHONG)),
    case("a pharmacy not of the pooled scheme", "511900:18", "pharmacy_not_covered", pharmacy(BAZHONG, pooled_outpatient=False)),
    case("an internet visit", "511900:13", "internet_not_covered", channel="internet"),
    case("two diseases at a hospital", "511900:15", "open", member(BAZHONG, qualifications=TWO_DISEASES), benefit="diabetes"),
    case(
        "two diseases at a hospital not of the pooled scheme",
        "511900:15",
        "open",
        member(BAZHONG, qualifications=TWO_DISEASES),
        place(BAZHONG, pooled_outpatient=False),
        benefit="diabetes",
    ),
    case(
        "two diseases at a pharmacy",
        "511900:15",
        "pharmacy_not_covered",
        member(BAZHONG, qualifications=TWO_DISEASES),
        pharmacy(BAZHONG),
        benefit="hypertension",
    ),
    case("two diseases without the qualification", "511900:15", "benefit_not_qualified", benefit="hypertension"),
    case(
        "the other of two diseases",
        "511900:15",
        "benefit_not_qualified",
        member(BAZHONG, qualifications=(grant("diabetes"),)),
        benefit="hypertension",
    ),
    case("chronic without the qualification", "511900:16", "benefit_not_qualified", benefit="chronic:X"),
    case("handed in by the end of June", "511900:17", "open", channel="manual", submitted_at=on("2024-06-30")),
    case("handed in in July", "511900:17", "manual_after_deadline", channel="manual", submitted_at=on("2024-07-01")),
    case("settled directly, sent late", "511900:17", "open", submitted_at=on("2024-07-01")),
]


ABROAD = SAME_PROVINCE[KASHGAR]


DRUG = grant("special_drug:X", institution_id="H", doctor_id="D1")


KASHGAR_CASES = [
    case("a hospital", "653100:10", "open"),
    case(
        "a special drug at its hospital by its doctor",
        "653100:9",
        "open",
        member(KASHGAR, qualifications=(DRUG,)),
        benefit="special_drug:X",
        doctor_id="D1",
    ),
    case(
        "a special drug by another doctor",
        "653100:13",
        "benefit_not_qualified",
        member(KASHGAR, qualifications=(DRUG,)),
        benefit="special_drug:X",
        doctor_id="D2",
    ),
    case(
        "a special drug without a doctor",
        "653100:13",
        "benefit_not_qualified",
        member(KASHGAR, qualifications=(DRUG,)),
        benefit="special_drug:X",
    ),
    case(
        "a special drug at another hospital",
        "653100:13",
        "benefit_not_qualified",
        member(KASHGAR, qualifications=(DRUG,)),
        place(KASHGAR, "X"),
        institution_id="X",
        benefit="special_drug:X",
        doctor_id="D1",
    ),
    case(
        "a special drug at a pharmacy, prescribed at its hospital",
        "653100:9",
        "open",
        member(KASHGAR, qualifications=(DRUG,)),
        pharmacy(KASHGAR, "X"),
        institution_id="X",
        prescribed_by="H",
        benefit="special_drug:X",
        doctor_id="D1",
    ),
    case(
        "another special drug",
        "653100:13",
        "benefit_not_qualified",
        member(KASHGAR, qualifications=(DRUG,)),
        benefit="special_drug:Y",
        doctor_id="D1",
    ),
    case("chronic without the qualification", "653100:12", "benefit_not_qualified", benefit="chronic:X"),
    case(
        "chronic at a pharmacy",
        "653100:9",
        "open",
        member(KASHGAR, qualifications=(grant("chronic:X"),)),
        pharmacy(KASHGAR),
        benefit="chronic:X",
    ),
    case("day surgery at a hospital", "653100:11", "open", benefit="day_surgery"),
    case("day surgery at a pharmacy", "653100:11", "pharmacy_not_covered", pharmacy(KASHGAR), benefit="day_surgery"),
    case("a stay in hospital", "653100:15", "inpatient_stay", InpatientStay("M", "X", DAY)),
    case("a retired member settled elsewhere", "653100:21", "open", place(ABROAD), filing(ABROAD, "settled_retiree")),
    case("a member posted elsewhere", "653100:21", "open", place(ABROAD), filing(ABROAD, "posted", "X")),
    case("a referral is not of the two kinds", "653100:21", "remote_not_filed", place(ABROAD), filing(ABROAD, "referral")),
    case("elsewhere without a filing", "653100:21", "remote_not_filed", place(ABROAD)),
    case("elsewhere, handed in without a filing", "653100:21", "remote_not_filed", place(ABROAD), channel="manual"),
    case(
        "elsewhere, filed, handed in years later",
        "653100:21",
        "open",
        place(ABROAD),
        filing(ABROAD, "posted"),
        channel="manual",
        submitted_at=on("2026-01-01"),
    ),
    case("an internet visit", "653100:22", "open", channel="internet"),
    case(
        "a pharmacy with a prescription",
        "653100:23",
        "open",
        pharmacy(KASHGAR, pooled_outpatient=False),
        place(KASHGAR, "D"),
        prescribed_by="D",
    ),
    case("a pharmacy without a prescription", "653100:23", "prescription_required", pharmacy(KASHGAR)),
    case("an emergency at an undesignated hospital", "653100:24", "open", place(KASHGAR, since="2023-06-01"), emergency=True),
    case("an emergency elsewhere without a filing", "653100:24", "open", place(ABROAD), emergency=True),
    case("an undesignated hospital", "653100:10", "institution_not_designated", place(KASHGAR, since="2023-06-01")),
]


AFAR = SAME_PROVINCE[SHIYAN]


SHIYAN_CASES = [
    case("a village clinic", "420300:5", "open", place(SHIYAN, kind="village", level="none")),
    case("after what he is covered to", "420300:5", "not_in_benefit_period", member(SHIYAN, covered_to=DAY.replace(day=9))),
    case("maternity", "420300:6", "open", benefit="maternity"),
    case("chronic without the qualification", "420300:7", "benefit_not_qualified", benefit="chronic:X"),
    case("a dual-channel drug without the qualification", "420300:16", "benefit_not_qualified", benefit="special_drug:X"),
    case("a stay in hospital", "420300:9", "inpatient_stay", InpatientStay("M", "X", DAY)),
    case("maternity during a stay", "420300:9", "open", InpatientStay("M", "X", DAY), benefit="maternity"),
    case("a pharmacy with a prescription", "420300:17", "open", pharmacy(SHIYAN), place(SHIYAN, "D"), prescribed_by="D"),
    case("a pharmacy without a prescription", "420300:17", "prescription_required", pharmacy(SHIYAN)),
    case(
        "a pharmacy that does not qualify",
        "420300:17",
        "pharmacy_not_covered",
        pharmacy(SHIYAN, pooled_outpatient=False),
        place(SHIYAN, "D"),
        prescribed_by="D",
    ),
    case("an internet visit", "420300:17", "open", channel="internet"),
    case("elsewhere at the filed place", "420300:18", "open", place(AFAR), filing(AFAR, "temporary")),
    case("elsewhere, directly, without a filing", "420300:18", "remote_not_filed", place(AFAR)),
    case("elsewhere, an emergency", "420300:18", "open", place(AFAR), emergency=True),
    case("elsewhere, handed in without a filing", "420300:8", "open", place(AFAR), channel="manual"),
    case(
        "elsewhere, handed in on the last day of March",
        "420300:18",
        "open",
        place(AFAR),
        channel="manual",
        submitted_at=on("2024-03-31"),
    ),
    case(
        "elsewhere, handed in in April",
        "420300:18",
        "manual_after_deadline",
        place(AFAR),
        channel="manual",
        submitted_at=on("2024-04-01"),
    ),
    case("at home, handed in in April", "420300:18", "open", channel="manual", submitted_at=on("2024-04-01")),
    case(
        "an emergency at an undesignated hospital",
        "420300:5",
        "institution_not_designated",
        place(SHIYAN, since="2023-06-01"),
        emergency=True,
    ),
]
