"""`gongji fund repaid` on real books: what waits of an institution is paid back once, and then held against no later month."""

import asyncio
import os
import random
import sys
from datetime import date

import asyncpg
import pytest
from payment_books import BAZHONG, ZHANJIANG, Case, Payers, balance, gongji, pay, rows, signed

from shared.errors import Stop, UsageError
from shared.money import fen, yuan

pytestmark = pytest.mark.servers

MAY = Case("C1", "H1", 6_000, insured=BAZHONG, care=BAZHONG)
JUNE, JULY = date(2023, 6, 1), date(2023, 7, 1)


def asking(institution: str = "H1", month: str = "2023-06", region: str = BAZHONG) -> tuple[str, ...]:
    return ("fund", "repaid", "--region", region, "--institution", institution, "--month", month)


async def repaid(amount: str, *options: str) -> str:
    [said] = await gongji(*asking(), "--amount", amount, "--reason", "退款", *options)
    assert [said[name] for name in ("region", "month", "institution_id")] == [BAZHONG, "2023-06", "H1"]
    return str(said["amount"])


async def counted(connection: asyncpg.Connection) -> list[int]:
    return [*await rows(connection), await connection.fetchval("select count(*) from account.repayment")]


async def waiting(payers: Payers) -> None:
    """60 paid for May and taken back; June's 10 do not make up for it."""
    await payers.settle(MAY, MAY._replace(number="C9", institution="H2"))
    await pay("2023-05", BAZHONG)
    await payers.reverse(MAY)
    await payers.settle(MAY._replace(number="C2", pooled=1_000, day=JUNE))
    assert (await pay("2023-06", BAZHONG))["H1"] == ["0.00", "0.00", "0.00", "0.00", "0.00", "-50.00"]


async def test_what_was_paid_back_is_not_held_against_the_next_month(payers: Payers, connection: asyncpg.Connection) -> None:
    await waiting(payers)
    assert await balance(connection, "payable:H1") == -5_000
    paid_out = await balance(connection, "bank:511900")
    assert await repaid("50.00") == "50.00"
    assert await balance(connection, "payable:H1") == 0
    assert await balance(connection, "bank:511900") == paid_out - 5_000
    await payers.settle(MAY._replace(number="C3", pooled=8_000, day=JULY))
    assert (await pay("2023-07", BAZHONG))["H1"] == ["80.00", "80.00", "80.00", "0.00", "0.00", "0.00"]
    assert await balance(connection, "payable:H1") == 0
    command = await connection.fetchrow(
        "select command, reason, after->>'amount' from runtime.command_log where command like '%repaid'"
    )
    assert command is not None
    assert tuple(command) == ("fund repaid", "退款", "5000")
    [told] = await gongji("ledger", "statement", "payable:H1")
    assert "an institution paid back" in {entry["reason"]["en"] for entry in told["entries"]}


async def test_a_second_command_says_the_same_and_books_nothing(payers: Payers, connection: asyncpg.Connection) -> None:
    await waiting(payers)
    await repaid("50.00")
    before = await counted(connection)
    assert await repaid("50.00") == "50.00"
    with pytest.raises(Stop, match=r"H1 paid back 50\.00 when 2023-06 was paid, and that stands"):
        await repaid("60.00")
    assert await counted(connection) == before


async def test_a_dry_run_says_how_much_waits_and_books_nothing(payers: Payers, connection: asyncpg.Connection) -> None:
    await waiting(payers)
    before = await counted(connection)
    assert (await gongji(*asking(), "--dry-run"))[0]["amount"] == "50.00"
    assert await counted(connection) == before


async def test_what_makes_no_sense_is_refused_and_nothing_is_booked(payers: Payers, connection: asyncpg.Connection) -> None:
    await waiting(payers)
    before = await counted(connection)
    said = ("--amount", "50.00", "--reason", "x")
    for arguments, error, words in (
        ((*asking(), "--amount", "49.99", "--reason", "x"), Stop, "50.00 of H1 waits, not 49.99"),
        ((*asking("H2"), *said), Stop, "nothing of H2 waits"),
        ((*asking("H1", "2023-05"), *said), Stop, "60.00 of H1 waits, not 50.00"),
        ((*asking("H1", "2023-07"), *said), Stop, "2023-07 is not paid"),
        ((*asking("H1", "2023-06", "999999"), *said), Stop, "no policy pack for region 999999"),
        ((*asking("H1", "2023-6"), *said), UsageError, "--month"),
        ((*asking(), "--reason", "x"), UsageError, "--amount"),
        ((*asking(), "--amount", "-50.00", "--reason", "x"), UsageError, "--amount"),
        ((*asking(), "--amount", "50.00"), UsageError, "--reason"),
    ):
        with pytest.raises(error, match=words):
            await gongji(*arguments)
    assert await counted(connection) == before


async def test_under_a_budget_only_what_is_passed_on_as_it_is_can_be_paid_back(
    payers: Payers, connection: asyncpg.Connection
) -> None:
    """What was incurred is not what was paid: 60 gave 63, and would give 4 in a month without money."""
    await payers.credit("M1", 3_000)
    own = Case("C1", "H1", 6_000, use_account=True)
    cost = Case("C2", "H2", 4_000)
    await payers.settle(own, cost)
    await pay()
    await payers.reverse(own)
    await payers.reverse(cost)
    assert (await pay("2023-06"))["H1"][5] == "-90.00"
    with pytest.raises(Stop, match="nothing of H2 waits that it could pay back; reversals of cost under a budget"):
        await gongji(*asking("H2", "2023-06", ZHANJIANG), "--dry-run")
    [said] = await gongji(*asking("H1", "2023-06", ZHANJIANG), "--amount", "30.00", "--reason", "退款")
    assert said["amount"] == "30.00"
    await payers.settle(own._replace(number="C3", pooled=8_000, day=JULY, use_account=False))
    assert (await pay("2023-07"))["H1"] == ["20.00", "21.00", "19.95", "1.05", "0.00", "0.00"]
    assert await balance(connection, "payable:H1") == 0


async def test_two_commands_at_once_book_once(payers: Payers, connection: asyncpg.Connection) -> None:
    await waiting(payers)
    command = (sys.executable, "-m", "services", *asking(), "--amount", "50.00", "--reason", "x", "--json")
    both = [await asyncio.create_subprocess_exec(*command, env=os.environ, stdout=asyncio.subprocess.PIPE) for _ in range(2)]
    first, second = [(await one.communicate())[0] for one in both]
    assert first == second != b""
    assert await connection.fetchval("select count(*) from account.repayment") == 1
    assert await balance(connection, "payable:H1") == 0


async def test_random_months_equal_a_naive_book(payers: Payers, connection: asyncpg.Connection) -> None:
    """What an institution is owed and what waits of it, in one figure; whoever is below zero pays back, or does not."""
    random_ = random.Random(11)
    owed: dict[str, int] = {}
    standing: list[Case] = []
    got = repaid_in_all = 0
    for number in range(90):
        month = 2 + number // 15
        if standing and random_.random() < 0.45:
            case = standing.pop(random_.randrange(len(standing)))
            await payers.reverse(case)
            owed[case.institution] -= case.pooled
        else:
            case = MAY._replace(number=f"C{number}", institution=f"H{random_.randrange(3)}", pooled=random_.randrange(1, 9_000))
            case = case._replace(day=date(2023, month, random_.randrange(1, 28)))
            await payers.settle(case)
            standing.append(case)
            owed[case.institution] = owed.get(case.institution, 0) + case.pooled
        if number % 15 == 14:
            paid = await pay(f"2023-{month:02}", BAZHONG)
            for name, line in paid.items():
                assert (fen(line[2]), signed(line[5])) == (max(owed[name], 0), min(owed[name], 0))
                got += max(owed[name], 0)
                if owed[name] >= 0:
                    owed[name] = 0
                elif random_.random() < 0.6:
                    amount = yuan(-owed[name])
                    await gongji(*asking(name, f"2023-{month:02}"), "--amount", amount, "--reason", "x")
                    repaid_in_all -= owed[name]
                    owed[name] = 0
    assert repaid_in_all
    assert await balance(connection, "bank:511900") == got - repaid_in_all
    assert {name: await balance(connection, f"payable:{name}") for name in owed} == owed
