"""What the audit's own judges say of one row: nothing of a right one, and what is wrong with a wrong one."""

from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import pytest

from services.ops.audit.check import SHOWN, Check, Finding
from services.ops.audit.outcomes import as_stored, name_of, under_its_id, with_reasons
from services.ops.audit.view import Position, View
from shared.claim import Reversal
from shared.events import ACCEPTED, ADJUDICATED, ELIGIBLE, SETTLED, SUBMITTED, Event, encode
from shared.identity import event_id
from shared.outcome import Outcome
from shared.reasons import Reason, reason

FEN = {"total": 1000, "own_paid": 1000, "cash": 1000}
ZEROES = dict.fromkeys(
    (
        *("total", "own_paid", "over_limit", "pre_self_pay", "in_scope", "deductible", "pooled", "large_expense"),
        *("civil_servant", "veterans", "fund_total", "account", "family_account", "cash"),
    ),
    0,
)
SETTLED_AT = datetime(2023, 6, 15, 0, 0, 0, 123_456, UTC)
WHY = (reason("nothing_in_scope"),)


def outcome(**changed: Any) -> Outcome:
    shown: dict[str, Any] = {
        "kind": "claim",
        "claim_no": "C1",
        "institution_id": "H1",
        "member_id": "M1",
        "outcome": "settled",
        "reasons": WHY,
        "total": "10.00",
        "own_paid": "10.00",
        "cash": "10.00",
        "insured_region": "130900",
        "care_region": "130900",
        "event_id": event_id("claim", "H1", "C1"),
        "settled_at": "2023-06-15T00:00:00.123Z",
    }
    return Outcome(**shown | changed)


def row(**changed: Any) -> dict[str, Any]:
    kept = {"institution_id": "H1", "claim_no": "C1", "kind": "claim", "revision": 0, "member_id": "M1", "outcome": "settled"}
    regions = {"insured_region": "130900", "care_region": "130900", "payee": "", "settled_at": SETTLED_AT}
    return ZEROES | kept | regions | FEN | {"target": SETTLED} | changed


def test_a_right_row_is_let_pass() -> None:
    for judge in (as_stored, under_its_id, with_reasons):
        assert judge(row(), outcome()) is None


@pytest.mark.parametrize(
    ("stored", "said", "part"),
    [
        (row(cash=999), outcome(), "cash is 10.00 in the bytes, 9.99"),
        (row(member_id="M2"), outcome(), "about"),
        (row(claim_no="C2"), outcome(), "about"),
        (row(target="claims.rejected"), outcome(), "announced on claims.rejected"),
        (row(care_region="440800"), outcome(), "treated in 130900"),
        (row(total=-1000), outcome(total="10.00"), "-10.00"),
        (row(payee="member"), outcome(), "paid to the institution"),
        (row(), outcome(payee="member"), "paid to member"),
        (row(settled_at=SETTLED_AT + timedelta(milliseconds=1)), outcome(), "settled at 2023-06-15T00:00:00.123Z"),
        (row(settled_at=SETTLED_AT - timedelta(days=1)), outcome(), "settled at"),
        (row(), outcome(settled_at="yesterday"), "settled at yesterday"),
        (row(), outcome(settled_at=msgspec.UNSET), "settled at UNSET"),
    ],
)
def test_bytes_that_say_otherwise_than_the_row_are_named(stored: dict[str, Any], said: Outcome, part: str) -> None:
    assert part in (as_stored(stored, said) or "")


@pytest.mark.parametrize(
    ("reasons", "how", "part"),
    [
        ((), "settled", "no reason"),
        ((Reason(code="made_up", zh="无", en="none"),), "settled", "not on the list"),
        ((Reason(code="nothing_in_scope", zh="", en="x"),), "settled", "Chinese"),
        ((Reason(code="nothing_in_scope", zh="x", en=""),), "settled", "English"),
        ((reason("within_deductible"),), "settled", "no article"),
        (WHY, "rejected", "without a reason that rejects"),
        ((), "rejected", "without a reason that rejects"),
    ],
)
def test_reasons_that_are_missing_or_not_whole_are_named(reasons: tuple[Reason, ...], how: str, part: str) -> None:
    assert part in (with_reasons(row(), outcome(reasons=reasons, outcome=how)) or "")


@pytest.mark.parametrize(
    ("reasons", "how", "fund"),
    [
        ((reason("within_deductible", article="130900:13"),), "settled", "0.00"),
        ((), "settled", "1.00"),  # a fund pays: nothing has to be said
        ((reason("unknown_member"),), "rejected", "0.00"),
        ((), "reversed", "0.00"),
    ],
)
def test_reasons_that_suffice(reasons: tuple[Reason, ...], how: str, fund: str) -> None:
    assert with_reasons(row(), outcome(reasons=reasons, outcome=how, fund_total=fund)) is None


def test_an_account_use_is_known_by_its_own_number() -> None:
    said = outcome(kind="account_use", claim_no=msgspec.UNSET, use_no="C1", event_id=event_id("account_use", "H1", "C1"))
    assert as_stored(row(kind="account_use"), said) is None
    assert under_its_id(row(kind="account_use"), said) is None
    assert "event id" in (under_its_id(row(), said) or "")


def test_a_row_is_named_by_its_key() -> None:
    assert name_of(row()) == "H1/C1 claim"
    assert name_of(row(revision=2)) == "H1/C1 claim#2"


def test_a_finding_counts_all_breaches_and_lists_the_first() -> None:
    finding = Finding(Check("I1", "n", "中", "e", ()))
    for number in range(SHOWN + 5):
        finding.breach(str(number), "wrong")
    assert (finding.total, len(finding.breaches), finding.breaches[0].key) == (SHOWN + 5, SHOWN, "0")


PATH = (("intake", SUBMITTED), ("eligibility", ACCEPTED), ("adjudication", ELIGIBLE), ("account", ADJUDICATED))


def view(**moved: Position) -> View:
    """Two partitions, ten records on each topic, all of them applied and announced; but for what moved."""
    done = Position(10, 7, 7, 10)
    leases = {(service, (topic, p)): done for service, topic in PATH for p in (0, 1)}
    for service, position in moved.items():
        leases[service, (dict(PATH)[service], 1)] = position
    ends = {(topic, p): 10 for _, topic in PATH for p in (0, 1)} | {(SETTLED, 0): 0, (SETTLED, 1): 0}
    return View(None, "", 2, leases, {}, ends, {}, {})  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("moved", "decided", "answered"),
    [
        ({}, [0, 1], [0, 1]),
        ({"intake": Position(9, 7, 7, 9)}, [], [0, 1]),  # it may still bring something for any member
        ({"intake": Position(10, 8, 7, 10)}, [], [0, 1]),  # decided, and not announced yet
        ({"eligibility": Position(9, 0, 0, 9)}, [0], [0, 1]),
        ({"adjudication": Position(10, 7, 6, 10)}, [0], [0]),
        ({"account": Position(3, 7, 7, 3)}, [0, 1], [0]),
    ],
)
def test_what_may_still_be_on_its_way(moved: dict[str, Position], decided: list[int], answered: list[int]) -> None:
    seen = view(**moved)
    assert (seen.decided_all, seen.answered_all) == (decided, answered)
    assert seen.quiescent == (not moved)


def test_an_event_begins_with_its_key_and_names_its_member_and_digest_only_once() -> None:
    """Where the audit's SQL looks for them in the bytes, whatever a sender's number holds."""
    number = 'C","member_id":"M9","digest":"00","'
    reversal = Reversal(claim_no=number, institution_id=number, reversed_at="", reason=number)
    key: dict[str, Any] = {"kind": "reversal", "event_id": "e", "institution_id": number, "claim_no": number}
    said = encode(Event(**key, member_id=number, digest="ab", accepted_at="", reversal=reversal))
    head, rest = said.split(b',"member_id":')
    assert msgspec.json.decode(head + b"}") == key
    assert rest.split(b',"digest":"')[1:] == [rest[rest.index(b'ab","accepted_at"') :]]
