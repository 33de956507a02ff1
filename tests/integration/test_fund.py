"""`gongji fund` on real books: article 24 for Zhanjiang, by item elsewhere; once, and whole or not at all."""

import json
from datetime import date
from itertools import pairwise
from pathlib import Path

import asyncpg
import pytest
from payment_books import BAZHONG, CONTRIBUTIONS, SHIYAN, ZHANJIANG, Case, Payers, balance, gongji, parameters, pay, rows, signed

from shared.errors import Stop, UsageError
from shared.money import fen

pytestmark = pytest.mark.servers


async def test_a_month_below_its_money_is_paid_105_percent_and_a_twentieth_of_it_is_kept(
    payers: Payers, connection: asyncpg.Connection
) -> None:
    await payers.settle(Case("C1", "H1", 6_000), Case("C2", "H1", 2_000), Case("C3", "H2", 4_000))
    assert await pay() == {
        "H1": ["80.00", "84.00", "79.80", "4.20", "0.00", "0.00"],
        "H2": ["40.00", "42.00", "39.90", "2.10", "0.00", "0.00"],
    }
    assert [await balance(connection, name) for name in ("payable:H1", "bank:440800", "retention:440800:H1")] == [0, 11_970, 420]
    assert await balance(connection, "adjustment:440800") == 600


async def test_a_month_above_its_money_is_shared_out_pro_rata(
    payers: Payers, connection: asyncpg.Connection, tmp_path: Path
) -> None:
    (tmp_path / "figures.yaml").write_text(parameters(1_000))  # 76.00, 72.20, 6.01 or 6.02 a month
    await payers.settle(Case("C1", "H1", 6_000), Case("C2", "H2", 3_000))
    assert await pay() == {
        "H1": ["60.00", "4.01", "3.81", "0.20", "0.00", "0.00"],
        "H2": ["30.00", "2.01", "1.91", "0.10", "0.00", "0.00"],
    }
    assert await balance(connection, "payable:H1") == 0
    assert await balance(connection, "adjustment:440800") == -(9_000 - 602)


async def test_care_elsewhere_and_emergencies_come_off_the_budget_and_out_of_the_months_cost(
    payers: Payers, connection: asyncpg.Connection
) -> None:
    await payers.settle(
        Case("C1", "H1", 6_000),
        Case("C2", "H9", 5_000, care="511900"),  # remote: Bazhong pays its own hospital
        Case("C3", "H2", 1_000, designated=False),  # an emergency at a hospital that is not designated
        Case("C4", "H1", 2_000, benefit="chronic:M03900"),  # outside the budget
        Case("C5", "H1", 3_000, insured="130900"),  # a member from Cangzhou
    )
    assert await pay() == {
        "H1": ["60.00", "63.00", "59.85", "3.15", "50.00", "0.00"],
        "H2": ["0.00", "0.00", "0.00", "0.00", "10.00", "0.00"],
    }
    grounds = json.loads(await connection.fetchval("select grounds::text from account.payment_run"))
    assert (grounds["year_elsewhere"], grounds["elsewhere_estimated"]) == (6_000, False)
    assert grounds["year_allocatable"] == 7_220_000 - 6_000
    assert await pay("2023-05", BAZHONG) == {"H9": ["0.00", "0.00", "0.00", "0.00", "50.00", "0.00"]}
    assert [await balance(connection, f"payable:{name}") for name in ("H1", "H2", "H9")] == [0, 0, 0]


async def test_what_the_person_gets_back_by_hand_is_elsewhere_only_where_the_care_was(
    payers: Payers, connection: asyncpg.Connection
) -> None:
    """Zhanjiang's Q48: local care by hand is neither the month's cost nor taken off what the hospitals share."""
    by_hand = Case("C2", "H1", 2_000, channel="manual")
    await payers.settle(
        Case("C1", "H1", 6_000),
        by_hand,
        by_hand._replace(number="C3", institution="H9", pooled=1_000, care=BAZHONG),
        by_hand._replace(number="C4", institution="H2", pooled=500, designated=False),
    )
    assert await pay() == {"H1": ["60.00", "63.00", "59.85", "3.15", "0.00", "0.00"]}
    assert await connection.fetchval("select grounds->>'year_elsewhere' from account.payment_run") == "1500"


async def test_accounts_money_is_passed_on_whole(payers: Payers, connection: asyncpg.Connection) -> None:
    await payers.credit("M1", 10_000)
    await payers.settle(Case("C1", "H1", 6_000, use_account=True))
    await payers.purchase("U1", "P1", 2_500, date(2023, 5, 31))
    assert await pay() == {
        "H1": ["60.00", "63.00", "59.85", "3.15", "40.00", "0.00"],
        "P1": ["0.00", "0.00", "0.00", "0.00", "25.00", "0.00"],
    }
    assert await balance(connection, "payable:P1") == 0


async def test_elsewhere_what_was_incurred_is_paid_by_item(payers: Payers, connection: asyncpg.Connection) -> None:
    home = Case("C1", "H1", 6_001, insured=BAZHONG, care=BAZHONG)
    await payers.settle(home, home._replace(number="C2", institution="H2", pooled=2_000, designated=False))
    assert await pay("2023-05", BAZHONG) == {
        "H1": ["60.01", "60.01", "60.01", "0.00", "0.00", "0.00"],
        "H2": ["20.00", "20.00", "20.00", "0.00", "0.00", "0.00"],
    }
    assert await balance(connection, "bank:511900") == 8_001


async def test_what_comes_late_for_a_paid_month_goes_into_the_next(payers: Payers, connection: asyncpg.Connection) -> None:
    june = date(2023, 6, 2)
    first = Case("C1", "H1", 6_000)
    await payers.settle(first, Case("C2", "H2", 4_000), Case("C9", "H2", 1_000, june))
    await payers.reverse(Case("C2", "H2", 4_000))  # before the month is paid: as if it had never been
    may = await pay()
    assert may == {"H1": ["60.00", "63.00", "59.85", "3.15", "0.00", "0.00"], "H2": ["0.00"] * 6}
    await payers.settle(Case("C3", "H1", 9_000), Case("C4", "H1", 1_000, june))
    await payers.reverse(first)
    assert await pay() == may, "the month is paid: the same answer again"
    assert await pay("2023-06") == {
        "H1": ["40.00", "42.00", "39.90", "2.10", "0.00", "0.00"],  # 90 late, 10 of June, 60 taken back
        "H2": ["10.00", "10.50", "9.98", "0.52", "0.00", "0.00"],
    }
    assert await balance(connection, "payable:H1") == 0


async def test_what_comes_late_after_the_policys_last_month_is_paid_by_item_still(payers: Payers) -> None:
    """Shiyan's is of one year: a claim of its December that arrives when December is paid would be owed for ever."""
    december = Case("C1", "H1", 6_000, date(2023, 12, 28), insured=SHIYAN, care=SHIYAN)
    await payers.settle(december)
    assert (await pay("2023-12", SHIYAN))["H1"][2] == "60.00"
    await payers.settle(december._replace(number="C2", pooled=4_000))
    assert (await pay("2024-01", SHIYAN))["H1"][2] == "40.00"
    with pytest.raises(Stop, match="no policy of region 420300"):  # nor before there was one
        await pay("2022-11", SHIYAN)


async def test_what_comes_late_when_zhanjiangs_last_budget_is_over_is_paid_by_item_once(
    payers: Payers, connection: asyncpg.Connection, tmp_path: Path
) -> None:
    """Its text ends with October 2025: what was paid by the budget is not paid again because the rule is another one now."""
    october = Case("C1", "H1", 6_000, date(2025, 10, 20))
    await payers.credit("M1", 3_000)
    await payers.settle(october, october._replace(number="C2", benefit="chronic:M03900", pooled=2_000))
    assert await pay("2025-10") == {"H1": ["60.00", "63.00", "59.85", "3.15", "20.00", "0.00"]}
    (tmp_path / "figures.yaml").write_text("{}")  # nobody collects by this text any more
    late = october._replace(number="C3", pooled=4_000, use_account=True)
    await payers.settle(late, october._replace(number="C4", benefit="chronic:M03900", pooled=1_000))
    [shown] = await gongji("fund", "pay", "--region", ZHANJIANG, "--month", "2025-11", "--dry-run")
    assert (shown["due"], shown["paid"]) == ("40.00", "40.00")
    assert await pay("2025-11") == {"H1": ["40.00", "40.00", "40.00", "0.00", "40.00", "0.00"]}  # 30 of the account, 10 chronic
    assert await balance(connection, "payable:H1") == 0
    [run] = await connection.fetch("select rule, grounds::text from account.payment_run where month = '2025-11'")
    assert (run["rule"], json.loads(run["grounds"])["rule"]) == ("by_item", "by_item")
    await payers.reverse(late)
    assert (await pay("2025-12"))["H1"][5] == "-70.00"  # carried: nothing to take it from
    [year] = await gongji("fund", "status", "--region", ZHANJIANG, "--year", "2026")
    assert (year["rule"], year["budget"]) == ("by_item", None)


async def test_a_month_that_was_not_paid_keeps_its_own_cost(payers: Payers) -> None:
    await payers.settle(Case("C1", "H1", 6_000, date(2023, 4, 30)), Case("C2", "H1", 1_000))
    assert (await pay("2023-05"))["H1"][0] == "10.00"
    assert (await pay("2023-04"))["H1"][0] == "60.00"


async def test_reversals_above_the_months_claims_wait_for_a_month_that_can_bear_them(
    payers: Payers, connection: asyncpg.Connection
) -> None:
    first = Case("C1", "H1", 6_000)
    await payers.settle(first)
    await pay()
    await payers.reverse(first)
    await payers.settle(Case("C2", "H1", 1_000, date(2023, 6, 1)), Case("C3", "H2", 1_000, date(2023, 6, 1)))
    june = await pay("2023-06")
    assert june["H1"] == ["0.00", "0.00", "0.00", "0.00", "0.00", "-50.00"]
    assert june["H2"][:2] == ["10.00", "10.50"]
    await payers.settle(Case("C4", "H1", 8_000, date(2023, 7, 1)))
    assert (await pay("2023-07"))["H1"] == ["30.00", "31.50", "29.93", "1.57", "0.00", "0.00"]
    assert await balance(connection, "payable:H1") == 0


async def test_a_dry_run_books_nothing_and_says_what_the_run_will_say(payers: Payers, connection: asyncpg.Connection) -> None:
    await payers.settle(Case("C1", "H1", 6_000))
    before = await rows(connection)
    tried = await gongji("fund", "pay", "--region", ZHANJIANG, "--month", "2023-05", "--dry-run")
    assert await rows(connection) == before
    assert await pay() == {line["institution_id"]: list(line.values())[3:9] for line in tried}


REFUSED: list[tuple[list[str], type[Exception], str]] = [
    (["pay", "--region", ZHANJIANG, "--month", "2999-01", "--reason", "x"], Stop, "2999-01 is not over"),
    (["pay", "--region", BAZHONG, "--month", "{current}", "--reason", "x"], Stop, "is not over"),
    (["pay", "--region", ZHANJIANG, "--month", "2022-10", "--reason", "x"], Stop, "no policy"),
    (["pay", "--region", "999999", "--month", "2023-05", "--reason", "x"], Stop, "no policy pack for region 999999"),
    (["pay", "--region", ZHANJIANG, "--month", "2023-13", "--reason", "x"], UsageError, "2023-13"),
    (["pay", "--region", ZHANJIANG, "--month", "2023-05"], UsageError, "--reason"),
    (["release", "--region", ZHANJIANG, "--year", "2023", "--result", "100"], UsageError, "--reason"),
    (["release", "--region", ZHANJIANG, "--year", "2023", "--result", "101", "--reason", "x"], UsageError, "101"),
    (["release", "--region", ZHANJIANG, "--year", "2023", "--result", "nan", "--reason", "x"], UsageError, "nan"),
    (["release", "--region", ZHANJIANG, "--year", "2023", "--result", "H1=90", "--reason", "x"], Stop, "missing for H2"),
    (
        ["release", "--region", ZHANJIANG, "--year", "2023", "--result", "H7=90", "--reason", "x"],
        Stop,
        "nothing of 2023 is kept of H7",
    ),
    (["release", "--region", "110000", "--year", "2023", "--result", "90", "--reason", "x"], Stop, "there are 130900, 420300"),
    (["release", "--region", ZHANJIANG, "--year", "2998", "--result", "90", "--reason", "x"], Stop, "2998 is not over"),
]


async def test_what_makes_no_sense_is_refused_and_nothing_is_booked(
    payers: Payers, connection: asyncpg.Connection, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    await payers.settle(Case("C1", "H1", 6_000), Case("C2", "H2", 6_000), Case("C3", "H1", 6_000, date(2023, 6, 1)))
    await pay()
    before = await rows(connection)
    current = await connection.fetchval("select to_char(now() at time zone 'Asia/Shanghai', 'YYYY-MM')")
    for arguments, error, words in REFUSED:
        with pytest.raises(error, match=words):
            await gongji("fund", *(argument.replace("{current}", current) for argument in arguments))
    (tmp_path / "figures.yaml").write_text(parameters(CONTRIBUTIONS + 1))
    with pytest.raises(Stop, match=r"paid by other figures.*contributions: 100000000 then, 100000100 now"):
        await pay()
    monkeypatch.delenv("GONGJI_PARAMETERS")
    with pytest.raises(Stop, match="needs the parameter contributions_year_before_last"):
        await pay("2023-06")
    assert await rows(connection) == before


async def test_status_burns_down_the_budget_month_by_month_and_looks_ahead(payers: Payers) -> None:
    await payers.settle(Case("C1", "H1", 6_000), Case("C2", "H1", 4_000, date(2023, 6, 1)))
    await pay()
    [status] = await gongji("fund", "status", "--region", ZHANJIANG, "--year", "2023")
    assert status["budget"]["allocatable"] == "72200.00"
    months = {one["month"]: one for one in status["months"]}
    assert len(months) == 12
    assert [months["2023-05"][name] for name in ("state", "incurred", "due", "paid", "retained", "left")] == [
        *("paid", "60.00", "63.00", "59.85", "3.15", "72137.00"),
    ]
    assert [months["2023-06"][name] for name in ("state", "incurred", "left")] == ["open", "40.00", "72097.00"]
    assert status["forecast"] == {"cost": "100.00", "left": "72100.00", "exhausted_in": None}
    [by_item] = await gongji("fund", "status", "--region", BAZHONG, "--year", "2023")
    assert (by_item["budget"], by_item["forecast"]) == (None, None)


async def test_status_shows_a_paid_month_by_the_figures_it_was_paid_by(payers: Payers) -> None:
    """What was booked elsewhere grows after the year: the months still to be paid have less, those that are paid do not."""
    await payers.settle(Case("C1", "H1", 6_000))
    await pay()
    await payers.settle(Case("C2", "H9", 6_000, care=BAZHONG))
    [status] = await gongji("fund", "status", "--region", ZHANJIANG, "--year", "2023")
    months = {one["month"]: one["allocatable"] for one in status["months"]}
    assert status["budget"]["allocatable"] == "72140.00"
    assert (months["2023-05"], months["2023-06"]) == ("6016.67", "6011.67")
    await pay("2025-11")
    [status] = await gongji("fund", "status", "--region", ZHANJIANG, "--year", "2025")
    assert [status["months"][10][name] for name in ("month", "state", "allocatable")] == ["2025-11", "paid", None]  # by item


async def test_statements_and_overview_reconcile_with_the_postings(payers: Payers, connection: asyncpg.Connection) -> None:
    await payers.credit("M1", 30_000)
    cases = [Case(f"C{n}", f"H{n % 3}", 1_000 * (n % 5 + 1), date(2023, 4 + n % 3, 3), use_account=n % 2 == 0) for n in range(15)]
    await payers.settle(*cases)
    await pay("2023-04")
    for case in cases[::4]:
        await payers.reverse(case)
    await pay("2023-05")
    names = {
        row[0] for row in await connection.fetch("select debit from account.posting union select credit from account.posting")
    }
    total = 0
    for name in names:
        [told] = await gongji("ledger", "statement", name)
        entries = [signed(entry["amount"]) for entry in told["entries"]]
        assert signed(told["opening"]) + sum(entries) == signed(told["closing"])
        debited, credited = await sides(connection, name)
        grown = debited - credited if told["grows"] == "debit" else credited - debited
        assert signed(told["closing"]) == grown, name
        assert all(entry["reason"]["zh"] and entry["reason"]["en"] for entry in told["entries"])
        total += debited - credited
    assert total == 0
    shown = {one["account"]: one for one in await gongji("fund", "show", "--region", ZHANJIANG)}
    assert {name for name in names if ":440800" in name} == set(shown)
    for name, one in shown.items():
        assert (fen(one["debits"]), fen(one["credits"])) == await sides(connection, name)
    [later] = await gongji("ledger", "statement", "bank:440800", "--from", "2999-01-01")
    assert (later["opening"], later["entries"]) == (shown["bank:440800"]["closing"], [])
    for account, why in (("cash", "is no account"), ("payable:H99", "nothing was ever booked"), ("personal:M9", "nobody knows")):
        with pytest.raises(Stop, match=why):
            await gongji("ledger", "statement", account)
    with pytest.raises(Stop, match="nothing was ever booked of region 999999"):
        await gongji("fund", "show", "--region", "999999")


async def test_statements_of_following_spans_of_days_join_up(payers: Payers, connection: asyncpg.Connection) -> None:
    """Booked on four days by Shanghai's clock: what one statement closes with, the next one opens with."""
    await payers.credit("M1", 30_000)
    await payers.settle(*[Case(f"C{n}", f"H{n % 2}", 1_000 * (n + 1), use_account=n % 2 == 0) for n in range(8)])
    await connection.execute("alter table account.journal disable trigger user")  # as if days had gone by
    await connection.execute(
        "update account.journal set booked_at = timestamptz '2023-05-01 23:59:59+08' + (journal_id % 4) * interval '1 day'"
    )
    await connection.execute("alter table account.journal enable trigger user")
    spans = [("--to", "2023-05-01"), ("--from", "2023-05-02", "--to", "2023-05-03"), ("--from", "2023-05-04")]
    for name in ("personal:M1", "payable:H0", "payable:H1", f"fund:{ZHANJIANG}:pooled"):
        [whole] = await gongji("ledger", "statement", name)
        parts = [(await gongji("ledger", "statement", name, *span))[0] for span in spans]
        assert [one["opening"] for one in parts] == [whole["opening"], *(one["closing"] for one in parts[:-1])]
        assert parts[-1]["closing"] == whole["closing"]
        for one, days in zip(parts, (_DAY_1, _DAYS_2, _DAY_4), strict=True):
            listed = {(entry["journal_id"], entry["line"]) for entry in whole["entries"] if entry["day"] in days}
            assert {(entry["journal_id"], entry["line"]) for entry in one["entries"]} == listed
    funds = [await gongji("fund", "show", "--region", ZHANJIANG, *span) for span in spans]
    ends = [{one["account"]: (one["opening"], one["closing"]) for one in some} for some in funds]
    for before, after in pairwise(ends):
        assert {name: closing for name, (_, closing) in before.items()}.items() <= {
            name: opening for name, (opening, _) in after.items()
        }.items()


_DAY_1, _DAYS_2, _DAY_4 = {"2023-05-01"}, {"2023-05-02", "2023-05-03"}, {"2023-05-04"}


async def sides(connection: asyncpg.Connection, account: str) -> tuple[int, int]:
    row = await connection.fetchrow(
        "select coalesce(sum(amount) filter (where debit = $1), 0)::bigint,"
        " coalesce(sum(amount) filter (where credit = $1), 0)::bigint from account.posting",
        account,
    )
    assert row is not None
    return row[0], row[1]
