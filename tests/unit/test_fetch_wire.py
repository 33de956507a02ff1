"""A fetch as we pack and unpack it is what aiokafka's own schemas make of it."""

import subprocess
import sys
from io import BytesIO
from typing import Any

import pytest
from aiokafka.protocol.fetch import FetchRequest, FetchRequest_v10, FetchRequest_v11, FetchResponse_v11
from aiokafka.protocol.types import Array, Bytes, Int16, Int32, Int64, Schema, String
from hypothesis import given
from hypothesis import strategies as st

from shared.runtime.fetch_wire import AnsweredTopics, AskedTopics, install

ASKED = Array(
    ("topic", String("utf-8")),
    ("partitions", Array(("partition", Int32), ("epoch", Int32), ("offset", Int64), ("start", Int64), ("most", Int32))),
)
ANSWERED = Array(
    ("topics", String("utf-8")),
    (
        "partitions",
        Array(
            ("partition", Int32), ("error", Int16), ("highwater", Int64), ("stable", Int64), ("start", Int64),
            ("aborted", Array(("producer", Int64), ("first", Int64))), ("replica", Int32), ("records", Bytes),
        ),
    ),
)  # fmt: skip

i16, i32, i64 = (st.integers(-(2 ** (bits - 1)), 2 ** (bits - 1) - 1) for bits in (16, 32, 64))
asked = st.lists(st.tuples(st.text(max_size=20), st.lists(st.tuples(i32, i32, i64, i64, i32), max_size=5)), max_size=4)
aborted = st.none() | st.lists(st.tuples(i64, i64), max_size=3)
partitions = st.tuples(i32, i16, i64, i64, i64, aborted, i32, st.none() | st.binary(max_size=50))
answered = st.lists(st.tuples(st.none() | st.text(max_size=20), st.lists(partitions, max_size=5)), max_size=4)


@given(asked)
def test_what_is_asked_is_the_same_bytes(topics: Any) -> None:
    assert AskedTopics().encode(topics) == ASKED.encode(topics)


@given(answered)
def test_what_is_answered_is_the_same_values_and_no_byte_more_is_read(topics: Any) -> None:
    data = BytesIO(ANSWERED.encode(topics) + b"what follows")
    assert AnsweredTopics().decode(data) == topics
    assert data.read() == b"what follows"


def test_an_answer_that_ends_too_early_is_never_taken_for_whole() -> None:
    whole = ANSWERED.encode([("t", [(0, 0, 9, 9, 0, [(1, 2)], -1, b"records"), (1, 0, 9, 9, 0, None, -1, b"more")])])
    for cut in range(len(whole)):
        with pytest.raises(Exception, match=r"requires a buffer|underrun|bytes of records announced|Error encountered"):
            AnsweredTopics().decode(BytesIO(whole[:cut]))


def test_the_consumer_goes_by_it() -> None:
    """In a process of its own, as the schemas belong to a process."""
    code = "import shared.runtime.fetch\nfrom aiokafka.protocol import fetch\nprint(fetch.FetchResponse_v11.SCHEMA.fields[-1])"
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "AnsweredTopics" in said.stdout


def test_installed_they_are_the_fields_of_this_one_version() -> None:
    install()
    assert [type(field).__name__ for field in FetchRequest_v11.SCHEMA.fields].count("AskedTopics") == 1
    assert isinstance(FetchResponse_v11.SCHEMA, Schema)
    request = FetchRequest(200, 1, 50, 1, [("claims.submitted", [(3, 7, 1000)])])
    new, old = request.build(FetchRequest_v11).encode(), request.build(FetchRequest_v10).encode()
    assert new == old + b"\0\0", "version 11 adds the name of a rack"
    assert "claims.submitted" in repr(request.build(FetchRequest_v11))
