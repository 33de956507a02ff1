"""The audit's checks of payments: silent on clean books, and each sees what is planted."""

import asyncpg
import pytest
from payment_books import BAZHONG, ZHANJIANG, Case, Payers, gongji, pay

from services.ops.audit.check import Finding
from services.ops.audit.payments import PAYMENTS
from services.ops.audit.view import View

pytestmark = pytest.mark.servers

PLANTED = [
    ("update account.payment set paid = paid + 1, retained = retained - 1 where retained > 0", "payment_equals_postings"),
    ("update account.posting set amount = amount + 1 where credit = 'bank:440800'", "payment_equals_postings"),
    ("update account.posting set credit = 'bank:511900' where credit = 'bank:440800'", "payment_equals_postings"),
    ("update account.payment set journal_id = (select max(journal_id) from account.payment)", "payment_equals_postings"),
    ("update account.payment_item set amount = amount + 1", "payment_is_its_items"),
    ("delete from account.payment_item where claim_no = 'C1'", "payment_is_its_items"),
    ("update account.payment_item set share = 'fund' where claim_no = 'C4'", "payment_is_its_items"),
    ("update account.payment_item set claim_no = 'C9' where claim_no = 'C1'", "payment_is_its_items"),
    ("update account.retention_release set released = released - 1, forfeited = forfeited + 1", "release_equals_retention"),
    ("update account.retention_release set retained = retained + 1, released = released + 1", "release_equals_retention"),
    ("update account.retention_release set result = result - 1", "release_equals_retention"),
    ("update account.retention_release set result = result - 0.0001", "payments_are_commanded"),
    ("update account.payment set carried = carried - 1 where institution_id = 'H1'", "payments_are_commanded"),
    ("update account.payment set carried = 0 where carried < 0", "payments_are_commanded"),
    ("delete from account.payment where carried < 0", "payments_are_commanded"),
    ("update account.repayment set amount = amount + 1", "repayment_equals_postings"),
    ("update account.repayment set region = '440800', month = '2023-05'", "repayment_equals_postings"),
    ("update account.posting set credit = 'payable:H1' where debit = 'bank:511900'", "repayment_equals_postings"),
    ("update account.posting set debit = 'bank:440800' where debit = 'bank:511900'", "repayment_equals_postings"),
    ("update account.journal set number = '511900/2023-06' where kind = 'repayment'", "repayment_equals_postings"),
    ("update account.repayment set amount = amount + 1", "repayment_is_its_items"),
    ("update account.payment_item set amount = amount - 1 where repaid is not null", "repayment_is_its_items"),
    ("update account.payment_item set repaid = repaid + 1 where repaid is not null", "repayment_is_its_items"),
    ("update account.payment_item set repaid = null where repaid is not null", "payment_is_its_items"),
    ("update account.payment_item set repaid = 1 where claim_no = 'C1'", "repayment_is_its_items"),
    ("delete from account.repayment", "every_payment_journal_has_its_payment"),
    ("update account.repayment set reason = 'other'", "payments_are_commanded"),
    ("delete from runtime.command_log where command = 'fund repaid'", "payments_are_commanded"),
    ("delete from account.payment where institution_id = 'H1'", "every_payment_journal_has_its_payment"),
    ("delete from account.retention_release", "every_payment_journal_has_its_payment"),
    ("update runtime.command_log set reason = 'other' where command = 'fund pay'", "payments_are_commanded"),
    ("delete from runtime.command_log where command = 'fund release'", "payments_are_commanded"),
    ("update account.payment_run set rule = 'by_item'", "payments_are_commanded"),
    ("update account.payment_run set grounds = '{}'", "payments_are_commanded"),
    ("update account.payment set month = '2099-01' where month = '2023-05'", "payments_are_commanded"),
]


async def breaches(connection: asyncpg.Connection) -> dict[str, int]:
    view = View(connection, "", 8, {}, {}, {}, {}, {})
    findings: list[Finding] = list(await PAYMENTS(view))
    assert len(findings) == 7
    return {finding.check.name: finding.total for finding in findings if finding.total}


async def test_what_is_wrong_with_a_payment_is_seen_and_what_is_right_is_not(
    payers: Payers, connection: asyncpg.Connection
) -> None:
    await payers.credit("M1", 3_000)
    away = Case("C4", "H1", 3_000, insured="130900")
    await payers.settle(Case("C1", "H1", 6_000, use_account=True), Case("C2", "H2", 4_000), Case("C3", "H3", 0), away)
    await payers.reverse(Case("C2", "H2", 4_000))
    assert await breaches(connection) == {}
    await pay()
    bazhong = Case("C5", "H4", 2_000, insured=BAZHONG, care=BAZHONG)
    await payers.settle(bazhong)
    await pay("2023-05", BAZHONG)
    await payers.reverse(bazhong)
    await pay("2023-06", BAZHONG)  # in which it waits
    asked = ("--region", BAZHONG, "--institution", "H4", "--month", "2023-05", "--amount", "20.00")
    await gongji("fund", "repaid", *asked, "--reason", "退款")
    await gongji("fund", "release", "--region", ZHANJIANG, "--year", "2023", "--result", "80", "--reason", "考核")
    assert await breaches(connection) == {}
    for table in ("payment", "payment_item", "payment_run", "retention_release", "repayment", "journal", "posting"):
        await connection.execute(f"alter table account.{table} disable trigger user")
    await connection.execute("alter table account.payment drop constraint payment_run_of")
    for planted, name in PLANTED:
        undone = connection.transaction()
        await undone.start()
        assert await connection.execute(planted) != "UPDATE 0", planted
        assert name in await breaches(connection), planted
        await undone.rollback()
    assert await breaches(connection) == {}
