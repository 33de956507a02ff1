"""`gongji account` on real servers with the real services: credits, differences, closing, statements, and what is refused."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest
from account_command import AVERAGES, BAZHONG, CANGZHOU, KASHGAR, PLANTS, REGISTER, booked, credit, gongji, member, said
from deployment import Deployment, deployment
from servers import LocalServers

from services.ops.audit.check import Query


@pytest.fixture(scope="module")
def running(private_servers: LocalServers) -> Iterator[Deployment]:
    with deployment(private_servers) as made:
        made.start()
        made.register(REGISTER)
        yield made


@pytest.fixture
def parameters(tmp_path: Path) -> Any:
    def write(figures: dict[str, dict[str, str]]) -> str:
        rows = {
            region: {name: [{"from": "2020-01-01", "value": v}] for name, v in given.items()} for region, given in figures.items()
        }
        file = tmp_path / f"{len(list(tmp_path.iterdir()))}.yaml"
        file.write_text(json.dumps(rows))
        return str(file)

    return write


def test_a_month_is_credited_by_the_formulas_once_and_written_down(running: Deployment, parameters: Any) -> None:
    averages = parameters(AVERAGES)
    listed = said(
        gongji(running, "credit", "--region", CANGZHOU, "--month", "2023-05", "--dry-run", "--json", parameters=averages)
    )
    assert {(line["member_id"], line["amount"]) for line in listed} == {
        ("C1", "124.00"), ("C2", "60.00"), ("C3", "100.00"), ("C6", "124.00"), ("C7", "124.00"),
    }  # fmt: skip
    assert booked(running, "2023-05") == {}
    first = credit(running, CANGZHOU, "2023-05", averages)
    assert (first["accounts"], first["amount"]) == (5, "532.00")
    assert first["left_out"] == {"no_account": 1, "not_in_benefit_period": 1}
    assert booked(running, "2023-05") == {"C1": 12_400, "C2": 6_000, "C3": 10_000, "C6": 12_400, "C7": 12_400}
    again = credit(running, CANGZHOU, "2023-05", averages)
    assert (again["run"], again["accounts"]) == (first["run"], 0)
    log = running.rows("select who, command, reason, after->'run' from runtime.command_log where command = 'account credit'")
    assert [row[1:] for row in log[-2:]] == [("account credit", "monthly", first["run"])] * 2
    assert all(row[0] for row in log)


@pytest.mark.parametrize(
    ("arguments", "figures", "said"),
    [
        (("--month", "2023-06"), {}, (1, "average_pension_2021.enterprise and average_pension_2021.government")),
        (
            ("--month", "2023-06"),
            {CANGZHOU: {"average_pension_2021.government": "1.00"}},
            (1, "average_pension_2021.enterprise is"),
        ),
        (("--month", "2999-01"), AVERAGES, (1, "has not begun")),
        (("--month", "2021-12"), AVERAGES, (1, "no policy of 130900 is in force")),
        (("--month", "2023-13"), AVERAGES, (2, "not a month")),
        (("--month", "2023-6"), AVERAGES, (2, "not a month")),
        (("--month", "2023-06", "--region", "110000"), AVERAGES, (1, "not served")),
        (("--month", "2023-06", "--reason", " "), AVERAGES, (2, "--reason")),
    ],
)
def test_what_cannot_be_credited_is_said_and_nothing_is_booked(
    running: Deployment, parameters: Any, arguments: tuple[str, ...], figures: Any, said: tuple[int, str]
) -> None:
    before = running.rows("select count(*) from account.crediting")
    file = parameters(figures) if figures else ""
    done = gongji(running, "credit", "--region", CANGZHOU, "--reason", "x", *arguments, parameters=file)
    assert (done.returncode, said[1] in done.stderr) == (said[0], True), done.stderr
    assert running.rows("select count(*) from account.crediting") == before


def test_a_month_is_not_credited_by_other_figures(running: Deployment, parameters: Any) -> None:
    credit(running, CANGZHOU, "2023-07", parameters(AVERAGES))
    other = parameters({CANGZHOU: AVERAGES[CANGZHOU] | {"average_pension_2021.enterprise": "3100.00"}})
    done = gongji(running, "credit", "--region", CANGZHOU, "--month", "2023-07", "--reason", "x", parameters=other)
    assert done.returncode == 1
    assert "2 % of 3000.00 (130900:4) then, 2 % of 3100.00 (130900:4) now" in done.stderr
    assert booked(running, "2023-07")["C2"] == 6_000


def test_interest_comes_with_a_months_credit_by_one_rate(running: Deployment, parameters: Any) -> None:
    rate = parameters({BAZHONG: {"account_interest_rate": "1.2"}})
    assert credit(running, BAZHONG, "2023-01")["amount"] == "124.00"  # no rate is given, and nothing to bear interest
    assert credit(running, BAZHONG, "2023-02", rate)["amount"] == "124.00"
    [account] = said(gongji(running, "show", "B1", "--json"))
    assert [(entry["kind"], entry["month"], entry["amount"], entry.get("article")) for entry in account["entries"]] == [
        ("monthly", "2023-01", "124.00", "511900:5"), ("monthly", "2023-02", "124.00", "511900:5"),
        ("interest", "2023-02", "0.12", None),
    ]  # fmt: skip
    figures = running.rows("select figures from account.credit_run where region = %s order by run_id", BAZHONG)
    for month, given, why in (
        ("2023-01", rate, "interest: 0 % a year then, 1.2 % a year now"),
        ("2023-02", "", "interest: 1.2 % a year then, 0 % a year now"),
    ):
        done = gongji(running, "credit", "--region", BAZHONG, "--month", month, "--reason", "x", parameters=given)
        assert (done.returncode, why in done.stderr) == (1, True), done.stderr
    assert booked(running, "2023-01", BAZHONG) == {"B1": 12_400}
    assert running.rows("select figures from account.credit_run where region = %s order by run_id", BAZHONG) == figures


def test_what_a_true_up_books_bears_the_interest_of_the_months_since(running: Deployment, parameters: Any) -> None:
    rate = parameters({BAZHONG: {"account_interest_rate": "1.2"}})
    running.register([member("B2", BAZHONG, contribution_base="100000.00")])
    for month in ("2023-03", "2023-04", "2023-05"):
        credit(running, BAZHONG, month, rate)
    running.register([member("B2", BAZHONG, contribution_base="150000.00")])
    span = ("trueup", "--region", BAZHONG, "--from", "2023-03", "--to", "2023-04", "--json")
    listed = [line for line in said(gongji(running, *span, "--dry-run", parameters=rate)) if line["member_id"] == "B2"]
    assert [(line["month"], line["difference"], line["interest"]) for line in listed] == [
        ("2023-03", "1000.00", "2.00"), ("2023-04", "1000.00", "1.00"),
    ]  # fmt: skip
    for _ in range(2):  # the second finds no difference, and no interest
        said(gongji(running, *span, "--reason", "the base was too low", parameters=rate))
    [account] = said(gongji(running, "show", "B2", "--json"))
    assert [(e["kind"], e["month"], e["amount"]) for e in account["entries"]][-4:] == [
        ("true_up", "2023-03", "1000.00"), ("interest", "2023-03", "2.00"),
        ("true_up", "2023-04", "1000.00"), ("interest", "2023-04", "1.00"),
    ]  # fmt: skip


def test_kashgars_provisional_credit_is_trued_up_back_to_the_first_month(running: Deployment, parameters: Any) -> None:
    none_yet = gongji(running, "trueup", "--region", KASHGAR, "--reason", "x")
    assert (none_yet.returncode, "no month of 653100 was credited" in none_yet.stderr) == (1, True)
    for month in ("2022-08", "2022-09", "2022-10"):
        assert credit(running, KASHGAR, month)["amount"] == "160.00"
    published = parameters({KASHGAR: {"average_pension_2022": "4321.99"}})
    refused = gongji(running, "credit", "--region", KASHGAR, "--month", "2022-08", "--reason", "x", parameters=published)
    assert (refused.returncode, "80.00 provisionally" in refused.stderr) == (1, True)
    command = ("trueup", "--region", KASHGAR, "--json")
    assert said(gongji(running, *command, "--reason", "not published yet"))[0]["accounts"] == 0
    listed = said(gongji(running, *command, "--dry-run", parameters=published))
    assert [(line["member_id"], line["month"]) for line in listed] == [
        (name, month) for month in ("2022-08", "2022-09", "2022-10") for name in ("K1", "K2")
    ]
    assert {(line["booked"], line["due"], line["difference"], line["article"]) for line in listed} == {
        ("80.00", "86.44", "6.44", "653100:5")
    }
    [done] = said(gongji(running, *command, "--reason", "published", parameters=published))
    assert (done["accounts"], done["amount"]) == (6, "38.64")
    assert said(gongji(running, *command, "--reason", "published", parameters=published))[0]["accounts"] == 0
    forgotten = [gongji(running, *command, more) for more in ("--dry-run", "--reason=with an old file of parameters")]
    assert ["average_pension_2022 credited the month, and is not supplied now" in one.stderr for one in forgotten] == [True] * 2
    [account] = said(gongji(running, "show", "K1", "--json"))
    assert [(e["kind"], e["month"], e["amount"]) for e in account["entries"]] == [
        ("monthly", "2022-08", "80.00"), ("monthly", "2022-09", "80.00"), ("monthly", "2022-10", "80.00"),
        ("true_up", "2022-08", "6.44"), ("true_up", "2022-09", "6.44"), ("true_up", "2022-10", "6.44"),
    ]  # fmt: skip
    assert account["closing"] == account["entries"][-1]["balance"] == "259.32"


def test_kashgars_civil_servants_are_credited_by_the_operators_table_once_it_is_there(
    running: Deployment, parameters: Any
) -> None:
    running.register([member("K9", KASHGAR, valid_from="2022-11-01", supplements=["civil_servant"])])
    rate = {"individual_contribution_rate": "2"}
    first = credit(running, KASHGAR, "2022-11", parameters({KASHGAR: rate}))
    assert first["left_out"] == {"no_figure: civil_servant_credit.amount or civil_servant_credit.rate (653100:28)": 1}
    table = parameters({KASHGAR: rate | {"civil_servant_credit.amount": "50.00"}})
    again = credit(running, KASHGAR, "2022-11", table)
    assert (again["accounts"], again["amount"], again["left_out"]) == (1, "50.00", {})
    assert credit(running, KASHGAR, "2022-11", table)["accounts"] == 0
    more = parameters({KASHGAR: rate | {"civil_servant_credit.amount": "60.00"}})
    refused = gongji(running, "credit", "--region", KASHGAR, "--month", "2022-11", "--reason", "x", parameters=more)
    assert (refused.returncode, "50.00 (653100:28) then, 60.00 (653100:28) now" in refused.stderr) == (1, True)
    span = ("trueup", "--region", KASHGAR, "--from", "2022-11", "--to", "2022-11", "--reason", "the table changed", "--json")
    [done] = said(gongji(running, *span, parameters=more))
    assert (done["accounts"], done["amount"]) == (1, "10.00")
    [kept] = said(gongji(running, *span, parameters=parameters({KASHGAR: rate})))  # a table that is gone takes nothing back
    assert kept["accounts"] == 0
    [account] = said(gongji(running, "show", "K9", "--json"))
    assert [(e["kind"], e.get("supplement"), e["amount"], e["article"]) for e in account["entries"]] == [
        ("monthly", None, "124.00", "653100:2"), ("monthly", "civil_servant", "50.00", "653100:28"),
        ("true_up", "civil_servant", "10.00", "653100:28"),
    ]  # fmt: skip
    assert account["entries"][1]["other"] == "fund:653100:civil_servant_credits"


def test_a_base_that_was_corrected_is_trued_up_and_what_was_spent_is_on_the_work_list(
    running: Deployment, parameters: Any
) -> None:
    averages = parameters(AVERAGES)
    credit(running, CANGZHOU, "2023-08", averages)
    held = int(running.rows("select balance from account.balance where member_id = 'C6'")[0][0])
    use = {"type": "account_use", "use_no": "U6", "institution_id": "H1", "member_id": "C6", "purpose": "own_share",
           "amount": f"{held / 100:.2f}", "used_at": "2023-08-20T09:00:00+08:00"}  # fmt: skip
    running.send([use])
    running.drain()
    running.register([member("C6", CANGZHOU, contribution_base="6000.00")])
    span = ("trueup", "--region", CANGZHOU, "--from", "2023-08", "--to", "2023-08", "--json")
    [line] = said(gongji(running, *span, "--dry-run", parameters=averages))
    assert (line["member_id"], line["booked"], line["due"], line["difference"]) == ("C6", "124.00", "120.00", "-4.00")
    [done] = said(gongji(running, *span, "--reason", "the base was wrong", parameters=averages))
    assert done["taken_back"] == "4.00"
    listed = [row for row in said(gongji(running, "worklist", "--region", CANGZHOU, "--json")) if row["kind"] == "overcredited"]
    assert [(row["member_id"], row["amount"]) for row in listed] == [("C6", "4.00")]


def test_an_account_is_closed_as_the_article_lets_and_a_late_reversal_goes_to_the_work_list(
    running: Deployment, parameters: Any
) -> None:
    credit(running, CANGZHOU, "2023-09", parameters(AVERAGES))
    bill = {
        "type": "claim", "claim_no": "B7", "institution_id": "H1", "member_id": "C7", "benefit": "ordinary", "channel": "direct",
        "emergency": False, "visited_at": "2023-09-10T09:00:00+08:00", "submitted_at": "2023-09-10T09:30:00+08:00",
        "total": "90.00", "own_paid": "0.00", "over_limit": "0.00", "pre_self_pay": "0.00", "in_scope": "90.00",
        "use_account": True,
    }  # fmt: skip
    running.send([bill])
    running.drain()
    held = running.rows("select balance from account.balance where member_id = 'C7'")[0][0]
    for case, why in (("enlisted", "130900:8"), ("gave_up", "130900:8")):
        done = gongji(running, "close", "C7", "--case", case, "--reason", "x", "--on", "2023-10-01")
        assert (done.returncode, why in done.stderr) == (1, True)
    asked = ("close", "C7", "--case", "moved_out_of_province", "--on", "2023-10-01", "--json")
    [shown] = said(gongji(running, *asked, "--dry-run"))
    assert (shown["amount"], shown["to"]) == (f"{held / 100:.2f}", "transferred")
    assert running.rows("select closed from account.balance where member_id = 'C7'") == [(False,)]
    [closed] = said(gongji(running, *asked, "--to", "paid_out", "--reason", "letter 5"))
    assert (closed["to"], closed["article"]) == ("paid_out", "130900:8")
    twice = gongji(running, *asked, "--reason", "x")
    assert (twice.returncode, "closed already" in twice.stderr) == (1, True)
    running.send([
        {"type": "reversal", "claim_no": "B7", "institution_id": "H1", "reversed_at": "2023-10-02T09:00:00+08:00", "reason": "r"}
    ])  # fmt: skip
    running.drain()
    [account] = said(gongji(running, "show", "C7", "--json"))
    assert (account["closing"], account["closed"]["disposal"]) == ("0.00", "paid_out")
    assert [(row["kind"], row["amount"], row["claim_no"]) for row in account["worklist"]] == [("late_reversal", "90.00", "B7")]
    later = credit(running, CANGZHOU, "2023-10", parameters(AVERAGES))
    assert later["left_out"]["account_closed"] == 1
    [row] = running.rows(
        "select who, reason, before->>'balance', after->>'to' from runtime.command_log where command = 'account close'"
    )
    assert row[1:] == ("letter 5", f"{held / 100:.2f}", "paid_out")


def test_a_true_up_after_the_closing_is_owed_outside_the_account(running: Deployment, parameters: Any) -> None:
    running.register([member("C7", CANGZHOU, contribution_base="6300.00")])
    span = ("trueup", "--region", CANGZHOU, "--from", "2023-09", "--to", "2023-10", "--json")
    averages = parameters(AVERAGES)
    [line] = said(gongji(running, *span, "--dry-run", parameters=averages))
    assert (line["member_id"], line["month"], line["difference"]) == ("C7", "2023-09", "2.00")
    [done] = said(gongji(running, *span, "--reason", "the base was wrong", parameters=averages))
    assert (done["amount"], done["left_out"]) == ("2.00", {"account_closed": 1, "no_account": 2, "not_in_benefit_period": 2})
    [account] = said(gongji(running, "show", "C7", "--json"))
    assert (account["closing"], [(row["kind"], row["amount"]) for row in account["worklist"]]) == (
        "0.00", [("late_reversal", "90.00"), ("late_credit", "2.00")],
    )  # fmt: skip
    open_ = said(gongji(running, "settle", "C7", "--dry-run", "--json"))
    assert [(one["kind"], one["amount"]) for one in open_] == [("late_reversal", "90.00"), ("late_credit", "2.00")]
    [nothing] = said(gongji(running, *span, "--reason", "again", parameters=averages))
    assert nothing["accounts"] == 0


def test_who_moves_to_another_city_of_these_books_has_an_account_there(running: Deployment, parameters: Any) -> None:
    """Closed before the register knows where he went to: his new city credits him, and the old account stays closed."""
    averages = parameters(AVERAGES)
    credit(running, CANGZHOU, "2023-11", averages)
    use = {"type": "account_use", "use_no": "U8", "institution_id": "H1", "member_id": "C8", "purpose": "own_share",
           "amount": "24.00", "used_at": "2023-11-20T09:00:00+08:00"}  # fmt: skip
    running.send([use])
    running.drain()
    asked = ("close", "C8", "--case", "moved_out_of_province", "--on", "2023-12-01", "--reason", "moved", "--json")
    [closed] = said(gongji(running, *asked))
    assert (closed["amount"], closed["to"]) == ("100.00", "transferred")
    again = gongji(running, "open", "C8", "--reason", "x")
    assert (again.returncode, "does not have him insured anew" in again.stderr) == (1, True), again.stderr
    running.send([use | {"use_no": "U9", "used_at": "2023-12-02T09:00:00+08:00"}])
    running.drain()
    [refused] = running.rows("select outcome, convert_from(value, 'utf8')::jsonb->'reasons'->0 from account.outcome"
                             " where claim_no = 'U9' and kind = 'account_use'")  # fmt: skip
    assert (refused[0], refused[1]["code"], refused[1]["article"]) == ("rejected", "account_use_not_allowed", "130900:8")

    running.register([member("C8", BAZHONG, valid_from="2023-12-01")])
    assert credit(running, CANGZHOU, "2023-12", averages)["left_out"]["account_closed"] == 1  # only C7
    assert "account_closed" not in credit(running, BAZHONG, "2023-12")["left_out"]
    assert booked(running, "2023-12", BAZHONG)["C8"] == 12_400
    [shown] = said(gongji(running, "open", "C8", "--bring", "--dry-run", "--json"))
    assert (shown["region"], shown["brought"]) == (BAZHONG, "100.00")
    said(gongji(running, "open", "C8", "--bring", "--reason", "the balance of Cangzhou", "--json"))
    twice = gongji(running, "open", "C8", "--bring", "--reason", "x")
    assert (twice.returncode, "no balance to bring" in twice.stderr) == (1, True)
    late = {"type": "reversal", "claim_no": "U8", "institution_id": "H1", "reversed_at": "2023-12-05T09:00:00+08:00",
            "reason": "r"}  # fmt: skip
    running.send([late])
    running.drain()
    [account] = said(gongji(running, "show", "C8", "--json"))
    assert [(e["kind"], e["amount"]) for e in account["entries"]] == [
        ("monthly", "124.00"), ("account_use", "-24.00"), ("closing", "-100.00"), ("monthly", "124.00"), ("opening", "100.00"),
    ]  # fmt: skip
    assert (account["closing"], account["closed"]) == ("224.00", None)
    assert [(row["kind"], row["region"], row["amount"]) for row in account["worklist"]] == [("late_reversal", CANGZHOU, "24.00")]
    [settled] = said(gongji(running, "settle", "C8", "--reason", "to his new account", "--json"))
    assert (settled["region"], settled["amount"]) == (CANGZHOU, "24.00")
    assert running.rows("select credit from account.posting where debit = 'closed_accounts:130900' and amount = 2400") == [
        ("transferred:130900",)
    ]


@pytest.mark.parametrize(
    ("arguments", "code", "why"),
    [
        (("open", "C1", "--reason", "x"), 1, "no account of such a member was closed"),
        (("open", "C8", "--reason", "x"), 1, "open already"),
        (("open", "nobody", "--reason", "x"), 1, "nobody knows an account"),
        (("open", "C8"), 2, "--reason"),
        (("close", "nobody", "--case", "died", "--reason", "x"), 1, "no such member"),
        (("close", "C1", "--case", "vanished", "--reason", "x"), 2, "--case"),
        (("close", "C1", "--case", "died", "--to", "paid_out", "--reason", "x", "--on", "2023-10-01"), 1, "heirs (130900:8)"),
        (("close", "C1", "--case", "died", "--reason", "x", "--on", "2999-01-01"), 1, "has not come"),
        (("close", "C1", "--case", "died"), 2, "--reason"),
        (("close", "X1", "--case", "moved_out_of_province", "--reason", "x", "--on", "2022-02-15"), 1, "goes along by itself"),
        (("settle", "nobody", "--reason", "x"), 1, "nothing is open"),
        (("trueup", "--region", CANGZHOU, "--from", "2999-01", "--reason", "x"), 1, "has not begun"),
        (("trueup", "--region", "110000", "--reason", "x"), 1, "not served"),
        (("worklist", "--region", "110000"), 2, "none of 130900, 420300"),
        (("show", "nobody"), 1, "no such member"),
        (("show", "C1", "--from", "2023-02-30"), 2, "--from"),
    ],
)
def test_what_cannot_be_closed_or_shown_is_said(running: Deployment, arguments: tuple[str, ...], code: int, why: str) -> None:
    done = gongji(running, *arguments)
    assert (done.returncode, why in done.stderr) == (code, True), done.stderr
    assert running.rows("select count(*) from account.closing where member_id in ('nobody', 'C1', 'X1')") == [(0,)]


def test_every_statement_reconciles_with_the_postings_and_the_books_are_clean(running: Deployment) -> None:
    for member_id, balance in running.rows("select member_id, balance from account.balance"):
        [account] = said(gongji(running, "show", member_id, "--json"))
        posted = running.rows(
            "select coalesce(sum(case when credit = %s then amount else -amount end), 0)::bigint from account.posting"
            " where %s in (debit, credit)", f"personal:{member_id}", f"personal:{member_id}",
        )  # fmt: skip
        moved = sum(round(float(entry["amount"]) * 100) for entry in account["entries"])
        assert moved == balance == posted[0][0] == round(float(account["closing"]) * 100)
    running.audit()


@pytest.mark.parametrize(("query", "key", "plant"), PLANTS)
def test_the_audit_names_what_was_planted(running: Deployment, query: Query, key: str, plant: str) -> None:
    """By the owner's hand, with triggers and constraints out of the way; rolled back."""
    with psycopg.connect(running.servers.addresses.postgres) as books:
        assert books.execute(query.sql).fetchall() == []
        for table in ("journal", "posting", "crediting", "closing", "opening"):
            books.execute(f"alter table account.{table} disable trigger user")
        for constraint in ("crediting_recoverable", "crediting_says_something"):
            books.execute(f"alter table account.crediting drop constraint {constraint}")
        assert books.execute(plant).rowcount > 0
        assert [row for row in books.execute(query.sql).fetchall() if key in row[0]] != []
        books.rollback()
