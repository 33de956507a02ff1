"""`gongji fund pay` against a naive book over random months, killed in the middle, and twice at once."""

import asyncio
import random
import sys
from datetime import date

import asyncpg
import pytest
from ledger_hands import killed_before
from payment_books import ZHANJIANG, Case, Payers, balance, pay, rows, signed

from shared.money import fen

pytestmark = pytest.mark.servers
PAY = ("-m", "services", "fund", "pay", "--region", ZHANJIANG, "--month", "2023-05", "--reason", "x")


async def test_random_months_equal_a_naive_book(payers: Payers, connection: asyncpg.Connection) -> None:
    """A dictionary of open cost, paid month by month by the article, against the books."""
    random_ = random.Random(7)
    open_cost: dict[tuple[str, str], int] = {}
    standing: list[tuple[Case, str]] = []
    paid_months: set[str] = set()
    budget_month = {n: 7_220_000 // 12 + (n <= 7_220_000 % 12) for n in range(1, 13)}
    for number in range(120):
        month = random_.choice(("2023-02", "2023-03", "2023-04"))
        if standing and random_.random() < 0.25:
            case, month = standing.pop(random_.randrange(len(standing)))
            await payers.reverse(case)
            open_cost[month, case.institution] = open_cost.get((month, case.institution), 0) - case.pooled
        else:
            day = date(2023, int(month[5:]), random_.randrange(1, 28))
            case = Case(f"C{number}", f"H{random_.randrange(4)}", random_.randrange(1, 10_000), day)
            await payers.settle(case)
            standing.append((case, month))
            open_cost[month, case.institution] = open_cost.get((month, case.institution), 0) + case.pooled
        if number % 40 == 39:
            month = f"2023-0{2 + number // 40}"
            due: dict[str, int] = {}
            for (of, institution), cost in open_cost.items():
                if of == month or (of < month and of in paid_months):
                    due[institution] = due.get(institution, 0) + cost
            expected = {name: cost for name, cost in due.items() if cost >= 0}
            found = await pay(month)
            assert {name: fen(line[0]) for name, line in found.items() if signed(line[5]) == 0} == expected
            assert sum(fen(line[1]) for line in found.values()) == min(
                (2 * sum(expected.values()) * 105 + 100) // 200, budget_month[int(month[5:])]
            )
            for of, institution in list(open_cost):
                if institution in expected and (of == month or (of < month and of in paid_months)):
                    del open_cost[of, institution]
            paid_months.add(month)
    for name in {case.institution for case, _ in standing}:
        left = sum(cost for (_, institution), cost in open_cost.items() if institution == name)
        assert await balance(connection, f"payable:{name}") == left


async def test_a_kill_in_the_middle_of_paying_books_nothing_and_the_next_run_all(
    payers: Payers, connection: asyncpg.Connection, fund_books: str
) -> None:
    await payers.settle(*(Case(f"C{n}", f"H{n}", 1_000 + n) for n in range(20)))
    undisturbed = await pay("2023-05", ZHANJIANG, "--dry-run")
    before = await rows(connection)
    for table in ("payment_run", "payment_item", "posting", "payment"):
        await killed_before(table, PAY, connection, fund_books)
        assert await rows(connection) == before
    assert await pay() == undisturbed


async def test_two_runs_at_once_pay_once(payers: Payers, connection: asyncpg.Connection) -> None:
    await payers.settle(*(Case(f"C{n}", f"H{n % 3}", 1_000 + n) for n in range(20)))
    both = [
        await asyncio.create_subprocess_exec(sys.executable, *PAY, "--json", stdout=asyncio.subprocess.PIPE) for _ in range(2)
    ]
    first, second = [(await one.communicate())[0] for one in both]
    assert first == second
    assert len(first.splitlines()) == await connection.fetchval("select count(*) from account.payment") == 3
    assert await balance(connection, "payable:H0") == 0
