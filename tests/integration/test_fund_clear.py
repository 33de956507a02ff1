"""`gongji fund clear` on real books: what regions owe by a closed window is paid whole, once, and never before it is closed."""

import asyncio
import sys

import asyncpg
import pytest
from clearing_books import closed
from ledger_hands import killed_before
from payment_books import BAZHONG, ZHANJIANG, Case, Payers, balance, gongji, rows

from shared.errors import Stop, UsageError

pytestmark = pytest.mark.servers

CANGZHOU = "130900"
THERE = Case("C1", "H1", 6_000, insured=CANGZHOU)  # of Cangzhou, seen in Zhanjiang
BACK = Case("C2", "H2", 2_500, care=BAZHONG)  # of Zhanjiang, seen in Bazhong
ROUND = Case("C3", "H2", 1_000, insured=CANGZHOU, care=BAZHONG)


async def cleared(window: int, *options: str) -> list[tuple[str, str, str]]:
    said = await gongji("fund", "clear", "--window", str(window), "--reason", "清算", *options)
    assert all(one["window"] == window for one in said)
    return [(one["debtor"], one["creditor"], one["amount"]) for one in said]


async def shown(region: str) -> dict[str, str]:
    """The closing balances of a region's accounts."""
    return {one["account"]: one["closing"] for one in await gongji("fund", "show", "--region", region)}


async def counted(connection: asyncpg.Connection) -> list[int]:
    return [*await rows(connection), await connection.fetchval("select count(*) from account.window_payment")]


async def test_what_regions_owe_by_a_window_is_paid_and_nothing_of_it_stays_due(
    payers: Payers, connection: asyncpg.Connection
) -> None:
    await payers.settle(THERE, BACK, ROUND, Case("C4", "H1", 9_000), THERE._replace(number="C5", pooled=500))
    window = await closed(connection)
    await payers.settle(THERE._replace(number="C6", pooled=700))
    [said] = await gongji("clearing", "show", str(window))
    nets = {one["region"]: one["net"] for one in said["regions"]}
    assert said["paid_at"] is None
    owed = [(CANGZHOU, ZHANJIANG, "65.00"), (CANGZHOU, BAZHONG, "10.00"), (ZHANJIANG, BAZHONG, "25.00")]
    assert await cleared(window) == owed
    cangzhou, zhanjiang, bazhong = [await shown(region) for region in (CANGZHOU, ZHANJIANG, BAZHONG)]
    # What was settled after the closing is owed as before.
    assert {name: amount for name, amount in (cangzhou | zhanjiang | bazhong).items() if name.startswith("due_")} == {
        "due_to:130900:440800": "7.00",
        "due_to:130900:511900": "0.00",
        "due_to:440800:511900": "0.00",
        "due_from:440800:130900": "7.00",
        "due_from:511900:130900": "0.00",
        "due_from:511900:440800": "0.00",
    }
    assert nets == {"130900": "-75.00", "440800": "40.00", "511900": "35.00"}
    paid_out = {"130900": cangzhou["bank:130900"], "440800": zhanjiang["bank:440800"], "511900": bazhong["bank:511900"]}
    assert paid_out == {"130900": "75.00", "440800": "-40.00", "511900": "-35.00"}
    [said] = await gongji("clearing", "show", str(window))
    assert said["paid_at"] is not None
    [told] = await gongji("ledger", "statement", "bank:130900")
    assert {entry["reason"]["en"] for entry in told["entries"]} == {"what regions owe each other by a window, paid"}


async def test_a_second_command_says_the_same_and_books_nothing(payers: Payers, connection: asyncpg.Connection) -> None:
    await payers.settle(THERE, ROUND)
    window = await closed(connection)
    first = await cleared(window)
    before = await counted(connection)
    assert await cleared(window) == first
    assert await counted(connection) == before
    commands = await connection.fetch(
        "select command, reason, after->>'window' from runtime.command_log order by id desc limit 1"
    )
    assert [tuple(row) for row in commands] == [("fund clear", "清算", str(window))]


async def test_where_reversals_exceed_claims_the_place_of_care_pays_back_and_of_nothing_there_is_no_journal(
    payers: Payers, connection: asyncpg.Connection
) -> None:
    await payers.settle(THERE, BACK)
    await cleared(await closed(connection))
    await payers.reverse(THERE)
    gone = BACK._replace(number="C7")
    await payers.settle(gone)
    await payers.reverse(gone)
    window = await closed(connection)
    before = await connection.fetchval("select count(*) from account.journal")
    assert await cleared(window) == [(CANGZHOU, ZHANJIANG, "-60.00"), (ZHANJIANG, BAZHONG, "0.00")]
    assert await connection.fetchval("select count(*) from account.journal") == before + 1
    names = ("due_to:130900:440800", "due_from:440800:130900", "bank:130900", "bank:440800", "bank:511900")
    assert [await balance(connection, name) for name in names] == [0, 0, 0, 2_500, -2_500]


async def test_a_dry_run_books_nothing_and_says_what_the_run_will_say(payers: Payers, connection: asyncpg.Connection) -> None:
    await payers.settle(THERE, BACK)
    window = await closed(connection)
    before = await counted(connection)
    tried = await gongji("fund", "clear", "--window", str(window), "--dry-run")
    assert await counted(connection) == before
    assert [(one["debtor"], one["creditor"], one["amount"]) for one in tried] == await cleared(window)


async def test_only_a_closed_window_by_which_somebody_owes_is_paid(payers: Payers, connection: asyncpg.Connection) -> None:
    with pytest.raises(Stop, match="there is no clearing window 1; no window is closed yet"):
        await cleared(1)
    await payers.settle(THERE)
    window = await closed(connection)
    empty = await closed(connection)
    before = await counted(connection)
    for number, words in (
        (empty + 1, rf"window {empty + 1} is open.*close it first \(gongji clearing close\)"),
        (77, f"there is no clearing window 77; the last that is closed is {empty}"),
        (empty, f"nothing to pay: no region owes another anything by window {empty}"),
    ):
        with pytest.raises(Stop, match=words):
            await cleared(number)
    for refused in (("--window", str(window)), ("--window", str(window), "--reason", " ")):
        with pytest.raises(UsageError, match="--reason"):
            await gongji("fund", "clear", *refused)
    assert await counted(connection) == before


async def test_two_commands_at_once_pay_once(payers: Payers, connection: asyncpg.Connection) -> None:
    await payers.settle(THERE, BACK, ROUND)
    window = await closed(connection)
    both = [
        await asyncio.create_subprocess_exec(sys.executable, *command(window, "--json"), stdout=asyncio.subprocess.PIPE)
        for _ in range(2)
    ]
    first, second = [(await one.communicate())[0] for one in both]
    assert first == second
    assert len(first.splitlines()) == await connection.fetchval("select count(*) from account.window_payment") == 3
    assert await connection.fetchval("select count(*) from account.journal where kind = 'clearing'") == 3


async def test_a_kill_in_the_middle_books_nothing_and_the_next_command_all(
    payers: Payers, connection: asyncpg.Connection, fund_books: str
) -> None:
    await payers.settle(THERE, BACK, ROUND)
    window = await closed(connection)
    before = await counted(connection)
    for table in ("journal", "posting", "window_payment"):
        await killed_before(table, command(window), connection, fund_books)
        assert await counted(connection) == before
    assert len(await cleared(window)) == 3
    assert await balance(connection, "due_to:130900:440800") == 0


def command(window: int, *options: str) -> tuple[str, ...]:
    return ("-m", "services", "fund", "clear", "--window", str(window), "--reason", "x", *options)
