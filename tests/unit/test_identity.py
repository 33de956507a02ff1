"""Identities: the deterministic id of an outcome is a digest of JSON that the standard library would write."""

import hashlib
import json

from hypothesis import given
from hypothesis import strategies as st

from shared.identity import event_id


@given(st.text(max_size=40), st.text(max_size=40), st.integers(0, 9), st.text(max_size=64))
def test_an_event_id_is_the_digest_of_what_json_makes_of_its_parts(place: str, number: str, revision: int, content: str) -> None:
    material = json.dumps(["claim", place, number, revision, content])
    assert event_id("claim", place, number, revision, content) == hashlib.blake2b(material.encode(), digest_size=16).hexdigest()


def test_an_event_id_never_changes() -> None:
    assert event_id("claim", "H1", "C1") == "4e573e7a86017f89b02b1c968526bc6c"
