"""Who owes whom, from obligations: the matrix, the nets, and figures that can be followed to their claims."""

import msgspec
import pytest

from services.crossregion.netting import Net, Position, by_region, matrix
from services.crossregion.routing import Obligation, Settled, obligation
from shared.money import signed_fen

A, B, C = "130900", "440800", "511900"


def owed(number: str, debtor: str, creditor: str, amount: int) -> Obligation:
    return Obligation(("I1", number, "claim", 0), debtor, creditor, amount, 1, 0)


def test_three_regions_net_to_zero() -> None:
    positions = matrix([owed("1", A, B, 100), owed("2", A, B, 50), owed("3", B, C, 120), owed("4", C, A, 10)])
    assert positions == (Position(A, B, 150, 2), Position(B, C, 120, 1), Position(C, A, 10, 1))
    nets = by_region(positions)
    assert nets == (Net(A, 10, 150), Net(B, 150, 120), Net(C, 120, 10))
    assert [one.net for one in nets] == [-140, 30, 110]


def test_what_was_reversed_in_the_window_counts_and_weighs_nothing() -> None:
    assert matrix([owed("1", A, B, 100), owed("1", A, B, -100)]) == (Position(A, B, 0, 2),)


def test_no_obligations_no_positions() -> None:
    assert by_region(matrix([])) == ()


def settled(insured: str | None, care: str | None, fund: str = "1.00", account: str = "0.20") -> Settled:
    return Settled("claim", "I1", "M1", fund, account, "0.03", 0, "C1", "", insured, care)


@pytest.mark.parametrize(
    ("insured", "care", "fund", "account", "amount"),
    [
        (A, B, "1.00", "0.20", 123),
        (A, A, "1.00", "0.20", None),
        (None, None, "0.00", "0.00", None),
        (A, None, "1.00", "0.20", None),
        (A, B, "0.00", "-0.03", None),
    ],
)
def test_an_outcome_owes_what_funds_and_accounts_paid_elsewhere(
    insured: str | None, care: str | None, fund: str, account: str, amount: int | None
) -> None:
    found = obligation(settled(insured, care, fund, account), window_id=7, filed={})
    assert (found.amount if found else None) == amount
    if found is not None:
        assert (found.debtor, found.creditor, found.window_id, found.key) == (A, B, 7, ("I1", "C1", "claim", 0))


def test_a_reversal_takes_back_what_was_filed_whatever_revisions_changed() -> None:
    back = msgspec.structs.replace(settled(A, B, "-3.00", "-0.20"), kind="reversal")
    found = obligation(back, 7, {("I1", "C1", "claim", 0): 117})
    assert found is not None
    assert (found.amount, found.key) == (-117, ("I1", "C1", "reversal", 0))
    assert obligation(back, 7, {}) is None


def test_what_goes_to_the_person_crosses_no_border() -> None:
    by_hand = msgspec.structs.replace(settled(A, B, "1.00", "0.00"), payee="member")
    assert obligation(by_hand, 7, {}) is None


@pytest.mark.parametrize("text", ["--1.00", "-", "1e2", "-1.234"])
def test_an_amount_that_is_none_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="not an amount"):
        signed_fen(text)
