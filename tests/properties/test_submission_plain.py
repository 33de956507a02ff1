"""What is read in one pass is what is read field by field, to the byte of the digest; and what is wrong never passes there."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.intake import plain
from services.intake.submission import Submission, read, read_carefully
from shared.errors import Unreadable
from shared.money import fen, yuan

CLAIM: dict[str, Any] = {
    "type": "claim", "claim_no": "C1", "institution_id": "I1", "member_id": "M1", "insured_region": "130900",
    "benefit": "chronic:C7", "channel": "internet", "emergency": False, "prescribed_by": "H2", "doctor_id": "D1",
    "visited_at": "2023-05-01T09:30:00+08:00", "submitted_at": "2023-05-01T10:30:00+08:00",
    "total": "10.00", "own_paid": "1.00", "over_limit": "2.00", "pre_self_pay": "3", "in_scope": "4.0",
    "use_account": True, "family_payer": "M2", "quote": "q.1", "excluded_as": "abroad",
}  # fmt: skip
LINE: dict[str, Any] = {"line_no": "1", "code": "Y1", "quantity": "2", "unit_price": "1.25", "amount": "2.50"}
PARTS = ("own_paid", "over_limit", "pre_self_pay", "in_scope")
OPTIONAL = ("insured_region", "prescribed_by", "doctor_id", "family_payer", "quote", "excluded_as")

words = st.text(st.characters(min_codepoint=0x20, max_codepoint=0x100), max_size=70) | st.sampled_from(
    [
        "",
        " ",
        "M1 ",
        "ordinary",
        "chronic:",
        "chronic:a:b",
        "special_drug:X\n",
        "direct",
        "abroad",
        "130900",
        "医",
        "a\\",
        'a"b',
        "null",
    ]
)
amounts = st.sampled_from(["0.00", "1.00", "01.00", "1.000", "-1.00", "1e2", "\uff11.00", "", "1.", ".5", "9999999999999.99"])
instants = st.sampled_from([
    "2023-05-01T09:30:00+08:00", "2023-05-01T01:30:00Z", "2023-05-01t01:30:00.5z", "2023-05-01T01:30:00.123456789-03:30",
    "2023-05-01 09:30:00+08:00", "2023-05-01T09:30:00", "2023-13-01T09:30:00+08:00", "0001-01-01T00:00:00+14:00",
    "2030-01-01T00:00:00Z", "2023-05-01t09:30:00+08:00", "2023-05-01T09:30:00-08:00", "2023-05-01T0930:0000+08:00",
    "2023-05-01T09:30:00.000+08:00",
])  # fmt: skip
odd = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.lists(st.integers(), max_size=2)
values = words | amounts | instants | odd


def both(value: bytes) -> Submission | None:
    """Reads both ways, and fails unless they agree; what one pass gives."""
    try:
        careful = read_carefully(value)
    except Unreadable:
        assert plain.read(value) is None
        return None
    assert read(value) == careful
    assert careful.claim is not None or plain.read(value) is None
    return careful


@given(
    st.dictionaries(st.sampled_from([*CLAIM, "lines", "note"]), values, max_size=3),
    st.sets(st.sampled_from(sorted(CLAIM)), max_size=2),
)
def test_a_claim_with_fields_replaced_and_left_out(changes: dict[str, Any], without: set[str]) -> None:
    document = {name: value for name, value in (CLAIM | changes).items() if name not in without}
    both(json.dumps(document, ensure_ascii=False).encode("utf-8", "surrogatepass"))


@given(
    st.lists(st.integers(0, 10**7), min_size=4, max_size=4), st.sets(st.sampled_from(OPTIONAL)), st.permutations(sorted(CLAIM)),
    instants, st.sampled_from([None, 1]),
)  # fmt: skip
def test_a_good_claim_in_any_spelling(
    parts: list[int], without: set[str], order: list[str], visited_at: str, indent: int | None
) -> None:
    document = CLAIM | {name: yuan(part) for name, part in zip(PARTS, parts, strict=True)}
    document |= {"total": yuan(sum(parts)), "visited_at": visited_at, "submitted_at": "2029-01-01T00:00:00Z"}
    value = json.dumps({name: document[name] for name in order if name not in without}, indent=indent).encode()
    submission = both(value)
    assert submission is not None
    assert (plain.read(value) is None) == bool(submission.faults)  # nothing that is plain takes the long way


@st.composite
def bills(draw: st.DrawFn) -> dict[str, Any]:
    """A claim with lines that come to its total, spelled in any way."""
    lines: list[dict[str, Any]] = []
    for number in range(1, draw(st.integers(1, 4)) + 1):
        count, price, places = draw(st.integers(0, 500)), draw(st.integers(0, 10**6)), draw(st.integers(0, 2))
        spelled = f"{count}{'.' * (places > 0)}{'0' * places}"
        line_no = draw(st.sampled_from([number, str(number)]))
        line = {"line_no": line_no, "code": f"Y{number}", "quantity": spelled, "unit_price": yuan(price)}
        lines.append(line | {"amount": yuan(count * price)})
    total = yuan(sum(fen(line["amount"]) for line in lines))
    return {name: value for name, value in CLAIM.items() if name not in PARTS} | {"total": total, "lines": lines}


@given(bills(), st.permutations(sorted({*CLAIM, "lines"})), st.sampled_from([None, 1]))
def test_a_good_bill_in_any_spelling(bill: dict[str, Any], order: list[str], indent: int | None) -> None:
    value = json.dumps({name: bill[name] for name in order if name in bill}, indent=indent).encode()
    assert both(value) is not None
    assert plain.read(value) is not None


@given(
    bills(),
    st.dictionaries(
        st.sampled_from([*LINE, "note"]), values | st.sampled_from([1, 2, 0, -1, 10**18, "2", "2.00001"]), max_size=2
    ),
    st.sets(st.sampled_from(sorted(LINE)), max_size=1),
    st.dictionaries(st.sampled_from([*PARTS, "total", "lines"]), values | st.just([]), max_size=1),
)
def test_a_bill_with_fields_of_a_line_replaced_and_left_out(
    bill: dict[str, Any], changes: dict[str, Any], without: set[str], beside: dict[str, Any]
) -> None:
    bill["lines"][-1] = {name: value for name, value in (bill["lines"][-1] | changes).items() if name not in without}
    both(json.dumps(bill | beside, ensure_ascii=False).encode("utf-8", "surrogatepass"))


BILL = {name: value for name, value in CLAIM.items() if name not in PARTS} | {
    "total": "5.00",
    "lines": [LINE, LINE | {"line_no": 2}],
}


@pytest.mark.parametrize(
    "change",
    [
        {"total": "5.01"},
        {"total": "5.02", "lines": [LINE | {"amount": "2.51"}, LINE | {"line_no": 2, "amount": "2.51"}]},
        {"lines": [LINE, LINE]},
        {"lines": [LINE, LINE | {"line_no": 1}]},
        {"lines": [LINE, LINE | {"line_no": 0}]},
        {"lines": [LINE, LINE | {"line_no": -1}]},
        {"lines": [LINE, LINE | {"line_no": 10**18}]},
        {"total": "0.00", "lines": []},
        *({name: "0.00"} for name in PARTS),
    ],
)
def test_a_bill_that_is_wrong_is_not_plain(change: dict[str, Any]) -> None:
    assert plain.read(json.dumps(BILL).encode()) is not None
    submission = both(json.dumps(BILL | change).encode())
    assert submission is not None
    assert submission.faults


@given(bills(), st.sampled_from(sorted(LINE)), values)
def test_a_field_of_a_line_that_stands_there_twice_is_refused(bill: dict[str, Any], name: str, again: Any) -> None:
    value = json.dumps(bill, ensure_ascii=False)
    value = value.replace('"lines": [{', f'"lines": [{{"{name}": {json.dumps(again, ensure_ascii=False)}, ', 1)
    assert both(value.encode("utf-8", "surrogatepass")) is None
    assert plain.read(value.encode("utf-8", "surrogatepass")) is None


@given(st.sampled_from(sorted(CLAIM)), values)
def test_a_field_that_stands_there_twice_is_refused(name: str, again: Any) -> None:
    value = json.dumps(CLAIM, ensure_ascii=False)[:-1] + f', "{name}": {json.dumps(again, ensure_ascii=False)}}}'
    assert both(value.encode("utf-8", "surrogatepass")) is None
    assert plain.read(value.encode("utf-8", "surrogatepass")) is None


@given(st.lists(st.tuples(st.integers(0, 600), st.binary(max_size=3)), min_size=1, max_size=3))
def test_some_bytes_replaced(changes: list[tuple[int, bytes]]) -> None:
    value = bytearray(json.dumps(CLAIM).encode())
    for position, replacement in changes:
        value[position : position + 1] = replacement
    both(bytes(value))


@pytest.mark.parametrize("name", sorted({*CLAIM} - {*OPTIONAL, "type"}))
def test_what_is_missing_is_not_plain(name: str) -> None:
    value = json.dumps({field: value for field, value in CLAIM.items() if field != name}).encode()
    assert plain.read(value) is None
