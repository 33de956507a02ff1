"""Both stores of adjudication keep the same books: in memory, and in Postgres."""

from collections.abc import AsyncIterator
from datetime import date
from pathlib import Path
from typing import Any

import asyncpg
import pytest
from adjudication_cases import (
    BAZHONG,
    CANGZHOU,
    KASHGAR,
    POLICIES,
    Bench,
    amounts,
    asked,
    claim,
    claimed,
    reversed_,
    used,
    verdict,
)
from simulation import still
from simulation.stores import AdjudicationStore

from services.adjudication.counters import Counter, CounterKey
from services.adjudication.memory import MemoryStore
from services.adjudication.store import PostgresStore, Ruling
from shared.errors import Stop
from shared.policy import Policies
from shared.policy.pack import Pack
from shared.reasons import reason
from shared.runtime.kept import Spill
from shared.runtime.step import Filed

MIGRATIONS = Path(__file__).parents[2] / "deploy/migrations/sql"
SQL = "".join((MIGRATIONS / f"{number}_adjudication.sql").read_text() for number in ("0001", "0006", "0013"))


@pytest.fixture
async def database(fresh_database: str) -> AsyncIterator[Any]:
    connection = await asyncpg.connect(fresh_database)
    await connection.execute(SQL)
    yield connection
    await connection.close()


@pytest.fixture(params=["memory", "spilled", "simulated", pytest.param("postgres", marks=pytest.mark.servers)])
def place(request: pytest.FixtureRequest) -> str:
    """A DSN, asked for outside the event loop: the servers start, if they must, before it runs; or memory."""
    if request.param == "postgres":
        return str(request.getfixturevalue("fresh_database"))
    return str(request.param)


@pytest.fixture
async def bench(place: str) -> AsyncIterator[Bench]:
    if place in ("memory", "spilled"):
        spill = Spill(gather=1)
        yield Bench(MemoryStore() if place == "memory" else MemoryStore(spill.of(bytes), spill.of(Counter)))
        spill.close()
        return
    if place == "simulated":
        yield Bench(AdjudicationStore(), tx=still.connection())
        return
    connection = await asyncpg.connect(place)
    await connection.execute(SQL)
    yield Bench(PostgresStore(), tx=connection)
    await connection.close()


async def used_by(bench: Bench, *names: str, member: str = "M1", over: str = f"{CANGZHOU}:2023") -> list[int]:
    keys = [CounterKey(member, over, name) for name in names]
    rows = await bench.store.counters(bench.tx, keys)
    return [rows[key].used for key in keys]


async def test_what_one_batch_used_the_next_one_finds(bench: Bench) -> None:
    [first] = await bench.decisions(claimed(claim("C1", 8_000), verdict(CANGZHOU)))
    assert (first.pooled, first.deductible, first.reasons[0].code) == (0, 8_000, "within_deductible")
    second, third = await bench.decisions(
        claimed(claim("C2", 10_000), verdict(CANGZHOU)), claimed(claim("C3", 1), verdict(CANGZHOU))
    )
    assert (second.deductible, second.pooled) == (2_000, 4_000)
    assert third.before == second.after
    assert await used_by(bench, "ordinary.deductible", "ordinary.fund", "pooled.fund") == [10_000, 4_001, 4_001]


async def test_a_repeated_event_is_dropped_in_the_batch_and_after_it(bench: Bench) -> None:
    event = claimed(claim("C1", 50_000), verdict(CANGZHOU))
    first, second = await bench.settle(event, event)
    assert first is not None
    assert second is None
    assert await bench.settle(event) == [None]
    assert await used_by(bench, "ordinary.fund") == [20_000]


@pytest.mark.parametrize("together", [True, False], ids=["in one batch", "in two batches"])
async def test_a_reversal_gives_back_what_its_claim_took(bench: Bench, together: bool) -> None:
    taken = claimed(claim("C1", 50_000), verdict(CANGZHOU))
    if together:
        settled, undone = await bench.decisions(taken, reversed_("C1"))
    else:
        [settled] = await bench.decisions(taken)
        [undone] = await bench.decisions(reversed_("C1"))
    assert undone.outcome == "reversed"
    assert (undone.total, undone.in_scope, undone.deductible, undone.pooled) == (-50_000, -50_000, -10_000, -20_000)
    assert (undone.before, undone.after) == (settled.after, settled.before)
    assert await used_by(bench, "ordinary.deductible", "ordinary.fund", "pooled.fund") == [0, 0, 0]


async def test_the_reversal_of_a_rejection_is_nothing_for_the_rejections_reasons(bench: Bench) -> None:
    rejection = reason("manual_after_deadline", article="420300:18")
    event = claimed(claim("C1", 50_000), verdict(CANGZHOU, rejection=rejection))
    rejected, undone = await bench.decisions(event, reversed_("C1"))
    assert (rejected.outcome, rejected.total, rejected.reasons) == ("rejected", 0, (rejection,))
    assert (undone.outcome, undone.total, undone.reasons) == ("reversed", 0, (rejection,))


async def test_a_reversal_without_its_claim_is_no_decision(bench: Bench) -> None:
    with pytest.raises(ValueError, match="never decided here"):
        await bench.settle(reversed_("C1"))


async def test_questions_and_account_uses_pass_on_with_a_row_of_their_own(bench: Bench) -> None:
    out = await bench.settle(asked("C1", 1), asked("C1", 2), asked("C1", 1), used("U1", 700), reversed_("U1"))
    assert [event is None for event in out] == [False, False, True, False, False]
    use, undone = (event.decision for event in out[3:] if event is not None)
    assert use is not None
    assert undone is not None
    assert (use.outcome, use.total, use.own_paid) == ("settled", 700, 700)
    assert (undone.outcome, undone.total, undone.own_paid) == ("reversed", -700, -700)
    assert await bench.settle(asked("C1", 2), used("U1", 700)) == [None, None]


async def test_a_visit_has_a_period_of_its_own_and_members_do_not_share(bench: Bench) -> None:
    here = verdict(KASHGAR, level="3")
    await bench.decisions(claimed(claim("C1", 6_000), here), claimed(claim("C2", 6_000, member="M2"), here))
    year, visit = f"{KASHGAR}:2023", f"{KASHGAR}:2023-05-01@I1"
    for member in ("M1", "M2"):
        assert await used_by(bench, "visits_count", member=member, over=year) == [1]
        assert await used_by(bench, "visit.deductible", "visit.fund", member=member, over=visit) == [6_000, 0]


async def test_a_member_who_moves_begins_anew_in_the_other_city_and_a_reversal_gives_back_in_its_own(bench: Bench) -> None:
    there, here = verdict(CANGZHOU), verdict(BAZHONG)
    await bench.decisions(claimed(claim("C1", 300_000), there))
    [moved] = await bench.decisions(claimed(claim("C2", 50_000), here))
    assert (moved.deductible, moved.pooled) == (20_000, 18_000)
    await bench.settle(reversed_("C1"))
    assert await used_by(bench, "ordinary.deductible", "ordinary.fund") == [0, 0]
    assert await used_by(bench, "ordinary.deductible", "ordinary.fund", over=f"{BAZHONG}:2023") == [20_000, 18_000]


async def test_a_cost_outside_the_scope_reads_the_accumulators_that_an_earlier_batch_left(bench: Bench) -> None:
    veteran = verdict(KASHGAR, level="3", supplements=("veteran_1_6",))
    await bench.decisions(claimed(claim("C1", 16_000), veteran))
    [decided] = await bench.decisions(claimed(claim("C2", amounts(0, pre_self_pay=4_000)), veteran))
    assert (decided.veterans, decided.before["visits_count"], decided.before["ordinary.fund"]) == (4_000, 1, 5_500)


@pytest.mark.servers
async def test_an_accumulator_that_was_not_locked_is_not_written(database: Any) -> None:
    bench = Bench(PostgresStore(), tx=database)
    event = claimed(claim("C1", 30_000), verdict(CANGZHOU))
    facts = await bench.step.load(database, [event])
    ruling = bench.step.decide(event, facts)
    assert isinstance(ruling, Ruling)
    await database.execute("delete from adjudication.counter")
    with pytest.raises(Stop, match="neither opened nor locked"):
        await bench.step.record(database, [Filed(ruling, "claims.eligible", 0, 0, 1, bench.step.announce(ruling))])


async def test_a_counter_keeps_the_highest_ceiling_that_was_applied(bench: Bench) -> None:
    for number, status in enumerate(["retired", "active"]):
        await bench.decisions(claimed(claim(f"C{number}", 15_000), verdict(BAZHONG, status)))
    [row] = (await bench.store.counters(bench.tx, [CounterKey("M1", f"{BAZHONG}:2023", "ordinary.deductible")])).values()
    assert row == Counter(used=20_000, ceiling=20_000, version=2)


async def test_a_stored_pack_decides_as_the_one_it_was_stored_from(bench: Bench) -> None:
    await bench.store.keep_packs(bench.tx, POLICIES.versions)
    await bench.store.keep_packs(bench.tx, POLICIES.versions)
    version = POLICIES.on(CANGZHOU, date(2023, 5, 1))
    assert version is not None
    again = await bench.store.pack(bench.tx, version.ref.hash)
    assert again is not None
    assert again.content == version.content
    assert await bench.store.pack(bench.tx, "0" * 64) is None


@pytest.mark.parametrize("together", [True, False], ids=["in one batch", "batch by batch"])
async def test_where_the_pack_says_latest_first_a_claim_stands_behind_a_later_one(bench: Bench, together: bool) -> None:
    policies = Policies(packs_that_say_latest_first(), {})
    latest_first = Bench(bench.store, bench.tx, policies)
    await bench.store.keep_packs(bench.tx, policies.versions)  # as a service does that starts
    events = [
        claimed(claim("C1", 30_000), verdict(CANGZHOU)),
        claimed(claim("C2", 30_000), verdict(CANGZHOU)),
        claimed(claim("C3", 30_000, day=date(2024, 1, 1)), verdict(CANGZHOU)),
        claimed(claim("C4", 30_000, member="M2"), verdict(CANGZHOU)),
        reversed_("C1"),
        reversed_("C2"),
    ]
    batches = [events] if together else [[event] for event in events]
    decided = [decision for batch in batches for decision in await latest_first.decisions(*batch)]
    assert [one.outcome for one in decided[4:]] == ["rejected", "reversed"]
    [why] = decided[4].reasons
    assert (why.code, "C2" in why.zh) == ("later_claim_stands", True)
    assert [claim_key for *_, claim_key in await bench.store.standing(bench.tx, ["M1"])] == [("I1", "C1"), ("I1", "C3")]


def packs_that_say_latest_first() -> dict[str, Pack]:
    pack = POLICIES.packs[CANGZHOU]
    rule = pack.versions[0].benefits.reversal.model_copy(update={"rule": "latest_first"})
    benefits = pack.versions[0].benefits.model_copy(update={"reversal": rule})
    version = pack.versions[0].model_copy(update={"benefits": benefits})
    return {CANGZHOU: pack.model_copy(update={"versions": (version,)})}


async def test_the_cache_can_be_brought_up_to_date_from_the_rows_page_by_page(bench: Bench) -> None:
    store = bench.store
    if isinstance(store, MemoryStore):
        pytest.skip("a replay shows nothing in Redis")
    assert isinstance(store, PostgresStore | AdjudicationStore)
    await bench.settle(claimed(claim("C1", 50_000), verdict(CANGZHOU)))
    await bench.settle(claimed(claim("C2", 50_000, member="M2"), verdict(CANGZHOU)), asked("C1", 1))
    await bench.settle(reversed_("C2", member="M2"))
    changed, last = await store.changed_above(bench.tx, "claims.eligible", 0, 1, limit=10)
    assert {key.member_id for key, _ in changed} == {"M2"}
    assert dict(changed)[CounterKey("M2", f"{CANGZHOU}:2023", "ordinary.fund")] == Counter(used=0, ceiling=120_000, version=2)
    assert last is None
    pages: list[tuple[list[str], int | None]] = []
    above: int | None = 0
    while above is not None:
        changed, above = await store.changed_above(bench.tx, "claims.eligible", 0, above, limit=1)
        pages.append((sorted({key.member_id for key, _ in changed}), above))
    assert pages == [(["M1"], 1), (["M2"], 2), (["M2"], 4), ([], None)]


PLANTED: list[tuple[str, str]] = [
    ("veterans = in_scope + 1", "decision_funds"),
    ("deductible = in_scope", "decision_deductible"),
    ("total = total + 1", "decision_parts"),
    ("deductible = -1", "decision_signs"),
    ("outcome = 'rejected'", "decision_rejected_books_nothing"),
    ("part = 1024", "decision_part"),
]


@pytest.mark.servers
@pytest.mark.parametrize(("change", "constraint"), PLANTED)
async def test_the_table_itself_refuses_what_cannot_be(database: Any, change: str, constraint: str) -> None:
    await Bench(PostgresStore(), tx=database).settle(claimed(claim("C1", 50_000), verdict(CANGZHOU)))
    with pytest.raises(asyncpg.CheckViolationError) as refused:
        await database.execute(f"update adjudication.decision set {change}")
    assert refused.value.constraint_name == constraint
    with pytest.raises(asyncpg.CheckViolationError) as refused:
        await database.execute("update adjudication.counter set used = ceiling + 1")
    assert refused.value.constraint_name == "counter_ceiling"
