"""Account's decisions, event by event: who pays, what is said, what is refused as impossible."""

from dataclasses import replace
from typing import Any

import msgspec
import pytest
from account_books import AWAY, HOME, NOW, Books, claim, credit, question, reversal

from services.account.memory import MemoryStore
from services.account.steps import AccountStep
from services.account.sums import Sums, pay
from shared.errors import Unreadable
from shared.events import PolicyRef
from shared.outcome import decode
from shared.reasons import reason
from shared.runtime.step import Record

UNRELATED = {"family_allowed": False, "family_reason": reason("family_link_missing", article="130900:5", field="family_payer")}
CLOSED = reason("account_use_not_allowed", article="130900:5")


@pytest.fixture
async def books() -> Books:
    books = Books()
    await books.add(credit("K1", 3_000), credit("K2", 4_000, member="F1"))
    return books


@pytest.mark.parametrize(
    ("due", "own", "family", "share"),
    [
        (100, 0, 0, (0, 0, 100)),
        (100, 30, 0, (30, 0, 70)),
        (100, 30, 40, (30, 40, 30)),
        (100, 100, 40, (100, 0, 0)),
        (100, 60, 40, (60, 40, 0)),
        (0, 60, 40, (0, 0, 0)),
    ],
)
def test_own_account_first_then_the_familys_then_cash(due: int, own: int, family: int, share: Any) -> None:
    assert pay(due, own, family) == share


def test_funds_never_pay_more_than_the_cost() -> None:
    with pytest.raises(ValueError, match="more than the cost"):
        pay(-1, 0, 0)


@pytest.mark.parametrize(
    "amounts",
    [
        {"total": 10, "in_scope": 9, "cash": 10},
        {"total": 10, "in_scope": 10, "cash": 9},
        {"total": 10, "in_scope": 11, "own_paid": -1, "cash": 10},
        {"total": 10, "in_scope": 10, "pooled": 11, "cash": -1},
    ],
)
def test_amounts_that_do_not_add_up_are_no_amounts(amounts: dict[str, int]) -> None:
    with pytest.raises(ValueError, match=r"add up|positive and some negative"):
        Sums(**amounts)


@pytest.mark.parametrize(
    ("fields", "verdict", "paid", "codes"),
    [
        ({}, {}, ("30.00", "0.00", "70.00"), []),
        ({"use_account": False}, {}, ("0.00", "0.00", "100.00"), []),
        ({"family_payer": "F1"}, {}, ("30.00", "40.00", "30.00"), []),
        ({"family_payer": "F1", "use_account": False}, {}, ("0.00", "40.00", "60.00"), []),
        ({"family_payer": "F1"}, UNRELATED, ("30.00", "0.00", "70.00"), ["family_link_missing"]),
        ({"family_payer": "M1"}, {}, ("30.00", "0.00", "70.00"), []),
        ({}, {"account_open": False, "account_reason": CLOSED}, ("0.00", "0.00", "100.00"), [CLOSED.code]),
        ({"use_account": False}, {"account_open": False, "account_reason": CLOSED}, ("0.00", "0.00", "100.00"), []),
        (
            {"use_account": False, "family_payer": "F1"},
            {"account_open": False, "account_reason": CLOSED},
            ("0.00", "0.00", "100.00"),
            [CLOSED.code],
        ),
        ({}, {"line_reasons": (reason("unknown_item", field="lines[0].code"),)}, ("30.00", "0.00", "70.00"), ["unknown_item"]),
    ],
)
async def test_an_account_pays_where_it_is_open_and_asked_and_the_reasons_say_why_not(
    books: Books, fields: Any, verdict: Any, paid: tuple[str, str, str], codes: list[str]
) -> None:
    [outcome] = await books.settle(claim("C1", verdict=verdict, **fields))
    assert outcome is not None
    assert (outcome.account, outcome.family_account, outcome.cash) == paid
    assert [one.code for one in outcome.reasons] == codes
    assert outcome.outcome == "settled"


async def test_a_reason_that_adjudication_gave_is_not_said_twice(books: Books) -> None:
    caps = (reason("cap_reached", article="130900:13"), reason("cap_reached", article="130900:14"), CLOSED)
    said = {"account_open": False, "account_reason": CLOSED}
    [outcome] = await books.settle(claim("C1", verdict=said, decision={"reasons": caps}))
    assert outcome is not None
    assert outcome.reasons == caps


async def test_the_outcome_shows_how_the_amounts_came_about(books: Books) -> None:
    policy = PolicyRef(region=HOME, version="2022", hash="ab")
    given = {
        "policy": policy,
        "period": "2023",
        "articles": ("130900:10",),
        "deductible": 1_000,
        "before": {"visits_count": 1, "ordinary.fund": 0},
        "after": {"visits_count": 2, "ordinary.fund": 4_000},
    }
    [outcome] = await books.settle(claim("C1", pooled=4_000, verdict={"care_region": AWAY}, decision=given))
    assert outcome is not None
    assert (outcome.total, outcome.in_scope, outcome.deductible) == ("100.00", "100.00", "10.00")
    assert (outcome.pooled, outcome.fund_total, outcome.account_balance) == ("40.00", "40.00", "0.00")
    assert (outcome.policy, outcome.period, outcome.articles) == (policy, "2023", ("130900:10",))
    assert outcome.after == {"ordinary.fund": "40.00", "visits_count": 2}
    assert (outcome.insured_region, outcome.care_region) == (HOME, AWAY)
    assert (outcome.accepted_at, outcome.settled_at) == ("2023-05-01T01:30:00.000Z", "2023-05-01T02:03:04.000Z")


async def test_a_rejection_books_nothing_states_no_balance_and_carries_the_reason(books: Books) -> None:
    why = reason("manual_after_deadline")
    [outcome] = await books.settle(claim("C1", decision={"outcome": "rejected", "reasons": (why,), "total": 0, "in_scope": 0}))
    assert outcome is not None
    assert (outcome.outcome, outcome.reasons, outcome.account_balance) == ("rejected", (why,), None)
    assert (outcome.total, outcome.cash, outcome.insured_region) == ("0.00", "0.00", None)


async def test_a_reversal_carries_exact_negatives_and_never_minus_nothing(books: Books) -> None:
    await books.settle(claim("C1", pooled=4_000))
    [outcome] = await books.settle(reversal("C1", pooled=4_000))
    assert outcome is not None
    assert (outcome.total, outcome.pooled, outcome.account, outcome.cash) == ("-100.00", "-40.00", "-30.00", "-30.00")
    assert (outcome.family_account, outcome.own_paid) == ("0.00", "0.00")
    assert (outcome.outcome, outcome.account_balance) == ("reversed", "30.00")


async def test_a_journal_that_takes_back_names_the_one_it_corrects(books: Books) -> None:
    await books.settle(claim("C1"))
    await books.settle(reversal("C1"))
    assert isinstance(books.store, MemoryStore)
    first, second = (books.store.journals["I1", "C1", kind, 0] for kind in ("claim", "reversal"))
    assert (first.corrects, second.corrects) == (None, first.journal_id)


async def test_a_refused_reversal_leaves_the_claim_and_moves_nothing(books: Books) -> None:
    await books.settle(claim("C1"))
    why = reason("later_claim_stands")
    [outcome] = await books.settle(reversal("C1", outcome="rejected", reasons=(why,), total=0, in_scope=0))
    assert outcome is not None
    assert (outcome.kind, outcome.outcome, outcome.reasons) == ("reversal", "rejected", (why,))
    assert await books.balance("M1") == 0


async def test_a_reversal_of_what_was_never_decided_cannot_be_decided(books: Books) -> None:
    with pytest.raises(LookupError):
        await books.settle(reversal("C1"))


async def test_a_reversal_of_other_amounts_than_were_settled_is_not_believed(books: Books) -> None:
    await books.settle(claim("C1"))
    with pytest.raises(ValueError, match="other amounts"):
        await books.settle(reversal("C1", total=10_001))


@pytest.mark.parametrize("missing", ["claim", "verdict", "decision"])
async def test_an_event_without_its_grounds_is_not_decided(books: Books, missing: str) -> None:
    facts = await books.facts(claim("C1"))
    with pytest.raises(ValueError, match="comes with"):
        books.step.decide(msgspec.structs.replace(claim("C1"), **{missing: None}), facts)


async def test_a_question_for_a_reversal_gets_the_reversals_outcome(books: Books) -> None:
    await books.settle(claim("C1"))
    [first] = await books.settle(reversal("C1"))
    assert await books.settle(question("C1", 1, asks="reversal")) == [first]


async def test_a_replay_has_no_instants(books: Books) -> None:
    step = AccountStep(books.store, books.step._policies, clock=None)
    facts = replace(await books.facts(claim("C1")), now=None)
    decision = step.decide(claim("C1"), facts)
    assert decision is not None
    said = msgspec.json.decode(decision.answer.value)
    assert "accepted_at" not in said
    assert "settled_at" not in said
    assert decode(decision.answer.value).account_balance == "0.00"
    assert NOW.isoformat()[:10] not in decision.answer.value.decode()


@pytest.mark.parametrize("value", [b"", b"{", b"[]", b'{"kind": "claim"}', b"\xff"])
def test_what_is_no_event_of_ours_is_unreadable(value: bytes) -> None:
    books = Books()
    with pytest.raises(Unreadable):
        books.step.decode(Record("claims.adjudicated", 0, 0, 0, None, value))
    with pytest.raises(Unreadable):
        books.credit_step.decode(Record("register.account_credit", 0, 0, 0, None, value))
