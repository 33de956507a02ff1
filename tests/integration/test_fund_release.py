"""`gongji fund release` on real books: a year's retention once, and no cost of the year stranded by it."""

from datetime import date

import asyncpg
import pytest
from payment_books import ZHANJIANG, Case, Payers, balance, gongji, pay

from shared.errors import Stop
from shared.money import fen

pytestmark = pytest.mark.servers
RELEASE = ("fund", "release", "--region", ZHANJIANG, "--year", "2023", "--reason", "考核", "--result", "100")


async def test_the_years_retention_is_released_once_by_its_result(payers: Payers, connection: asyncpg.Connection) -> None:
    await payers.settle(Case("C1", "H1", 6_000), Case("C2", "H2", 4_000), Case("C3", "H1", 2_000, date(2023, 6, 1)))
    await pay()
    await pay("2023-06")
    asked = (*RELEASE, "--result", "H2=50")
    made = await gongji(*asked)
    assert [[one[name] for name in ("institution_id", "retained", "released", "forfeited")] for one in made] == [
        ["H1", "4.20", "4.20", "0.00"],
        ["H2", "2.10", "1.05", "1.05"],
    ]
    assert await gongji(*asked) == made
    assert [await balance(connection, f"retention:440800:{name}") for name in ("H1", "H2")] == [0, 0]
    assert await balance(connection, "bank:440800") == 5_985 + 3_990 + 1_995 + 420 + 105
    with pytest.raises(Stop, match="other results for H2"):
        await gongji(*asked[:-1], "H2=60")
    with pytest.raises(Stop, match="2023 is released"):
        await pay("2023-07")
    commands = await connection.fetch("select command, reason, after->>'released' from runtime.command_log order by id")
    assert [tuple(row) for row in commands] == [
        ("fund pay", "月结", None),
        ("fund pay", "月结", None),
        ("fund release", "考核", "525"),
    ]


async def test_a_year_is_not_released_while_a_month_of_it_is_to_be_paid(payers: Payers, connection: asyncpg.Connection) -> None:
    september = Case("C2", "H1", 4_000, date(2023, 9, 1))
    foreign = Case("C3", "H2", 1_000, date(2023, 11, 30), insured="130900")  # passed on, and owed all the same
    await payers.settle(Case("C1", "H1", 6_000), september, foreign)
    await pay()
    with pytest.raises(Stop, match="cost of 2023-09, 2023-11 is not paid: pay these first"):
        await gongji(*RELEASE)
    assert await connection.fetchval("select count(*) from account.retention_release") == 0
    await pay("2023-09")
    await pay("2023-11")
    await payers.settle(september._replace(number="C5"))  # late, for a month that is paid: the next takes it
    [made] = await gongji(*RELEASE)
    assert made["retained"] == "5.25"
    await payers.settle(september._replace(number="C6", day=date(2023, 10, 1)))
    assert await gongji(*RELEASE) == [made], "what was released is said again, whatever came late"


async def test_months_before_the_first_policy_hold_up_no_release(payers: Payers) -> None:
    """Nobody can pay them: Zhanjiang's first is November 2022."""
    winter = Case("C1", "H1", 6_000, date(2022, 12, 1))
    await payers.settle(winter, winter._replace(number="C2", day=date(2022, 9, 1), insured="653100"))
    await pay("2022-12")
    [made] = await gongji(*RELEASE[:5], "2022", *RELEASE[6:])
    assert made["retained"] == "3.15"


async def test_what_comes_late_for_a_month_of_a_released_year_goes_into_a_later_one(
    payers: Payers, connection: asyncpg.Connection
) -> None:
    """September had no cost when its year was released, and cannot be paid by itself any more."""
    september = Case("C2", "H1", 4_000, date(2023, 9, 1))
    await payers.credit("M1", 3_000)
    await payers.settle(Case("C1", "H1", 6_000))
    await pay()
    await gongji(*RELEASE)
    await payers.settle(september._replace(use_account=True), september._replace(number="C3", pooled=500))
    with pytest.raises(Stop, match="2023 is released: what 2023-09 still costs is paid with a later month"):
        await pay("2023-09")
    await payers.reverse(september._replace(number="C3", pooled=500))
    assert await pay("2022-12") == {}, "not with an earlier one"
    january = {"H1": ["40.00", "42.00", "39.90", "2.10", "30.00", "0.00"]}
    assert await pay("2024-01") == january
    assert await pay("2024-01") == january
    assert await pay("2024-02") == {}
    assert await balance(connection, "payable:H1") == 0
    [year] = await gongji("fund", "status", "--region", ZHANJIANG, "--year", "2023")
    assert sum(fen(month["incurred"]) for month in year["months"]) == 6_000, "what 2024 paid is not 2023's besides"
