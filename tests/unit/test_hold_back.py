"""What waits behind poison, and what a redriven record passes."""

from typing import NamedTuple

import pytest

from shared.runtime.batch import Entry, hold_back
from shared.runtime.step import Record


class Came(NamedTuple):
    """One record of claim K: which row it retries, and whether it fails for good."""

    redrive: int | None = None
    fails: bool = False


def entries(came: list[Came]) -> list[Entry]:
    made = []
    for offset, one in enumerate(came):
        entry = Entry(Record("claims.eligible", 0, offset, 0, b"M", b"{}"), claim_key="K", redrive=one.redrive)
        if one.fails:
            entry.condemn("failed", "a bug")
        made.append(entry)
    return made


@pytest.mark.parametrize(
    ("held", "came", "behind"),
    [
        pytest.param({}, [Came(), Came()], [False, False], id="nothing is held"),
        pytest.param({}, [Came(fails=True), Came()], [False, True], id="a reversal waits behind its claim of the same batch"),
        pytest.param({1: 1}, [Came()], [True], id="and behind the claim's row"),
        pytest.param({1: 1, 2: 2}, [Came(1), Came(2)], [False, False], id="redriven in order, both pass"),
        pytest.param({1: 1, 2: 2}, [Came(2), Came(1)], [True, False], id="the later row never passes the earlier"),
        pytest.param({1: 1, 2: 2}, [Came(1, fails=True), Came(2)], [False, True], id="failed again: the reversal waits on"),
        pytest.param({1: 1, 2: 2}, [Came(1), Came(2), Came(1), Came(2)], [False] * 4, id="redriven twice, in one batch"),
        pytest.param({1: 1}, [Came(1, fails=True), Came(1)], [False, True], id="the second copy of what failed waits behind it"),
        pytest.param({1: 1}, [Came(1, fails=True), Came(1), Came()], [False, True, True], id="and so does what comes after"),
    ],
)
def test_what_waits(held: dict[int, int], came: list[Came], behind: list[bool]) -> None:
    made = entries(came)
    hold_back(made, {"K": held} if held else {})
    assert [entry.behind is not None for entry in made] == behind
