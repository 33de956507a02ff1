"""What is read in one pass is what is read field by field, to the byte of the digest; and what is wrong never passes there."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.intake import plain
from services.intake.submission import Submission, read, read_carefully
from shared.errors import Unreadable
from shared.money import yuan

CLAIM: dict[str, Any] = {
    "type": "claim", "claim_no": "C1", "institution_id": "I1", "member_id": "M1", "insured_region": "130900",
    "benefit": "chronic:C7", "channel": "internet", "emergency": False, "prescribed_by": "H2", "doctor_id": "D1",
    "visited_at": "2023-05-01T09:30:00+08:00", "submitted_at": "2023-05-01T10:30:00+08:00",
    "total": "10.00", "own_paid": "1.00", "over_limit": "2.00", "pre_self_pay": "3", "in_scope": "4.0",
    "use_account": True, "family_payer": "M2", "quote": "q.1", "excluded_as": "abroad",
}  # fmt: skip
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
    "2030-01-01T00:00:00Z",
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
    names = ("own_paid", "over_limit", "pre_self_pay", "in_scope")
    document = CLAIM | {name: yuan(part) for name, part in zip(names, parts, strict=True)}
    document |= {"total": yuan(sum(parts)), "visited_at": visited_at, "submitted_at": "2029-01-01T00:00:00Z"}
    value = json.dumps({name: document[name] for name in order if name not in without}, indent=indent).encode()
    submission = both(value)
    assert submission is not None
    assert (plain.read(value) is None) == bool(submission.faults)  # nothing that is plain takes the long way


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
