"""Whatever comes in is accepted, refused or unreadable, and nothing else ever happens."""

import json
from typing import Any

from hypothesis import example, given
from hypothesis import strategies as st

from services.intake.submission import Submission, read
from shared import outcome
from shared.errors import Unreadable
from shared.outcome import Outcome

CLAIM: dict[str, Any] = {
    "type": "claim", "claim_no": "C1", "institution_id": "I1", "member_id": "M1",
    "benefit": "ordinary", "channel": "direct", "emergency": False, "use_account": True,
    "visited_at": "2023-05-01T09:30:00+08:00", "submitted_at": "2023-05-01T10:30:00+08:00",
    "total": "2.01", "lines": [{"line_no": 1, "code": "X1", "quantity": "2", "unit_price": "1.005", "amount": "2.01"}],
}  # fmt: skip
GOOD = json.dumps(CLAIM, ensure_ascii=False).encode()

text = st.text(st.characters(codec=None))  # surrogates too
values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | text | st.sampled_from(["1.00", "2023-05-01", "M1"]),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(text, inner, max_size=4),
    max_leaves=12,
)
fields = st.sampled_from([*CLAIM, "own_paid", "quote", "use_no", "reason", "insured_region"]) | text


def judge(value: bytes) -> Submission | None:
    """What the property says: one of three, and what is refused can be answered in writing."""
    try:
        submission = read(value)
    except Unreadable:
        return None
    contents = [content for content in (submission.claim, submission.reversal, submission.use) if content]
    assert len(contents) == (0 if submission.faults else 1)
    assert all(fault.zh and fault.en and fault.field is not None for fault in submission.faults)
    outcome.encode(
        Outcome(
            kind=submission.kind, institution_id=submission.institution_id, claim_no=submission.claim_no,
            member_id=submission.member_id, outcome="rejected", reasons=submission.faults, event_id="",
        )
    )  # fmt: skip
    return submission


@given(st.binary())
def test_bytes_of_any_kind(value: bytes) -> None:
    judge(value)


@given(st.lists(st.tuples(st.integers(0, len(GOOD) - 1), st.binary(max_size=3)), min_size=1, max_size=4))
@example([(0, b"\xef\xbb\xbf{")])
def test_a_good_record_with_some_bytes_replaced(changes: list[tuple[int, bytes]]) -> None:
    value = bytearray(GOOD)
    for position, replacement in changes:
        value[position : position + 1] = replacement
    judge(bytes(value))


@given(st.dictionaries(fields, values, max_size=5), st.sampled_from(["claim", "reversal", "account_use", "member"]))
def test_a_good_record_with_some_fields_replaced(changes: dict[str, Any], kind: str) -> None:
    identity = {"claim_no": "C1", "institution_id": "I1"}
    document = CLAIM | {"type": kind, "use_no": "U1"} | changes | identity
    assert judge(json.dumps(document, allow_nan=False, default=str).encode()) if _finite(document) else True


@given(values)
def test_any_json_at_all(document: Any) -> None:
    judge(json.dumps(document).encode())


def _finite(value: Any) -> bool:
    try:
        json.dumps(value, allow_nan=False)
    except ValueError:
        return False
    return True
