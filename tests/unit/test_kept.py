"""The mapping behind a replay: a dictionary whose content lies in a file."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.runtime import kept
from shared.runtime.kept import Spill

KEYS = st.tuples(st.sampled_from(["", "H1", "医"]), st.sampled_from(["1", "2", "11"]), st.integers(0, 2))
WRITES = st.lists(st.tuples(st.booleans(), KEYS, st.binary(max_size=9)), max_size=60)


@pytest.fixture(autouse=True)
def _crowded(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every key in one of two chains, and the marks of all of them in eight bits."""
    monkeypatch.setattr(kept, "_CHAINS", 2)
    monkeypatch.setattr(kept, "_BITS", 8)


@given(WRITES, st.integers(1, 5))
def test_it_holds_what_a_dictionary_holds_and_mappings_of_one_file_do_not_meet(
    writes: list[tuple[bool, tuple[Any, ...], bytes]], gather: int
) -> None:
    spill = Spill(gather)
    spilled, held = (spill.of(bytes), spill.of(bytes)), ({}, {})  # type: ignore[var-annotated]
    for which, key, value in writes:
        spilled[which][key] = held[which][key] = value
        for name in {key for _, key, _ in writes}:
            assert spilled[which].get(name) == held[which].get(name)
            assert (name in spilled[which]) == (name in held[which])
