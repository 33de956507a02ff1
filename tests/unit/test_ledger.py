"""A journal cannot be unbalanced, and what it books can be taken back exactly."""

from typing import Any

import pytest

from services.account.ledger import Journal, Posting, balances, mirrored


def journal(*postings: Any) -> Journal:
    return Journal(journal_id=1, issuer="I1", number="C1", kind="claim", revision=0, part=0, postings=postings)


@pytest.mark.parametrize(
    "postings",
    [
        (),
        (Posting("a", "b", 0),),
        (Posting("a", "b", 1), Posting("a", "b", -1)),
        (Posting("a", "a", 1),),
        (Posting("", "b", 1),),
        (Posting("a", "", 1),),
        (Posting("a", "b", 1.5),),  # type: ignore[arg-type]
        (Posting("a", "b", True),),
    ],
)
def test_what_is_no_transfer_makes_no_journal(postings: tuple[Posting, ...]) -> None:
    with pytest.raises(ValueError, match=r"journal has|posting moves"):
        journal(*postings)


def test_all_accounts_together_sum_to_zero() -> None:
    found = balances([Posting("fund", "payable", 70), Posting("personal", "payable", 30), Posting("payable", "bank", 5)])
    assert found == {"fund": -70, "personal": -30, "payable": 95, "bank": 5}
    assert sum(found.values()) == 0


def test_a_journal_and_its_mirror_leave_nothing() -> None:
    postings = (Posting("fund", "payable", 70), Posting("personal", "payable", 30))
    assert set(balances((*postings, *mirrored(postings))).values()) == {0}
