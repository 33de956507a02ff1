"""What a record says: the corpus of nasty inputs, and what is the same content."""

import json
import timeit
from datetime import date
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from services.intake import faults
from services.intake.faults import EXPECTED
from services.intake.forms import FORMS, ClaimForm, Form, LineForm
from services.intake.submission import Submission, read
from shared.errors import Unreadable
from shared.outcome import Outcome, encode
from shared.reasons import Reason
from shared.strict_json import MAX_DEPTH

CORPUS = Path(__file__).parents[1] / "corpus" / "submitted.jsonl"
CASES = [json.loads(line) for line in CORPUS.read_text(encoding="utf-8").splitlines()]

CLAIM: dict[str, Any] = {
    "type": "claim", "claim_no": "C1", "institution_id": "I1", "member_id": "M1",
    "benefit": "ordinary", "channel": "direct", "emergency": False, "use_account": True,
    "visited_at": "2023-05-01T23:30:00+08:00", "submitted_at": "2023-05-02T10:30:00+08:00",
    "total": "123.45", "own_paid": "10.00", "over_limit": "0.00", "pre_self_pay": "13.45", "in_scope": "100.00",
}  # fmt: skip
AMOUNTS = ("own_paid", "over_limit", "pre_self_pay", "in_scope")
LINE: dict[str, Any] = {"line_no": 1, "code": "X1", "quantity": "2", "unit_price": "1.005", "amount": "2.01"}
LINED = {name: value for name, value in CLAIM.items() if name not in AMOUNTS} | {"total": "2.01", "lines": [LINE]}
REVERSAL = {
    "type": "reversal", "claim_no": "C1", "institution_id": "I1",
    "reversed_at": "2023-05-03T09:00:00+08:00", "reason": "entered twice",
}  # fmt: skip
USE = {
    "type": "account_use", "use_no": "U1", "institution_id": "I1", "member_id": "M1",
    "purpose": "drugs", "amount": "12.00", "used_at": "2023-05-01T23:30:00+08:00",
}  # fmt: skip


def submit(document: dict[str, Any]) -> Submission:
    return read(json.dumps(document).encode())


def bytes_of(case: dict[str, Any]) -> bytes:
    return b"".join(text.encode("latin-1") * times for text, times in case["value"])


@pytest.mark.parametrize("case", CASES, ids=[case["name"] for case in CASES])
def test_every_record_of_the_corpus_is_read_or_refused_as_kept(case: dict[str, Any]) -> None:
    if case["expect"] == "unreadable":
        with pytest.raises(Unreadable):
            read(bytes_of(case))
        return
    submission = read(bytes_of(case))
    found = (submission.faults[0].code, submission.faults[0].field) if submission.faults else ("accepted", None)
    assert found == (case["expect"], case["field"])
    assert (submission.claim or submission.reversal or submission.use) is None or not submission.faults


@pytest.mark.parametrize("value", [None, b""])
def test_a_tombstone_is_unreadable(value: bytes | None) -> None:
    with pytest.raises(Unreadable):
        read(value)


def test_a_good_claim_is_read_in_fen_and_shanghai_days() -> None:
    claim = submit(CLAIM | {"visited_at": "2023-05-01T16:30:00Z"}).claim
    assert claim is not None
    assert claim.amounts is not None
    assert (claim.total, claim.amounts.in_scope) == (12345, 10000)
    assert (claim.visited_at, claim.visited_on) == ("2023-05-02T00:30:00+08:00", date(2023, 5, 2))


def test_lines_keep_their_decimals_and_lose_idle_zeros() -> None:
    claim = submit(LINED | {"lines": [LINE | {"quantity": "2.0000", "unit_price": "1.005000"}]}).claim
    assert claim is not None
    assert [(line.quantity, line.unit_price, line.amount) for line in claim.lines] == [("2", "1.005", 201)]


def test_an_account_use_is_read_under_its_own_number() -> None:
    submission = submit(USE)
    assert (submission.kind, submission.claim_no) == ("account_use", "U1")
    assert submission.use is not None
    assert submission.use.amount == 1200


def test_all_problems_are_named_in_both_languages_with_the_remedy() -> None:
    faults = submit(CLAIM | {"total": 1.5, "channel": "phone", "colour": "red"}).faults
    assert [fault.field for fault in faults] == ["channel", "total", "colour"]
    assert "direct, internet or manual" in faults[0].en
    assert "direct、internet 或 manual" in faults[0].zh
    assert '"123.45"' in faults[1].en
    assert "remove it" in faults[2].en


def test_both_figures_of_a_wrong_sum_are_shown() -> None:
    [fault] = submit(CLAIM | {"total": "200.00"}).faults
    for text in (fault.zh, fault.en):
        assert "200.00" in text
        assert "123.45" in text


def test_at_most_twenty_problems_are_listed() -> None:
    assert len(submit(CLAIM | {f"x{n}": 1 for n in range(500)}).faults) == 20


def many(count: int) -> dict[str, Any]:
    return {f"x{n}": n for n in range(count)}


@pytest.mark.parametrize(
    "document",
    [
        CLAIM | many(300),
        many(300) | CLAIM | {"total": 7},
        many(19) | CLAIM,
        {"type": "claim", "claim_no": "C1", "institution_id": "I1"} | many(300),
        LINED | {"lines": [LINE, many(300) | LINE | {"amount": None}, 7]},
        LINED | {"lines": "none"} | many(300),
        REVERSAL | many(300),
    ],
)
def test_of_many_unknown_fields_no_more_are_gone_into_than_are_told(
    document: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    listed, told = list[int](), faults.malformed

    def malformed(error: ValidationError) -> tuple[Reason, ...]:
        listed.append(error.error_count())
        return told(error)

    monkeypatch.setattr(faults, "malformed", malformed)
    with pytest.raises(ValidationError) as all_of_them:
        FORMS[document["type"]].model_validate(document)
    assert submit(document).faults == told(all_of_them.value)
    assert listed[0] <= len(ClaimForm.model_fields) + faults.MOST_REASONS


def test_every_field_of_every_form_has_its_remedy() -> None:
    forms: list[type[Form]] = [LineForm, *FORMS.values()]
    assert {name for form in forms for name in form.model_fields} == EXPECTED.keys() - {"lines[]"}


def test_a_long_identity_is_carried_whole() -> None:
    long = "9" * 100_000
    submission = submit(CLAIM | {"claim_no": long})
    assert submission.claim_no == long
    assert all(len(fault.en) < 300 for fault in submission.faults)


@pytest.mark.parametrize("member_id", [None, 7, "", " M1", "M\x00", "M" * 65, "\ud800"])
def test_a_member_id_that_cannot_be_one_is_not_carried(member_id: object) -> None:
    assert submit(CLAIM | {"member_id": member_id, "total": "x"}).member_id is None


def test_a_malformed_record_keeps_a_proper_member_id() -> None:
    assert submit(CLAIM | {"total": "x"}).member_id == "M1"


def test_what_a_fault_quotes_can_always_be_written() -> None:
    for case in CASES:
        if case["expect"] not in ("unreadable", "accepted"):
            faults = read(bytes_of(case)).faults
            encode(Outcome(kind="claim", institution_id="I", member_id=None, outcome="rejected", reasons=faults, event_id=""))


SAME = [
    (CLAIM, {"submitted_at": "2024-01-01T00:00:00Z"}),
    (CLAIM, {"visited_at": "2023-05-01T15:30:00Z"}),
    (CLAIM, {"visited_at": "2023-05-01T15:30:00.000000z"}),
    (CLAIM, {"total": "123.45", "own_paid": "10", "over_limit": "0", "in_scope": "100.0"}),
    (CLAIM, {"insured_region": None, "family_payer": None, "lines": None}),
    (LINED, {"lines": [LINE | {"line_no": "1", "quantity": "2.00", "unit_price": "1.00500"}]}),
    (REVERSAL, {"reversed_at": "2023-06-01T00:00:00Z", "reason": "other"}),
    (USE, {"used_at": "2023-05-01T15:30:00Z", "amount": "12", "for_member": None}),
]
OTHER = [
    (CLAIM, {"visited_at": "2023-05-01T23:30:01+08:00"}),
    (CLAIM, {"own_paid": "9.00", "in_scope": "101.00"}),
    (CLAIM, {"member_id": "M2"}),
    (CLAIM, {"benefit": "diabetes"}),
    (CLAIM, {"emergency": True}),
    (CLAIM, {"use_account": False}),
    (CLAIM, {"insured_region": "130900"}),
    (CLAIM, {"quote": "Q1"}),
    (LINED, {"lines": [LINE | {"code": "X2"}]}),
    (LINED, {"lines": [LINE | {"line_no": 2}]}),
    (USE, {"purpose": "premium"}),
]


@pytest.mark.parametrize(("document", "change"), SAME)
def test_same_content_has_the_same_digest(document: dict[str, Any], change: dict[str, Any]) -> None:
    assert submit(document | change).digest == submit(document).digest


@pytest.mark.parametrize(("document", "change"), OTHER)
def test_other_content_has_another_digest(document: dict[str, Any], change: dict[str, Any]) -> None:
    assert submit(document | change).digest != submit(document).digest


def test_the_digest_of_a_malformed_record_ignores_the_order_of_its_keys_and_what_a_retry_makes_anew() -> None:
    bad = CLAIM | {"total": 1.5}
    again = dict(reversed(list(bad.items()))) | {"submitted_at": "whenever"}
    assert submit(bad).digest == submit(again).digest
    assert submit(bad).digest != submit(bad | {"total": 1.6}).digest


def test_reading_costs_no_more_than_a_batch_can_bear() -> None:
    """Measured 20 µs; the bound leaves room for a busy machine and still catches a tenfold slip."""
    value = json.dumps(CLAIM).encode()
    assert min(timeit.repeat(lambda: read(value), number=200, repeat=5)) / 200 < 200e-6


def test_how_deep_a_record_may_be_nested_is_the_same_on_every_machine() -> None:
    def nested(levels: int) -> bytes:
        return b'{"claim_no": "C1", "institution_id": "I1", "type": ' + b"[" * (levels - 1) + b"]" * (levels - 1) + b"}"

    assert read(nested(MAX_DEPTH)).faults
    with pytest.raises(Unreadable, match="levels"):
        read(nested(MAX_DEPTH + 1))
