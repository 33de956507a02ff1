"""The generated day: reproducible, readable, in order, and with the shares it states."""

import hashlib
import json
import os
import subprocess
import sys
from collections import Counter
from collections.abc import Iterable
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from services.intake.submission import read
from services.ops import generate as day
from services.ops.generate import generate
from shared import register
from shared.errors import Unreadable

REGIONS = ["130900", "420300", "440800", "511900", "653100"]
CLAIMS, MEMBERS = 6000, 1500
SUBMITTED = ("claim", "reversal", "account_use")
Line = dict[str, Any]


@pytest.fixture(scope="module")
def feed() -> list[Line]:
    return [line for line in generate(CLAIMS, MEMBERS, REGIONS, 7) if isinstance(line, dict)]


@pytest.fixture(scope="module")
def submitted(feed: list[Line]) -> list[Line]:
    return [line for line in feed if line["type"] in SUBMITTED]


@pytest.fixture(scope="module")
def bills(submitted: list[Line]) -> list[Line]:
    """The last line of each claim number: what the institution means in the end."""
    return list({line["claim_no"]: line for line in submitted if line["type"] == "claim"}.values())


def fingerprint(lines: Iterable[Line | bytes]) -> str:
    return hashlib.sha256(b"".join(repr(line).encode() for line in lines)).hexdigest()


def test_one_seed_is_one_feed_whatever_the_hash_seed() -> None:
    program = (
        "import hashlib; from services.ops.generate import generate;"
        "print(hashlib.sha256(b''.join(repr(line).encode() for line in generate(300, 100, ['130900', '440800'], 3))).hexdigest())"
    )
    root = Path(__file__).parents[2]
    for hash_seed in ("1", "2"):
        environment = os.environ | {"PYTHONHASHSEED": hash_seed, "PYTHONPATH": str(root)}
        done = subprocess.run([sys.executable, "-c", program], env=environment, capture_output=True, text=True, check=True)
        assert done.stdout.strip() == fingerprint(generate(300, 100, ["130900", "440800"], 3))


def test_another_seed_is_another_feed_with_other_people_and_numbers() -> None:
    one, other = (
        {
            line.get(name)
            for line in generate(50, 20, ["130900"], seed)
            if isinstance(line, dict)
            for name in ("member_id", "claim_no")
        }
        for seed in (1, 2)
    )
    assert one & other == {None}


def test_every_register_line_is_one_the_register_takes(feed: list[Line]) -> None:
    for line in feed:
        if line["type"] not in SUBMITTED:
            register.read(json.dumps(line).encode())


def test_the_register_comes_before_the_first_claim(feed: list[Line]) -> None:
    kinds = ["submitted" if line["type"] in SUBMITTED else "register" for line in feed]
    assert kinds == sorted(kinds)


def test_every_submission_is_accepted_but_for_the_mistakes_put_in(submitted: list[Line]) -> None:
    found = Counter(submission.faults[0].code if submission.faults else "ok" for submission in map(_read, submitted))
    assert found.keys() == {"ok", "malformed", "sum_mismatch", "visit_in_future"}
    assert found["malformed"] == pytest.approx(CLAIMS * day.MALFORMED, rel=0.6)
    assert sum(found.values()) - found["ok"] < 0.02 * len(submitted)


def _read(line: Line) -> Any:
    return read(json.dumps(line).encode())


def test_submissions_come_in_the_order_of_their_arrival(submitted: list[Line]) -> None:
    stamps = [line["submitted_at"] for line in submitted if line["type"] == "claim"]
    assert stamps == sorted(stamps)
    assert {datetime.fromisoformat(stamp).date() for stamp in stamps} == {day.DAY}


def test_there_are_as_many_numbers_as_claims_were_asked_for(bills: list[Line]) -> None:
    assert len(bills) == CLAIMS


SHARES = [
    ("priced by lines", lambda bill: "lines" in bill, day.PRICED_BY_LINES),
    ("using the account", lambda bill: bill["use_account"], day.USES_ACCOUNT),
    ("by hand", lambda bill: bill.get("channel") == "manual", day.BY_HAND),
    ("at a pharmacy", lambda bill: bill["institution_id"][0] == "P", day.AT_PHARMACY),
    ("unknown member", lambda bill: str(bill["member_id"])[0] == "X", day.UNKNOWN_MEMBER),
    ("not served", lambda bill: bill.get("insured_region") == "999999", day.NOT_SERVED),
]


@pytest.mark.parametrize(("share", "what", "expected"), [(name, what, expected) for name, what, expected in SHARES])
def test_the_day_has_the_shares_it_states(bills: list[Line], share: str, what: Any, expected: float) -> None:
    found = sum(map(what, bills)) / len(bills)
    assert abs(found - expected) < max(0.25 * expected, 0.0015), share


def test_the_day_has_everything_that_a_day_brings(submitted: list[Line]) -> None:
    claims = [line for line in submitted if line["type"] == "claim"]
    numbers = Counter(line["claim_no"] for line in claims)
    reversed_numbers = Counter(line["claim_no"] for line in submitted if line["type"] == "reversal")
    seen: set[str] = set()
    reversed_first = set()
    for line in submitted:
        if line["type"] == "reversal" and line["claim_no"] not in seen:
            reversed_first.add(line["claim_no"])
        seen.add(line.get("claim_no", ""))
    assert sum(count > 1 for count in numbers.values()) > CLAIMS * day.REPEATED / 2
    assert max(reversed_numbers.values()) > 1
    assert reversed_first
    assert {line["benefit"] for line in claims} > {"ordinary", "hypertension", "diabetes"}
    assert any("family_payer" in line for line in claims)
    assert any("prescribed_by" in line for line in claims)
    assert any(line.get("insured_region") in REGIONS for line in claims)
    assert any(line["type"] == "account_use" for line in submitted)


def test_broken_lines_come_only_when_asked_for() -> None:
    lines = list(generate(3000, 100, ["130900"], 5, broken=True))
    broken = [line for line in lines if isinstance(line, bytes)]
    assert broken
    for value in broken:
        with pytest.raises(Unreadable):
            read(value)
    assert not any(isinstance(line, bytes) for line in generate(3000, 100, ["130900"], 5))


@pytest.mark.parametrize(("members", "regions"), [(0, ["130900"]), (1, ["130900", "440800"]), (5, [])])
def test_a_feed_without_people_is_refused(members: int, regions: list[str]) -> None:
    with pytest.raises(ValueError, match="member"):
        list(generate(1, members, regions, 1))


def test_a_tenth_of_the_members_and_places_has_two_fifths_of_an_uneven_day() -> None:
    bills = [line for line in generate(6000, 2000, REGIONS, 1, zipf=0.6) if isinstance(line, dict) and line["type"] == "claim"]
    met = Counter(bill["member_id"] for bill in bills if bill["member_id"])
    assert 0.37 < sum(count for _, count in met.most_common(200)) / len(bills) < 0.47
    assert {member_id[:6] for member_id in met} >= set(REGIONS)
    pharmacies = Counter(bill["institution_id"] for bill in bills if bill["institution_id"].startswith("P1309"))
    assert pharmacies.most_common()[0][1] > 2 * pharmacies.most_common()[-1][1]


@pytest.mark.parametrize("exponent", [-0.1, 1.0])
def test_an_exponent_that_means_nothing_is_refused(exponent: float) -> None:
    with pytest.raises(ValueError, match="exponent"):
        list(generate(1, 1, ["130900"], 1, zipf=exponent))
