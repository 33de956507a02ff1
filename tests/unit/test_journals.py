"""Which journal a decision gives, at home and in another region."""

import re
from decimal import Decimal

import pytest

from services.account import journals, payment
from services.account.chart import CHART
from services.account.journals import Place, settlement
from services.account.ledger import Posting, balances
from services.account.payment import Paid, Released

HOME, AWAY = "130900", "440800"
FUNDS = (4_000, 300, 20, 1)

AT_HOME = [
    Posting(f"fund:{HOME}:pooled", "payable:I1", 4_000),
    Posting(f"fund:{HOME}:large_expense", "payable:I1", 300),
    Posting(f"fund:{HOME}:civil_servant", "payable:I1", 20),
    Posting(f"fund:{HOME}:veterans", "payable:I1", 1),
    Posting("personal:M1", "payable:I1", 600),
    Posting("personal:F1", "payable:I1", 79),
]


def test_at_home_funds_and_accounts_owe_the_institution() -> None:
    found = settlement(Place(HOME, HOME, "I1"), FUNDS, [("M1", 600), ("F1", 79)])
    assert list(found) == AT_HOME


def test_elsewhere_the_place_of_insurance_owes_the_place_of_care_which_owes_the_institution() -> None:
    due = f"due_to:{HOME}:{AWAY}"
    found = settlement(Place(HOME, AWAY, "I1"), FUNDS, [("M1", 600), ("F1", 79)])
    assert list(found) == [
        *[posting._replace(credit=due) for posting in AT_HOME],
        Posting(f"due_from:{AWAY}:{HOME}", "payable:I1", 5_000),
    ]
    ends = balances(found)
    assert ends[due] == ends["payable:I1"] == -ends[f"due_from:{AWAY}:{HOME}"] == 5_000


@pytest.mark.parametrize("place", [Place(HOME, HOME, "I1"), Place(HOME, AWAY, "I1")])
def test_cash_alone_is_not_booked(place: Place) -> None:
    assert settlement(place, (0, 0, 0, 0), [("M1", 0), ("", 0)]) == ()


def test_a_credit_comes_from_contributions_and_nothing_gives_no_posting() -> None:
    assert journals.credit("M1", 5) == (Posting("contributions", "personal:M1", 5),)
    assert journals.credit("M1", 0) == ()


def test_a_window_paid_takes_what_is_owed_off_both_books_and_money_from_one_bank_to_the_other() -> None:
    owed = settlement(Place(HOME, AWAY, "I1"), FUNDS, [("M1", 600), ("F1", 79)])
    paid = journals.clearing(HOME, AWAY, 5_000)
    assert paid == (
        Posting(f"due_to:{HOME}:{AWAY}", f"bank:{HOME}", 5_000),
        Posting(f"bank:{AWAY}", f"due_from:{AWAY}:{HOME}", 5_000),
    )
    ends = balances([*owed, *paid])
    assert {name: ends[name] for name in ends if name.startswith(("due", "bank"))} == {
        f"due_to:{HOME}:{AWAY}": 0, f"due_from:{AWAY}:{HOME}": 0, f"bank:{HOME}": 5_000, f"bank:{AWAY}": -5_000,
    }  # fmt: skip
    assert set(balances([*paid, *journals.clearing(HOME, AWAY, -5_000)]).values()) == {0}


def test_every_account_that_is_booked_stands_in_the_chart() -> None:
    patterns = [re.sub("<[a-z]+>", "[^:]+", row.pattern) for row in CHART]
    booked = [*AT_HOME, *settlement(Place(HOME, AWAY, "I1"), FUNDS, [("M1", 1)]), *journals.credit("M1", 1)]
    booked += payment.payment(HOME, Paid("I1", 90, 100, 95, 5, 0, 0))
    booked += payment.repaying(HOME, "I1", 5)
    booked += payment.releasing(HOME, Released("I1", 5, Decimal(60), 3, 2))
    booked += journals.clearing(HOME, AWAY, 1)
    booked += [one for disposal in ("transferred", "paid_out", "heirs") for one in journals.closing("M1", HOME, disposal, 1)]
    names = {name for debit, credit, _ in booked for name in (debit, credit)}
    names |= {
        journals.source(HOME, "pooled"),
        journals.source(HOME, "contributions"),
        journals.source(HOME, "civil_servant"),
        journals.interest(HOME),
    }
    names |= {journals.recoverable("M1"), journals.closed_accounts(HOME), journals.member(HOME, "M1")}
    assert [name for name in names if not any(re.fullmatch(p, name) for p in patterns)] == []
    assert [p for p in patterns if not any(re.fullmatch(p, name) for name in names)] == []
