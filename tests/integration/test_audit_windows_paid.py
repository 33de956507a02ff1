"""The audit's checks of clearing windows that were paid: silent on clean books, and each sees what is planted."""

import asyncpg
import pytest
from clearing_books import closed
from payment_books import BAZHONG, Case, Payers, gongji

from services.ops.audit.check import Finding
from services.ops.audit.view import View
from services.ops.audit.windows_paid import WINDOWS_PAID

pytestmark = pytest.mark.servers

WHOLE, POSTED = "window_is_paid_as_its_matrix_says", "window_payment_equals_postings"
OWNED, COMMANDED = "every_clearing_journal_has_its_window", "window_payments_are_commanded"
FIRST = "journal_id = (select min(journal_id) from account.window_payment)"
PLANTED = [
    (f"delete from account.window_payment where {FIRST}", WHOLE),
    ("delete from account.window_payment where amount = 0", WHOLE),
    ("update account.window_payment set amount = amount + 1 where amount > 0", WHOLE),
    ("update account.window_payment set amount = -amount where amount > 0", WHOLE),
    ("update account.window_payment set window_id = window_id + 7", WHOLE),
    ("update crossregion.net_position set gross = gross - 1", WHOLE),
    ("insert into account.window_payment values (1, '130900', '653100', 5, 1, 'x', 'x')", WHOLE),
    ("update account.window_payment set amount = amount - 1 where amount < 0", POSTED),
    (f"update account.posting set amount = amount + 1 where line = 1 and {FIRST}", POSTED),
    ("update account.posting set debit = 'bank:511900' where debit = 'bank:440800'", POSTED),
    ("update account.posting set credit = 'due_from:440800:511900' where credit = 'due_from:440800:130900'", POSTED),
    (
        (
            "insert into account.posting select journal_id, 3, 'contributions', 'personal:M1', 5, part"
            f" from account.journal where {FIRST}"
        ),
        POSTED,
    ),
    (f"update account.journal set kind = 'release' where {FIRST}", POSTED),
    (f"update account.journal set number = '440800/9' where {FIRST}", POSTED),
    (f"update account.window_payment set journal_id = null, amount = 0 where {FIRST}", OWNED),
    ("update account.journal set kind = 'clearing' where journal_id = (select min(journal_id) from account.journal)", OWNED),
    (
        "update account.window_payment set journal_id = (select max(journal_id) from account.window_payment) where amount > 0",
        OWNED,
    ),
    ("update account.window_payment set reason = 'other'", COMMANDED),
    ("delete from runtime.command_log where command = 'fund clear'", COMMANDED),
    ("update runtime.command_log set after = after || '{\"journals\": []}' where command = 'fund clear'", COMMANDED),
]


async def breaches(connection: asyncpg.Connection) -> dict[str, int]:
    view = View(connection, "", 8, {}, {}, {}, {}, {})
    findings: list[Finding] = list(await WINDOWS_PAID(view))
    assert len(findings) == 4
    return {finding.check.name: finding.total for finding in findings if finding.total}


async def test_what_is_wrong_with_a_window_that_was_paid_is_seen_and_what_is_right_is_not(
    payers: Payers, connection: asyncpg.Connection
) -> None:
    back, gone = Case("C2", "H2", 2_500, care=BAZHONG), Case("C3", "H2", 700, insured="130900", care=BAZHONG)
    await payers.settle(Case("C1", "H1", 6_000, insured="130900"), back, gone)
    assert await breaches(connection) == {}
    first = await closed(connection)
    assert await breaches(connection) == {}, "a window that was not paid is no breach"
    await gongji("fund", "clear", "--window", str(first), "--reason", "清算")
    await payers.reverse(back)
    await payers.settle(again := gone._replace(number="C4"))
    await payers.reverse(again)
    second = await closed(connection)
    await gongji("fund", "clear", "--window", str(second), "--reason", "清算")
    assert await breaches(connection) == {}
    for table in ("account.journal", "account.posting", "account.window_payment"):
        await connection.execute(f"alter table {table} disable trigger user")
    for planted, name in PLANTED:
        undone = connection.transaction()
        await undone.start()
        assert (await connection.execute(planted))[-2:] != " 0", planted
        assert name in await breaches(connection), planted
        await undone.rollback()
    assert await breaches(connection) == {}
