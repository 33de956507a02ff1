"""A quote says what was quoted, and what keeps a claim from settling by it."""

import random
from datetime import date

import msgspec
import pytest
from account_books import Books, credit
from account_books import claim as booked_claim
from adjudication_cases import CANGZHOU, Bench, amounts, claim, claimed, reversed_, verdict
from hypothesis import given
from hypothesis import strategies as st

from services.adjudication.counters import Counter, Counters
from services.adjudication.engine import counter_keys, decide
from shared import quote
from shared.claim import Claim
from shared.events import Decision, PolicyRef, Verdict
from shared.quote import Quote

FEN = st.integers(0, 10**14)


def with_quote(given_claim: Claim, text: str) -> Claim:
    return msgspec.structs.replace(given_claim, quote=text)


async def tried(bench: Bench, a_claim: Claim, verdict_: Verdict, account: int = 0) -> str:
    """The quote of a claim on the bench's accumulators, which stay as they are."""
    version = bench.step._policies.on(verdict_.region, a_claim.visited_on)
    counters = Counters(await bench.store.counters(None, counter_keys(a_claim, verdict_, version)))
    return quote.quoted(a_claim, decide(a_claim, verdict_, version, counters), account, 0).written()


@given(st.tuples(FEN, FEN, FEN, FEN), FEN, FEN)
def test_a_quote_is_read_as_it_was_written(funds: tuple[int, int, int, int], account: int, family: int) -> None:
    given_out = Quote(
        content="0123456789ab", pack="01234567", accumulators="89abcdef", funds=funds, account=account, family_account=family
    )
    assert quote.read(given_out.written()) == given_out
    assert len(given_out.written()) <= 160


@pytest.mark.parametrize(
    "text",
    [
        "", "q1", "Q1", "q2.0123456789ab.01234567.89abcdef.1.2.3.4.5.6", "q1.0123456789ab.01234567.89abcdef.1.2.3.4.5",
        "q1.0123456789ab.01234567.89abcdef.1.2.3.4.5.-6", "q1.0123456789ab.01234567.89abcdef.01.2.3.4.5.6",
        "q1.0123456789AB.01234567.89abcdef.1.2.3.4.5.6", "q1.0123456789ab.01234567.89abcdef.1.2.3.4.5.6\n",
        "q1.0123456789ab.01234567.89abcdef.1.2.3.4.5.٦",
    ],
)  # fmt: skip
def test_what_no_trial_gave_out_is_no_quote(text: str) -> None:
    assert quote.read(text) is None


async def test_a_claim_settles_by_its_quote_when_nothing_came_between() -> None:
    bench = Bench()
    open_ = verdict(CANGZHOU)
    await bench.settle(claimed(claim("C0", 5_000), open_))
    asked = claim("C1", 60_000)
    text = await tried(bench, asked, open_)
    plain, quoted = Bench(), bench
    await plain.settle(claimed(claim("C0", 5_000), open_))
    [by_quote] = await quoted.decisions(claimed(with_quote(asked, text), open_))
    [without] = await plain.decisions(claimed(asked, open_))
    assert by_quote == without
    assert by_quote.outcome == "settled"


async def test_a_stale_quote_says_both_amounts_and_what_changed_and_books_nothing() -> None:
    bench = Bench()
    open_ = verdict(CANGZHOU)
    asked = claim("C1", 60_000)
    text = await tried(bench, asked, open_)
    await bench.settle(claimed(claim("C0", 5_000), open_))  # takes a part of the deductible
    [stale] = await bench.decisions(claimed(with_quote(asked, text), open_))
    assert stale.outcome == "rejected"
    assert [why.code for why in stale.reasons] == ["quote_stale"]
    assert stale.stale is not None
    assert stale.stale.changed == ("accumulators",)
    assert (stale.stale.quoted["pooled"], stale.stale.current["pooled"]) == (25_000, 27_500)
    assert stale.total == stale.pooled == 0
    [after] = await bench.decisions(claimed(claim("C2", 60_000), open_))
    assert after.pooled == 27_500, "the refused claim took nothing of the deductible"


async def test_two_claims_with_quotes_on_the_same_state_do_not_both_settle() -> None:
    bench = Bench()
    open_ = verdict(CANGZHOU)
    first, second = claim("C1", 8_000), claim("C2", 60_000)
    quotes = [await tried(bench, one, open_) for one in (first, second)]
    decisions = await bench.decisions(
        *(claimed(with_quote(one, text), open_) for one, text in zip((first, second), quotes, strict=True))
    )
    assert [one.outcome for one in decisions] == ["settled", "rejected"]


async def test_a_stale_claim_can_be_reversed_and_gives_nothing_back() -> None:
    bench = Bench()
    open_ = verdict(CANGZHOU)
    await bench.settle(claimed(claim("C0", 60_000), open_))
    [stale, back] = await bench.decisions(claimed(with_quote(claim("C1", 60_000), "made up"), open_), reversed_("C1"))
    assert (stale.outcome, back.outcome, back.pooled) == ("rejected", "reversed", 0)


CHANGES = {
    "content": ({"total": 70_000, "amounts": amounts(70_000)}, verdict(CANGZHOU), None),
    "register": ({}, verdict(CANGZHOU, status="retired"), None),
    "quote": ({}, verdict(CANGZHOU), "q1.what.is.this"),
}


@pytest.mark.parametrize("changed", CHANGES)
async def test_what_changed_is_named(changed: str) -> None:
    fields, now, text = CHANGES[changed]
    bench = Bench()
    asked = claim("C1", 60_000)
    text = text or await tried(bench, asked, verdict(CANGZHOU))
    [stale] = await bench.decisions(claimed(msgspec.structs.replace(asked, quote=text, **fields), now))
    assert stale.stale is not None
    assert stale.stale.changed == (changed,)


def test_another_pack_is_named_only_where_it_changes_what_funds_pay() -> None:
    asked = claim("C1", 60_000)
    ref = PolicyRef(region=CANGZHOU, version="1", hash="a")
    before = Decision(outcome="settled", pooled=100, policy=ref)
    text = quote.quoted(asked, before, 0, 0).written()
    same = msgspec.structs.replace(before, policy=PolicyRef(region=CANGZHOU, version="2", hash="b"))
    assert quote.staleness(with_quote(asked, text), same) is None
    other = msgspec.structs.replace(same, pooled=99)
    stale = quote.staleness(with_quote(asked, text), other)
    assert stale is not None
    assert stale.changed == ("policy",)


def test_the_number_and_the_time_of_sending_are_no_part_of_the_content() -> None:
    asked = claim("C1", 60_000)
    text = quote.quoted(asked, Decision(outcome="settled"), 0, 0).written()
    later = msgspec.structs.replace(
        with_quote(asked, text), claim_no="C9", submitted_at="2023-05-03T09:30:00+08:00", submitted_on=date(2023, 5, 3)
    )
    assert quote.staleness(later, Decision(outcome="settled")) is None


@pytest.mark.parametrize(("promised", "paid"), [(10_000, 3_000), (3_000, 3_000), (1_200, 1_200), (0, 0)])
async def test_the_account_pays_what_was_quoted_or_less(promised: int, paid: int) -> None:
    books = Books()
    await books.add(credit("K1", 3_000))
    event = booked_claim("C1", total=10_000, pooled=4_000)
    assert event.claim is not None
    assert event.decision is not None
    text = quote.quoted(event.claim, event.decision, promised, 0).written()
    [answer] = await books.settle(msgspec.structs.replace(event, claim=with_quote(event.claim, text)))
    assert answer is not None
    assert answer.account == f"{paid / 100:.2f}"


async def test_trials_and_settlements_agree_over_random_histories() -> None:
    chance = random.Random(8)
    bench = Bench()
    places = [verdict(CANGZHOU, level=level, status=status) for level in "123" for status in ("active", "retired")]
    outcomes = []
    for number in range(400):
        asked = claim(f"C{number}", chance.randrange(100, 90_000), member=f"M{chance.randrange(9)}")
        place = chance.choice(places)
        text = await tried(bench, asked, place)
        if number % 5 == 0:  # something comes between
            await bench.settle(claimed(claim(f"B{number}", 30_000, member=asked.member_id), place))
        [settled] = await bench.decisions(claimed(with_quote(asked, text), place))
        promised = quote.read(text)
        assert promised is not None
        if settled.outcome == "settled":
            assert promised.funds == tuple(getattr(settled, fund) for fund in quote.FUNDS)
        else:
            assert settled.stale is not None
            assert tuple(settled.stale.quoted.values()) == promised.funds != tuple(settled.stale.current.values())
            assert number % 5 == 0, "nothing came between"
        outcomes.append(settled.outcome)
    assert {"settled", "rejected"} == set(outcomes)


def test_trying_leaves_the_accumulators_as_they_are() -> None:
    asked, open_ = claim("C1", 60_000), verdict(CANGZHOU)
    bench = Bench()
    version = bench.step._policies.on(CANGZHOU, asked.visited_on)
    counters = Counters(dict.fromkeys(counter_keys(asked, open_, version), Counter(0, None, 0)))
    decide(with_quote(asked, "made up"), open_, version, counters)
    assert counters.take_changes() == ()
