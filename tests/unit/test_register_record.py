"""Reading the register's feed objects: what is taken, and what each refusal says."""

import json
from datetime import date
from typing import Any

import pytest

from shared import register
from shared.errors import Unreadable
from shared.register import (
    AccountCredit,
    CatalogueItem,
    FamilyLink,
    Grant,
    InpatientStay,
    Institution,
    Member,
    RemoteFiling,
)

MEMBER: dict[str, Any] = {
    "type": "member",
    "member_id": "M",
    "region": "130900",
    "status": "active",
    "employment": "employee",
    "sector": "enterprise",
    "valid_from": "2023-01-01",
}
INSTITUTION: dict[str, Any] = {
    "type": "institution",
    "institution_id": "H",
    "region": "130900",
    "kind": "hospital",
    "level": "2",
    "designated_from": "2023-01-01",
    "pooled_outpatient": True,
    "networked": False,
}
LINK: dict[str, Any] = {
    "type": "family_link",
    "holder_id": "P",
    "beneficiary_id": "M",
    "relation": "spouse",
    "authorized_from": "2023-01-01",
}
FILING: dict[str, Any] = {
    "type": "remote_filing",
    "member_id": "M",
    "care_region": "110000",
    "kind": "posted",
    "valid_from": "2023-01-01",
}
STAY: dict[str, Any] = {
    "type": "inpatient_stay",
    "member_id": "M",
    "institution_id": "H",
    "admitted_on": "2023-05-01",
}
ITEM: dict[str, Any] = {
    "type": "catalogue_item",
    "region": "130900",
    "code": "A",
    "name": "阿莫西林",
    "category": "乙",
    "pre_self_pay_ratio": "0.1",
    "valid_from": "2023-01-01",
}
CREDIT: dict[str, Any] = {
    "type": "account_credit",
    "credit_no": "1",
    "member_id": "M",
    "amount": "100.50",
    "month": "2023-05",
    "reason": "monthly",
}
START = date(2023, 1, 1)


def wire(document: dict[str, Any], **changes: Any) -> bytes:
    return json.dumps(document | changes, ensure_ascii=False).encode()


def without(document: dict[str, Any], field: str) -> bytes:
    return wire({name: value for name, value in document.items() if name != field})


@pytest.mark.parametrize(
    ("value", "record"),
    [
        pytest.param(
            wire(MEMBER),
            Member("M", "130900", "active", "employee", "enterprise", START),
            id="a member with what is required",
        ),
        pytest.param(
            wire(
                MEMBER,
                covered_to="2023-12-31",
                paid_through="2023-11",
                contribution_base="5000.5",
                supplements=["civil_servant", "veteran_1_6"],
                qualifications=[
                    {"benefit": "chronic:M03900", "valid_from": "2023-01-01", "valid_to": None},
                    {"benefit": "special_drug:靶向药", "valid_from": "2023-01-01", "doctor_id": "D", "institution_id": "H"},
                ],
            ),
            Member(
                "M",
                "130900",
                "active",
                "employee",
                "enterprise",
                START,
                date(2023, 12, 31),
                "2023-11",
                500_050,
                ("civil_servant", "veteran_1_6"),
                (Grant("chronic:M03900", START), Grant("special_drug:靶向药", START, None, "H", "D")),
            ),
            id="a member with everything",
        ),
        pytest.param(
            wire(INSTITUTION, designated_to="9999-12-31", host_institution_id=None),
            Institution("H", "130900", "hospital", "2", START, True, False, date(9999, 12, 31)),
            id="an institution",
        ),
        pytest.param(wire(LINK), FamilyLink("P", "M", "spouse", START), id="a family link"),
        pytest.param(wire(FILING), RemoteFiling("M", "110000", "posted", START), id="a filing"),
        pytest.param(wire(STAY), InpatientStay("M", "H", date(2023, 5, 1)), id="a stay"),
        pytest.param(
            wire(ITEM, price_limit="0.000001"),
            CatalogueItem("130900", "A", "阿莫西林", "乙", 100_000, START, None, 1),
            id="an item with a limit of a millionth of a yuan",
        ),
        pytest.param(
            wire(ITEM, valid_from="2023-01-01", valid_to="2023-01-01"),
            CatalogueItem("130900", "A", "阿莫西林", "乙", 100_000, date(2023, 1, 1), date(2023, 1, 1)),
            id="an item for one day",
        ),
        pytest.param(
            wire(ITEM, pre_self_pay_ratio=0.1),
            CatalogueItem("130900", "A", "阿莫西林", "乙", 100_000, START),
            id="an item whose ratio is a number",
        ),
        pytest.param(
            wire(ITEM, pre_self_pay_ratio=1),
            CatalogueItem("130900", "A", "阿莫西林", "乙", 1_000_000, START),
            id="an item that is wholly pre-paid",
        ),
        pytest.param(wire(CREDIT), AccountCredit("1", "M", 10_050, "2023-05", "monthly"), id="a credit"),
        pytest.param(
            wire(MEMBER, valid_from="0001-01-01"),
            Member("M", "130900", "active", "employee", "enterprise", date(1, 1, 1)),
            id="the year 1",
        ),
    ],
)
def test_a_good_record_is_read_into_canonical_values(value: bytes, record: object) -> None:
    assert register.read(value) == record


@pytest.mark.parametrize(
    ("value", "field", "remedy"),
    [
        pytest.param(without(MEMBER, "status"), "member.status", "add it", id="a field is missing"),
        pytest.param(wire(MEMBER, status=None), "member.status", "add it", id="null is missing"),
        pytest.param(wire(MEMBER, nickname="x"), "member.nickname", "remove it", id="an unknown field"),
        pytest.param(wire(MEMBER, **{"a\u0000b": 1}), r"member.'a\x00b'", "remove it", id="an unreadable field"),
        pytest.param(wire(MEMBER, status="dead"), "member.status", "'active' or 'retired'", id="no such status"),
        pytest.param(wire(MEMBER, member_id=7), "member.member_id", "printable", id="a number for an id"),
        pytest.param(wire(MEMBER, member_id=""), "member.member_id", "1 to 64", id="an empty id"),
        pytest.param(wire(MEMBER, member_id="x" * 65), "member.member_id", "1 to 64", id="a long id"),
        pytest.param(wire(MEMBER, member_id=" M"), "member.member_id", "no space", id="a space before an id"),
        pytest.param(wire(MEMBER, member_id="M\u0000"), "member.member_id", "printable", id="NUL in an id"),
        pytest.param(wire(MEMBER)[:-1] + b', "sector": "x\\ud800"}', "twice", "twice", id="a key twice"),
        pytest.param(wire(MEMBER).replace(b'"M"', b'"\\ud800"'), "member.member_id", "printable", id="half a surrogate pair"),
        pytest.param(wire(MEMBER, region=130900), "member.region", "6 digits", id="a number for a region"),
        pytest.param(wire(MEMBER, region="13090０"), "member.region", "6 digits", id="a full-width digit"),
        pytest.param(wire(MEMBER, valid_from="2023-02-29"), "member.valid_from", "2023-05-01", id="no such day"),
        pytest.param(wire(MEMBER, valid_from="2023-1-1"), "member.valid_from", "2023-05-01", id="a short date"),
        pytest.param(wire(MEMBER, valid_from="2023-01-01T00:00:00Z"), "member.valid_from", "2023-05-01", id="an instant"),
        pytest.param(wire(MEMBER, paid_through="2023-13"), "member.paid_through", "month", id="a thirteenth month"),
        pytest.param(wire(MEMBER, contribution_base=5000), "member.contribution_base", "string", id="a number"),
        pytest.param(wire(MEMBER, contribution_base="-1"), "member.contribution_base", "string", id="a negative"),
        pytest.param(wire(MEMBER, contribution_base="1.234"), "member.contribution_base", "two", id="three decimals"),
        pytest.param(wire(MEMBER, supplements="civil_servant"), "member.supplements", "an array", id="no array"),
        pytest.param(wire(MEMBER, supplements=["x"]), "member.supplements[0]", "civil_servant", id="no supplement"),
        pytest.param(
            wire(MEMBER, qualifications=[{"benefit": "chronic:", "valid_from": "2023-01-01"}]),
            "member.qualifications[0].benefit",
            "chronic:CODE",
            id="a qualification without a code",
        ),
        pytest.param(
            wire(MEMBER, qualifications=[{"benefit": "diabetes", "valid_from": "2023-01-01", "x": 1}]),
            "member.qualifications[0].x",
            "remove it",
            id="an unknown field of a qualification",
        ),
        pytest.param(wire(MEMBER, qualifications=[7]), "member.qualifications[0]", "an object", id="no object"),
        pytest.param(wire(INSTITUTION, networked="yes"), "institution.networked", "true or false", id="no flag"),
        pytest.param(wire(INSTITUTION, networked=1), "institution.networked", "true or false", id="one for true"),
        pytest.param(wire(INSTITUTION, level=2), "institution.level", "'1'", id="a number for a level"),
        pytest.param(wire(ITEM, category="甲类"), "catalogue_item.category", "'甲'", id="no such category"),
        pytest.param(wire(ITEM, pre_self_pay_ratio="1.1"), "catalogue_item.pre_self_pay_ratio", "0 and 1", id="110 %"),
        pytest.param(wire(ITEM, pre_self_pay_ratio="1e-1"), "catalogue_item.pre_self_pay_ratio", "0 and 1", id="1e-1"),
        pytest.param(wire(ITEM, pre_self_pay_ratio=True), "catalogue_item.pre_self_pay_ratio", "0 and 1", id="true"),
        pytest.param(wire(ITEM, price_limit="0.0000001"), "catalogue_item.price_limit", "six", id="seven decimals"),
        pytest.param(
            wire(ITEM, valid_from="2023-01-01", valid_to="2022-12-31"),
            "catalogue_item.valid_to",
            "must not be before valid_from",
            id="an item that ends before it begins",
        ),
        pytest.param(
            wire(ITEM, valid_from="soon", valid_to="2022-12-31"), "catalogue_item.valid_from", "a date", id="and has no beginning"
        ),
        pytest.param(wire(ITEM, name="a\nb"), "catalogue_item.name", "printable", id="a line break in a name"),
        pytest.param(wire(CREDIT, amount="0.001"), "account_credit.amount", "two decimals", id="a tenth of a fen"),
        pytest.param(wire(MEMBER, type="person"), "type", "member, institution", id="no such type"),
        pytest.param(wire(MEMBER, type=None), "type", "member, institution", id="no type"),
        pytest.param(wire(MEMBER, type=["member"]), "type", "member, institution", id="a list for a type"),
        pytest.param(b"", "empty", "empty", id="nothing"),
        pytest.param(None, "empty", "empty", id="a tombstone"),
        pytest.param(b"\xff\xfe", "UTF-8", "UTF-8", id="no UTF-8"),
        pytest.param(b"[]", "object", "object", id="an array"),
        pytest.param(b'{"type": NaN}', "NaN", "JSON", id="NaN"),
        pytest.param(b"{" * 100_000, "deeper", "levels", id="bottomless nesting"),
    ],
)
def test_a_bad_record_is_refused_with_field_and_remedy(value: bytes | None, field: str, remedy: str) -> None:
    with pytest.raises(Unreadable) as refused:
        register.read(value)
    assert field in str(refused.value)
    assert remedy in str(refused.value)


def test_a_refusal_lists_what_is_wrong_in_two_languages_and_quotes_no_value() -> None:
    secret = "110101199003070000 "
    with pytest.raises(Unreadable) as refused:
        register.read(wire(MEMBER, member_id=secret, region=secret, status=secret, valid_from=secret))
    message = str(refused.value)
    assert message.count(";") == 3
    assert "须为日期" in message
    assert secret.strip() not in message


def test_a_refusal_is_for_a_person_to_read() -> None:
    many = {f"field_{n}": n for n in range(1_000)}
    with pytest.raises(Unreadable) as refused:
        register.read(wire(MEMBER, **many))
    assert str(refused.value).count(";") == register.MOST_FAULTS - 1


def test_a_topic_carries_its_own_type_only() -> None:
    assert register.read(wire(LINK), "family_link") == FamilyLink("P", "M", "spouse", START)
    with pytest.raises(Unreadable, match=r"type: .* must be member$"):
        register.read(wire(LINK), "member")
