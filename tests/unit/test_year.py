"""A person's year after a late change of the register: only differences, each with its claim, and nothing twice."""

from datetime import date
from typing import Any

import msgspec
import pytest
from eligibility_world import BAZHONG, CANGZHOU, KASHGAR, POLICIES, ZHANJIANG, filing, grant, member, place
from year_world import NOW, YearWorld, bill

from services.explain import Grounds, standing, work_out
from shared.calendar import stamp
from shared.claim import Line
from shared.events import Event, decode
from shared.outcome import Outcome
from shared.policy import Policies
from shared.policy.lint import read_parameters
from shared.quote import quoted
from shared.register import CatalogueItem, Member, RegisterRecord

MAY, JUNE, JULY = date(2023, 5, 10), date(2023, 6, 10), date(2023, 7, 10)


CHRONIC = {"chronic:M03900.ratio": "50", "chronic:M03900.limit": "3000"}  # an operator's: the ratio of two diseases


async def world(
    region: str, *more: RegisterRecord, credit: int = 0, figures: dict[str, str] | None = None, **said: Any
) -> YearWorld:
    given = {region: {name: [{"from": "2020-01-01", "value": value}] for name, value in (figures or {}).items()}}
    policies = Policies(POLICIES.packs, read_parameters(given, POLICIES.packs, "figures of a test"))
    return await YearWorld([member(region, **said), place(region), *more], credit, policies).begin()


def retired(region: str, since: str = "2023-01-01") -> Member:
    return member(region, since=since, status="retired")


async def test_a_retirement_known_late_pays_the_better_ratio_and_the_person_gets_it() -> None:
    books = await world(CANGZHOU)
    await books.settle(bill("C1", 30_000, use_account=False))  # 100 deductible, 50 % of 200
    await books.late(retired(CANGZHOU))
    [revised] = await books.readjudicate()
    assert (revised.revision, revised.outcome, revised.total, revised.payee) == (1, "settled", "0.00", "member")
    assert (revised.pooled, revised.cash, revised.account) == ("20.00", "-20.00", "0.00")
    assert books.stands("C1")["pooled"] == 12_000
    assert books.ledger() == {
        "fund:130900:pooled": -12_000, "payable:H": 10_000, "member:130900:M": 2_000,
    }  # fmt: skip


async def test_what_an_account_paid_goes_back_to_it_after_the_cash() -> None:
    books = await world(CANGZHOU, credit=19_000)
    await books.settle(bill("C1", 30_000))  # 200 are the person's: 190 from the account, 10 in cash
    await books.late(retired(CANGZHOU))
    [revised] = await books.readjudicate()
    assert (revised.cash, revised.account, revised.account_balance) == ("-10.00", "-10.00", "10.00")
    assert books.ledger()["personal:M"] == 1_000
    assert books.accounts.accounts["M"] == 1_000


async def test_what_the_funds_paid_too_much_the_person_owes() -> None:
    books = await world(CANGZHOU, status="retired")
    await books.settle(bill("C1", 30_000, use_account=False))
    await books.late(member(CANGZHOU))  # the same line, corrected: he was not retired
    [revised] = await books.readjudicate()
    assert (revised.pooled, revised.cash) == ("-20.00", "20.00")
    assert books.ledger()["member:130900:M"] == -2_000


async def test_a_deductible_moves_to_the_claim_that_is_first_now() -> None:
    books = await world(CANGZHOU, covered_to=MAY.replace(day=1))
    await books.settle(bill("C1", 20_000))  # not covered: no fund, no deductible
    await books.late(member(CANGZHOU, since="2023-06-01"))
    await books.settle(bill("C2", 20_000, JUNE))  # covered again: the deductible here
    assert [one.deductible for one in books.outcomes] == ["0.00", "100.00"]
    await books.late(member(CANGZHOU))  # covered all the time
    first, second = await books.readjudicate()
    assert (first.claim_no, first.deductible, first.pooled) == ("C1", "100.00", "50.00")
    assert (second.claim_no, second.deductible, second.pooled) == ("C2", "-100.00", "50.00")
    assert (second.before["ordinary.deductible"], second.after["ordinary.deductible"]) == ("100.00", "100.00")


async def test_a_qualification_granted_late_brings_another_benefit() -> None:
    books = await world(BAZHONG)
    first = await books.settle(bill("C1", 30_000, benefit="hypertension"))
    assert [why.code for why in first.reasons] == ["benefit_not_qualified"]
    await books.late(member(BAZHONG, qualifications=(grant("hypertension"),)))
    [revised] = await books.readjudicate()
    assert (revised.pooled, revised.reasons) == ("150.00", ())
    again = await books.settle(bill("C2", 20_000, JUNE, benefit="hypertension"))
    assert again.pooled == "50.00"  # what the first used counts: 200 a year


async def test_a_claim_that_only_counts_against_another_limit_now_is_revised_too() -> None:
    """The funds pay the same, by the same ratio: without a revision nothing would say what the limit was used for."""
    books = await world(BAZHONG, figures=CHRONIC, qualifications=(grant("hypertension"),))
    await books.settle(bill("C1", 30_000, benefit="hypertension"))
    assert _used_up(books) == {"hypertension.fund": 15_000}
    before = books.ledger()
    await books.late(member(BAZHONG, qualifications=(grant("hypertension"), grant("chronic:M03900"))))
    [revised] = await books.readjudicate()
    assert (revised.revision, revised.fund_total, revised.cash, revised.reasons) == (1, "0.00", "0.00", ())
    assert (revised.before["chronic:M03900.fund"], revised.after["chronic:M03900.fund"]) == ("0.00", "150.00")
    assert _used_up(books) == {"chronic:M03900.fund": 15_000}
    assert books.ledger() == before
    assert await books.readjudicate() == []
    await books.cancel("C1")
    assert _used_up(books) == {}


def _used_up(books: YearWorld) -> dict[str, int]:
    return {key.name: used for key, used in books.used().items()}


async def test_a_revision_was_accepted_when_it_was_commanded() -> None:
    """By that instant the command finds its own revisions again, and the time to settling is that of the command."""
    books = await world(CANGZHOU)
    first = await books.settle(bill("C1", 30_000))
    await books.late(retired(CANGZHOU))
    said = await books.command()
    [revised] = await books.send(said, at=1)
    assert (revised.accepted_at, revised.settled_at) == (said.accepted_at, stamp(NOW))
    assert first.accepted_at != said.accepted_at


@pytest.mark.parametrize(("limit", "in_scope"), [(60, "-40.00"), (None, "0.00")])
async def test_a_price_corrected_late_moves_cost_between_the_parts(limit: int | None, in_scope: str) -> None:
    def item(price: int | None) -> CatalogueItem:
        return CatalogueItem(CANGZHOU, "X1", "药", "甲", 0, date(2023, 1, 1), None, None if price is None else price * 1_000_000)

    books = await world(CANGZHOU, item(None))
    await books.settle(bill("C1", 0, lines=(Line(line_no="1", code="X1", quantity="1", unit_price="200", amount=20_000),)))
    await books.settle(bill("C2", 10_000, JUNE))
    await books.late(item(limit and limit + 100))
    revised = await books.readjudicate()
    assert [one.in_scope for one in revised] == ([in_scope] if limit else [])
    assert books.stands("C1")["pooled"] == (5_000 if limit is None else 3_000)


async def test_a_second_run_with_nothing_changed_books_nothing() -> None:
    books = await world(CANGZHOU)
    for number, day in (("C1", MAY), ("C2", JUNE), ("C3", JULY)):
        await books.settle(bill(number, 15_000, day))
    await books.cancel("C1")
    assert await books.readjudicate() == []  # nothing was changed: a cancelled claim's deductible stays where it was
    await books.late(retired(CANGZHOU))
    assert [one.claim_no for one in await books.readjudicate()] == ["C2", "C3"]
    used, ledger = books.used(), books.ledger()
    assert await books.readjudicate() == []
    assert (books.used(), books.ledger()) == (used, ledger)


async def test_the_same_command_twice_is_carried_out_once() -> None:
    books = await world(CANGZHOU)
    await books.settle(bill("C1", 30_000))
    await books.late(retired(CANGZHOU))
    said = await books.command()
    assert len(await books.send(said, at=1)) == 1
    assert await books.send(said, at=1) == []


async def test_a_cancelling_after_a_revision_gives_back_what_stood_last() -> None:
    books = await world(CANGZHOU, credit=5_000)
    await books.settle(bill("C1", 30_000))
    await books.late(retired(CANGZHOU))
    await books.readjudicate()
    await books.late(member(CANGZHOU, status="active"))
    await books.readjudicate()
    await books.late(retired(CANGZHOU))
    await books.readjudicate()
    reversal = await books.cancel("C1")
    assert (reversal.outcome, reversal.pooled, reversal.account) == ("reversed", "-120.00", "-50.00")
    assert set(books.stands("C1").values()) == {0}
    assert books.used() == {}
    assert books.ledger() == {"contributions": -5_000, "personal:M": 5_000}


async def test_a_later_claim_uses_the_new_accumulators() -> None:
    books = await world(CANGZHOU)
    await books.settle(bill("C1", 100_000, use_account=False))
    await books.settle(bill("C2", 200_000, JUNE))  # the cap of 1200 is reached
    await books.late(retired(CANGZHOU))
    await books.readjudicate()
    third = await books.settle(bill("C3", 100_000, JULY))
    assert (third.before["ordinary.fund"], third.pooled) == ("1500.00", "0.00")


async def test_two_counts_of_a_day_are_worked_out_again_together() -> None:
    books = await world(KASHGAR)
    await books.settle(bill("C1", 5_000))
    await books.settle(bill("C2", 5_000))
    await books.settle(bill("C3", 5_000, JUNE))
    await books.late(member(KASHGAR, covered_to=date(2023, 5, 1)), member(KASHGAR, since="2023-06-01"))
    revised = await books.readjudicate()
    assert [one.claim_no for one in revised] == ["C1", "C2", "C3"]  # June's visit is the first now
    assert books.stands("C1")["pooled"] == 0
    assert books.used()[next(key for key in books.used() if key.name == "visits_count")] == 1


async def test_care_elsewhere_is_settled_between_person_and_own_region() -> None:
    away = place(ZHANJIANG, "Z")
    books = await world(CANGZHOU, away, filing(ZHANJIANG, "posted"))
    first = await books.settle(bill("C1", 30_000, institution="Z", use_account=False))
    assert (first.pooled, first.care_region) == ("100.00", ZHANJIANG)
    await books.late(retired(CANGZHOU))
    await books.readjudicate()
    window = await books.clearing.window(None)
    assert [(one.gross, one.claims) for one in window.positions] == [(10_000, 1)]
    await books.cancel("C1", "Z")
    window = await books.clearing.window(None)
    assert [(one.gross, one.claims) for one in window.positions] == [(0, 2)]
    assert books.ledger() == {}


async def test_a_claim_that_could_not_be_settled_now_stops_the_whole_year() -> None:
    books = await world(CANGZHOU)
    await books.settle(bill("C1", 30_000))
    await books.settle(bill("C2", 30_000, JUNE))
    await books.late(member(BAZHONG, since="2023-06-01"), retired(CANGZHOU))
    assert await books.readjudicate() == []
    [*_, last] = [value for _, kind, value in books.decisions._past or [] if kind == "readjudication"]
    assert b"H/C2: its insured region or place of care is another now" in last


async def test_a_quote_of_its_day_does_not_bind_the_year_worked_out_again() -> None:
    books = await world(CANGZHOU)
    tried = await world(CANGZHOU)
    await tried.settle(bill("C1", 30_000, use_account=False))
    [(_, _, value)] = tried.decisions._past or []
    decision = decode(value).decision
    assert decision is not None
    claim = bill("C1", 30_000, use_account=False)
    promised = quoted(claim, decision, 0, 0).written()
    assert (await books.settle(msgspec.structs.replace(claim, quote=promised))).outcome == "settled"
    await books.late(retired(CANGZHOU))
    assert [one.pooled for one in await books.readjudicate()] == ["20.00"]


async def test_what_was_refused_stays_refused() -> None:
    books = await YearWorld([place(CANGZHOU)]).begin()
    assert (await books.settle(bill("C1", 30_000))).outcome == "rejected"
    await books.late(member(CANGZHOU))
    assert await books.readjudicate() == []


async def test_a_reimbursement_by_hand_is_owed_to_the_person() -> None:
    books = await world(CANGZHOU, place(ZHANJIANG, "Z"), filing(ZHANJIANG, "posted"), credit=4_000)
    first = await books.settle(bill("C1", 30_000, institution="Z", channel="manual"))
    assert (first.pooled, first.account, first.payee) == ("100.00", "40.00", "member")
    assert books.ledger()["member:130900:M"] == 14_000
    assert not books.clearing._obligations
    await books.late(retired(CANGZHOU))
    await books.readjudicate()
    assert books.ledger()["member:130900:M"] == 16_000
    await books.cancel("C1", "Z")
    assert books.ledger() == {"contributions": -4_000, "personal:M": 4_000}


async def test_every_revision_and_its_cancelling_are_proved_by_explain() -> None:
    books = await world(CANGZHOU, credit=5_000)
    for number, day in (("C1", MAY), ("C2", JUNE)):
        await books.settle(bill(number, 30_000, day))
    await books.late(retired(CANGZHOU))
    assert len(await books.readjudicate()) == 2
    await books.cancel("C1")
    said = {(one.kind, one.claim_no, one.revision): one for one in books.outcomes}
    stood: dict[str, list[Outcome]] = {}
    last: dict[str, Event] = {}
    for _, kind, value in books.decisions._past or []:
        event = decode(value)
        if event.decision is None:
            continue
        outcome = said[kind, event.claim_no, event.revision]
        before = stood.setdefault(event.claim_no, [])
        first = (last[event.claim_no], standing(before)) if before else None
        assert event.decision.policy is not None
        version = await books.decisions.pack(None, event.decision.policy.hash) or POLICIES.on(CANGZHOU, MAY)
        assert work_out(outcome, Grounds(event, version, first)).differences == ()
        if kind == "claim":
            before.append(outcome)
            last[event.claim_no] = event
