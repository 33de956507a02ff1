"""The counter's pure parts: limits, keys, preferences, places, cursors, problems, and the door's address."""

import json

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.intake import keys
from services.intake.answers import Cursor
from services.intake.api_openapi import CLAIM, REVERSAL, document
from services.intake.api_page import page
from services.intake.api_places import place_of, preferred_wait
from services.intake.api_problems import KINDS, Problem, refused, unreadable
from services.intake.api_remedies import REMEDIES
from services.intake.api_server import Door
from services.intake.faults import EXPECTED
from services.intake.limits import Buckets
from services.intake.replies import Replies
from services.intake.submission import read
from shared.errors import Unreadable, UsageError
from shared.outcome import Outcome, encode
from shared.reasons import REJECTED, REJECTS_USE, reason

SEQS = st.lists(st.integers(0, 2**63 - 1), min_size=1, max_size=16)


# -- limits ---------------------------------------------------------------------------------------------------------


def test_a_bucket_gives_its_burst_then_its_rate() -> None:
    buckets = Buckets(rate=10, burst=3)
    assert [buckets.take("a", 0.0) for _ in range(4)] == [0, 0, 0, pytest.approx(0.1)]
    assert buckets.take("b", 0.0) == 0, "each institution has its own"
    assert buckets.take("a", 0.1) == 0
    assert buckets.take("a", 0.1) > 0
    assert [buckets.take("a", 100.0) for _ in range(4)][-1] > 0, "a rest fills the bucket and no more"


def test_who_is_refused_loses_no_time() -> None:
    buckets = Buckets(rate=1, burst=1)
    assert buckets.take("a", 0.0) == 0
    assert [buckets.take("a", now) for now in (0.5, 0.9)] == [pytest.approx(0.5), pytest.approx(0.1)]
    assert buckets.take("a", 1.0) == 0


# -- keys -----------------------------------------------------------------------------------------------------------


def test_a_key_is_read_and_its_secret_is_not_in_what_is_kept() -> None:
    key = keys.new_key()
    assert keys.parsed(key.text) == (key.key_id, key.digest)
    assert key.text.encode().rpartition(b"_")[2] not in key.digest


@pytest.mark.parametrize(
    "text", ["", "gongji", "gongji_", "gongji_0123456789ab_", "other_0123456789ab_x", "gongji_0_x", "x" * 9999]
)
def test_what_is_no_key_is_not_looked_up(text: str) -> None:
    assert keys.parsed(text) is None


# -- what clients prefer, and where things are ----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("given_", "seconds"),
    [
        ([], None), (["wait=3"], 3), (["WAIT = 3"], 3), (['wait="3"'], 3), (["respond-async, wait=0"], 0),
        (["respond-async", "wait=7"], 7), (["wait=60"], 60), (["wait=61"], 60), (["wait=1000000"], 60),
        (["wait=" + "9" * 30_000], 60), (["wait=007"], 7), (["wait=-1"], None), (["wait=1.5"], None), (["await=3"], None),
        (["wait=٣"], None), (["wait"], None),
    ],
)  # fmt: skip
def test_the_preferred_wait(given_: list[str], seconds: int | None) -> None:
    assert preferred_wait(given_) == seconds


def test_the_longest_wait_stands_where_people_and_programs_look() -> None:
    for place in ("/v1/claims", "/v1/reversals"):
        operation = document()["paths"][place]["post"]
        [prefer] = operation["parameters"]
        assert "60 at most" in prefer["schema"]["description"]
        assert all("Preference-Applied" in operation["responses"][status]["headers"] for status in ("200", "202"))
    assert page().count("60 at most") == 2


def test_a_number_with_a_slash_has_a_place() -> None:
    claim = read(json.dumps(CLAIM | {"claim_no": "A/1 甲?"}).encode())
    assert place_of(claim) == "/v1/claims/H130900001/A%2F1%20%E7%94%B2%3F"
    assert place_of(read(json.dumps(REVERSAL).encode())).endswith("?kind=reversal")


# -- cursors --------------------------------------------------------------------------------------------------------


@given(SEQS)
def test_a_cursor_is_read_as_it_was_written(seqs: list[int]) -> None:
    cursor = Cursor(tuple(seqs), tuple(reversed(seqs)))
    assert Cursor.read(cursor.written(), len(seqs)) == cursor


def test_a_cursor_from_before_more_partitions_goes_on() -> None:
    assert Cursor.read(Cursor((3,), (4,)).written(), 2) == Cursor((3, 0), (4, 0))


@given(st.text(max_size=60))
def test_what_is_no_cursor_is_refused_and_never_worse(text: str) -> None:
    try:
        cursor = Cursor.read(text, 2)
    except ValueError:
        return
    assert all(0 <= seq < 2**63 for seq in (*cursor.outcomes, *cursor.rejections))


# -- replies --------------------------------------------------------------------------------------------------------


def test_an_outcome_reaches_all_who_wait_for_its_id_and_nobody_else() -> None:
    replies = Replies()
    mine, yours = "a" * 32, "b" * 32
    first, second, other = replies.expect([mine]), replies.expect([mine, yours]), replies.expect([yours])
    # A member may be called anything; inside a string a quotation mark is escaped, so he cannot be taken for an id.
    crafty = Outcome(
        kind="claim", institution_id="I", member_id=f'"event_id":"{yours}"', outcome="settled", event_id=mine, settled_at="x"
    )
    replies.hear([encode(crafty)])
    assert [queue.qsize() for queue in (first, second, other)] == [1, 1, 0]


def test_nothing_is_kept_of_those_who_left() -> None:
    replies = Replies()
    heard = replies.expect(["a" * 32, "b" * 32])
    replies.forget(["a" * 32, "b" * 32], heard)
    assert replies._waiting == {}


def test_outcomes_are_wanted_while_anybody_waits() -> None:
    replies = Replies()
    mine, yours = ["a" * 32], ["a" * 32, "b" * 32]
    first, second = replies.expect(mine), replies.expect(yours)
    replies.forget(yours, second)
    assert replies.wanted.is_set()
    replies.forget(mine, first)
    assert not replies.wanted.is_set()


def test_at_the_end_everybody_is_sent_home() -> None:
    replies = Replies()
    before = replies.expect(["a" * 32])
    replies.close()
    assert before.get_nowait() is None
    assert replies.expect(["a" * 32]).get_nowait() is None


# -- problems and the description -----------------------------------------------------------------------------------


@pytest.mark.parametrize("code", KINDS)
def test_every_problem_has_both_languages_and_a_remedy(code: str) -> None:
    told = json.loads(Problem(code).body("r1"))
    assert told["type"].endswith(code)
    assert told["status"] == KINDS[code].status
    assert all((told["title"], told["zh"]["title"], told["remedy"]["zh"], told["remedy"]["en"], told["request_id"]))


@pytest.mark.parametrize("code", sorted(REJECTED | REJECTS_USE))
def test_every_reason_of_a_rejection_makes_a_problem_with_field_and_remedy_in_both_languages(code: str) -> None:
    problem = refused((reason(code),))
    told = json.loads(problem.body("r1"))
    assert (told["code"], told["reasons"][0]["code"]) == (code, code)
    assert problem.status in {409, 422}
    assert told["field"] in EXPECTED, "a field of a record, even where the reason itself names none"
    assert told["title"].isascii()
    assert told["remedy"]["en"].isascii()
    assert not told["zh"]["title"].isascii()
    assert not told["remedy"]["zh"].isascii()
    assert json.loads(refused((reason(code, field="x"),)).body("r1"))["field"] == "x", "the reason knows better"


def test_the_remedies_are_those_of_the_rejections_and_no_others() -> None:
    assert REMEDIES.keys() == REJECTED | REJECTS_USE


RECORD = "send one JSON object in UTF-8"


@pytest.mark.parametrize(
    ("value", "said", "remedy"),
    [
        (b"", "the record is empty", RECORD),
        (b"\xff", "not UTF-8", RECORD),
        (b"{", "not JSON", RECORD),
        (b'{"a":"\t"}', "not JSON: Invalid control character at character 6", RECORD),
        (b'{"a":"', "not JSON: Unterminated string starting at character 5", RECORD),
        (b"NaN", "not JSON", RECORD),
        (b"[]", "not a JSON object", RECORD),
        (b"[" * 400, "nested", RECORD),
        (b'{"b":1,"total":1,"total":1}', "an object names a key twice: total", "give each field once"),
        ('{"张三":1,"张三":1}'.encode(), "an object names a key twice", "give each field once"),
        (b"{}", "institution_id and claim_no", "give both fields"),
        (b'{"type":"claim","claim_no":"1"}', "institution_id and claim_no", "give both fields"),
        (b'{"type":"inpatient_stay","institution_id":"H"}', "a register line", "the agency sends register data"),
        (b'{"type":"claim","claim_no":"\\ud800","institution_id":"H"}', "institution_id or claim_no holds half", "correct"),
    ],
)
def test_what_cannot_be_read_is_told_in_both_languages_with_its_own_remedy(value: bytes, said: str, remedy: str) -> None:
    with pytest.raises(Unreadable, match=f"^{said}") as caught:
        read(value)
    assert "张三" not in str(caught.value), "a key may be an identity"
    told = json.loads(unreadable(str(caught.value)).body("r1"))
    assert told["detail"] == str(caught.value)
    assert not told["zh"]["detail"].startswith("无法读取"), "a text of its own"
    assert not told["zh"]["detail"].partition("（")[0].isascii()
    assert remedy in told["remedy"]["en"]
    assert not told["remedy"]["zh"].isascii()


@pytest.mark.parametrize(
    ("field", "value", "remedy"),
    [
        ("total", "99999999999999.00", "at most 13 digits"),
        ("total", "0480.00", "no leading zero"),
        ("quantity", "0001", "no leading zero"),
        ("unit_price", "9999999999999", "at most 12 digits"),
    ],
)
def test_a_number_that_is_too_long_or_begins_with_zero_is_told_so(field: str, value: str, remedy: str) -> None:
    line = {"line_no": 1, "code": "X", "quantity": "1", "unit_price": "1", "amount": "1.00"} | {field: value}
    lines = {"lines": [{name: text for name, text in line.items() if name != "total"}], "total": line.get("total", "1.00")}
    plain = {name: text for name, text in CLAIM.items() if name not in {"own_paid", "over_limit", "pre_self_pay", "in_scope"}}
    [fault] = read(json.dumps(plain | lines).encode()).faults
    assert (fault.field or "").endswith(field)
    assert remedy in fault.en


def test_the_description_describes_every_place_and_refers_to_nothing_that_is_missing() -> None:
    text = msgspec.json.encode(document()).decode()
    schemas = document()["components"]["schemas"]
    refs = {part.split('"')[0] for part in text.split('"$ref":"#/components/schemas/')[1:]}
    assert refs <= schemas.keys()
    for place in document()["paths"]:
        assert place.split("{")[0] in page()


@pytest.mark.parametrize("example", [CLAIM, REVERSAL])
def test_the_examples_are_well_formed(example: dict[str, object]) -> None:
    assert read(json.dumps(example).encode()).faults == ()


# -- the door -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("address", ["", "host", "host:", "host:x", "host:70000", "host:-1"])
def test_an_address_that_is_none_is_named(address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GONGJI_API", address)
    with pytest.raises(UsageError, match="GONGJI_API"):
        Door.load()


def test_an_address_of_ipv6_stands_in_brackets(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GONGJI_API", "[::1]:8443")
    door = Door.load()
    assert (door.host, door.port) == ("::1", 8443)
