"""An object of nothing but texts is read in one pass: with what the careful reading gives, or says is wrong."""

import json
from typing import Any
from unittest.mock import patch

from hypothesis import example, given
from hypothesis import strategies as st

from shared import strict_json
from shared.errors import Unreadable

names = st.sampled_from(["type", "member_id", "a", "", "医"]) | st.text(max_size=5)
contents = st.text(max_size=20) | st.none() | st.booleans() | st.integers() | st.lists(st.text(max_size=3), max_size=2)
junk = st.sampled_from([b"", b"", b"", b" ", b"\n", b"x", b",", b"\x00", b"\xff", b'"', b"\xef\xbb\xbf", b"{", b"\x0c"])


def read(value: bytes) -> dict[str, Any] | str:
    try:
        return strict_json.read_object(value)
    except Unreadable as unreadable:
        return str(unreadable)


def read_carefully(value: bytes) -> dict[str, Any] | str:
    with patch.object(strict_json, "_texts", return_value=None):
        return read(value)


@given(st.lists(st.tuples(names, contents), max_size=4), st.booleans(), junk, junk, st.integers(0, 60))
@example([("a", "1"), ("a", "1")], False, b"", b"", 0)
@example([("a", "1"), ("b", "2"), ("a", "3")], True, b"", b" ", 0)
def test_both_ways_say_the_same(pairs: list[tuple[str, Any]], ascii_only: bool, within: bytes, behind: bytes, at: int) -> None:
    members = (f"{json.dumps(name)}:{json.dumps(content, ensure_ascii=ascii_only)}" for name, content in pairs)
    value = ("{" + ",".join(members) + "}").encode("utf-8", "surrogatepass") + behind
    value = value[:at] + within + value[at:]
    assert read(value) == read_carefully(value)


def test_a_record_of_texts_is_read_in_one_pass() -> None:
    value = json.dumps({"type": "account_credit", "member_id": "M1", "reason": "医保"}, ensure_ascii=False).encode()
    with patch.object(strict_json, "_decoder", None):
        assert read(value) == {"type": "account_credit", "member_id": "M1", "reason": "医保"}
