"""Cases of persons and places, article by article: Cangzhou, Zhanjiang, and how a case is written."""

from typing import Any, NamedTuple

from eligibility_world import (
    BAZHONG,
    CANGZHOU,
    DAY,
    KASHGAR,
    SHIYAN,
    ZHANJIANG,
    filing,
    grant,
    member,
    on,
    pharmacy,
    place,
)

from shared.register import InpatientStay, RegisterRecord

SAME_PROVINCE = {CANGZHOU: "130100", ZHANJIANG: "440100", BAZHONG: "510100", KASHGAR: "650100", SHIYAN: "420100"}


FAR = "110000"


class Row(NamedTuple):
    """One case: what the register holds besides M and H, what the claim says, and what is found."""

    name: str
    article: str
    found: str
    rows: tuple[RegisterRecord, ...]
    claim: dict[str, Any]


def case(name: str, article: str, found: str, *rows: RegisterRecord, **claim: Any) -> Row:
    return Row(name, article, found, rows, claim)


NEAR = SAME_PROVINCE[CANGZHOU]


CANGZHOU_CASES = [
    case("a hospital of level 2 at home", "130900:10", "open"),
    case("a township hospital at home", "130900:15", "open", place(CANGZHOU, kind="township", level="1")),
    case("a community centre at home", "130900:15", "open", place(CANGZHOU, kind="community", level="none")),
    case("a psychiatric institution at home", "130900:15", "open", place(CANGZHOU, kind="psychiatric", level="1")),
    case("a level 1 hospital at home", "130900:15", "level_too_low", place(CANGZHOU, level="1")),
    case("an unrated hospital at home", "130900:15", "level_too_low", place(CANGZHOU, level="none")),
    case("a village clinic at home", "130900:15", "level_too_low", place(CANGZHOU, kind="village", level="none")),
    case("level 2 elsewhere in the province", "130900:15", "open", place(NEAR)),
    case("a township hospital elsewhere in the province", "130900:15", "level_too_low", place(NEAR, kind="township", level="1")),
    case("level 3 in another province", "130900:16", "open", place(FAR, level="3")),
    case("level 1 in another province", "130900:16", "level_too_low", place(FAR, level="1")),
    case("psychiatric level 1 in another province", "130900:16", "level_too_low", place(FAR, kind="psychiatric", level="1")),
    case("an emergency at level 1 stays at level 1", "130900:15", "level_too_low", place(CANGZHOU, level="1"), emergency=True),
    case(
        "chronic care at level 1",
        "130900:10",
        "open",
        member(CANGZHOU, qualifications=(grant("chronic:X"),)),
        place(CANGZHOU, level="1"),
        benefit="chronic:X",
    ),
    case("a pharmacy with a prescription", "130900:11", "open", pharmacy(CANGZHOU), place(CANGZHOU, "D"), prescribed_by="D"),
    case("a pharmacy without a prescription", "130900:11", "prescription_required", pharmacy(CANGZHOU)),
    case("a prescription of an unknown institution", "130900:11", "prescription_required", pharmacy(CANGZHOU), prescribed_by="D"),
    case(
        "a prescription of an undesignated institution",
        "130900:11",
        "prescription_required",
        pharmacy(CANGZHOU),
        place(CANGZHOU, "D", since="2023-05-11"),
        prescribed_by="D",
    ),
    case(
        "a prescription of a pharmacy",
        "130900:11",
        "prescription_required",
        pharmacy(CANGZHOU),
        pharmacy(CANGZHOU, "D"),
        prescribed_by="D",
    ),
    case(
        "a prescription of an internet hospital",
        "130900:11",
        "open",
        pharmacy(CANGZHOU),
        place(CANGZHOU, "D", kind="internet", level="none", host_institution_id="P"),
        place(CANGZHOU, "P"),
        prescribed_by="D",
    ),
    case(
        "a prescription of an internet hospital without a host",
        "130900:11",
        "prescription_required",
        pharmacy(CANGZHOU),
        place(CANGZHOU, "D", kind="internet", level="none"),
        prescribed_by="D",
    ),
    case(
        "a prescription of an internet hospital of an undesignated host",
        "130900:11",
        "prescription_required",
        pharmacy(CANGZHOU),
        place(CANGZHOU, "D", kind="internet", level="none", host_institution_id="P"),
        place(CANGZHOU, "P", since="2023-05-11"),
        prescribed_by="D",
    ),
    case(
        "a pharmacy not of the pooled scheme",
        "130900:11",
        "pharmacy_not_covered",
        pharmacy(CANGZHOU, pooled_outpatient=False),
        place(CANGZHOU, "D"),
        prescribed_by="D",
    ),
    case(
        "a pharmacy elsewhere in the province",
        "130900:15",
        "pharmacy_not_covered",
        pharmacy(NEAR),
        place(CANGZHOU, "D"),
        prescribed_by="D",
    ),
    case("an internet visit at a hospital", "130900:12", "open", channel="internet"),
    case(
        "an internet hospital of a level 2 host",
        "130900:12",
        "open",
        place(CANGZHOU, kind="internet", level="none", host_institution_id="P"),
        place(CANGZHOU, "P"),
        channel="internet",
    ),
    case(
        "an internet hospital of a level 1 host",
        "130900:15",
        "level_too_low",
        place(CANGZHOU, kind="internet", level="none", host_institution_id="P"),
        place(CANGZHOU, "P", level="1"),
        channel="internet",
    ),
    case(
        "an internet hospital without a host",
        "130900:12",
        "internet_not_covered",
        place(CANGZHOU, kind="internet", level="none"),
        channel="internet",
    ),
    case(
        "an internet hospital of an undesignated host",
        "130900:10",
        "institution_not_designated",
        place(CANGZHOU, kind="internet", level="none", host_institution_id="P"),
        place(CANGZHOU, "P", since="2023-06-01"),
        channel="internet",
    ),
    case("a stay in hospital excludes nothing", "130900:10", "open", InpatientStay("M", "H", DAY)),
    case(
        "an emergency at an undesignated hospital",
        "130900:10",
        "institution_not_designated",
        place(CANGZHOU, since="2023-06-01"),
        emergency=True,
    ),
    case("handed in years later", "130900:10", "open", channel="manual", submitted_at=on("2026-05-10")),
    case("chronic without the qualification", "130900:10", "benefit_not_qualified", benefit="chronic:X"),
]


AWAY = SAME_PROVINCE[ZHANJIANG]


ZHANJIANG_CASES = [
    case("a hospital of any level at home", "440800:8", "open", place(ZHANJIANG, level="none")),
    case("a pharmacy", "440800:11", "pharmacy_not_covered", pharmacy(ZHANJIANG), place(ZHANJIANG, "D"), prescribed_by="D"),
    case("an internet visit", "440800:7", "internet_not_covered", channel="internet"),
    case(
        "an internet hospital settled directly",
        "440800:7",
        "internet_not_covered",
        place(ZHANJIANG, kind="internet", level="none", host_institution_id="P"),
        place(ZHANJIANG, "P"),
    ),
    case(
        "an internet hospital of an undesignated host",
        "440800:7",
        "internet_not_covered",
        place(ZHANJIANG, kind="internet", level="none", host_institution_id="P"),
        place(ZHANJIANG, "P", since="2023-06-01"),
    ),
    case(
        "chronic care elsewhere without a filing",
        "440800:19",
        "open",
        member(ZHANJIANG, qualifications=(grant("chronic:X"),)),
        place(AWAY),
        benefit="chronic:X",
    ),
    case("after what he is covered to", "440800:10", "not_in_benefit_period", member(ZHANJIANG, covered_to=DAY.replace(day=9))),
    case("a stay in hospital", "440800:12", "inpatient_stay", InpatientStay("M", "X", DAY)),
    case(
        "chronic care during a stay",
        "440800:12",
        "open",
        member(ZHANJIANG, qualifications=(grant("chronic:X"),)),
        InpatientStay("M", "X", DAY),
        benefit="chronic:X",
    ),
    case("elsewhere without a filing", "440800:19", "remote_not_filed", place(AWAY)),
    case("elsewhere, filed and chosen", "440800:19", "open", place(AWAY), filing(AWAY, "temporary", "H")),
    case("elsewhere, another hospital chosen", "440800:19", "remote_other_institution", place(AWAY), filing(AWAY, "posted", "X")),
    case("elsewhere, no hospital chosen", "440800:19", "remote_other_institution", place(AWAY), filing(AWAY, "posted")),
    case(
        "elsewhere, the chosen one not networked",
        "440800:19",
        "remote_other_institution",
        place(AWAY, networked=False),
        filing(AWAY, "posted", "H"),
    ),
    case("filed for another region", "440800:19", "remote_not_filed", place(AWAY), filing(FAR, "posted", "H")),
    case(
        "a second filing chooses the hospital",
        "440800:19",
        "open",
        place(AWAY),
        filing(AWAY, "posted", "X"),
        filing(AWAY, "referral", "H"),
    ),
    case("an emergency elsewhere without a filing", "440800:19", "open", place(AWAY), emergency=True),
    case("an undesignated hospital", "440800:19", "institution_not_designated", place(ZHANJIANG, since="2023-06-01")),
    case("an emergency at an undesignated hospital", "440800:19", "open", place(ZHANJIANG, since="2023-06-01"), emergency=True),
    case(
        "an emergency at an undesignated hospital elsewhere", "440800:19", "open", place(AWAY, since="2023-06-01"), emergency=True
    ),
    case("fitness", "440800:16", "excluded_wellness", excluded_as="wellness"),
]
