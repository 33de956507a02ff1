"""`gongji account` called in the process of a test, and the register that its tests rest on."""

import json
import os
import sys
from contextlib import redirect_stderr, redirect_stdout
from io import StringIO
from typing import Any, NamedTuple

import pytest
from deployment import Deployment, Line

from services.__main__ import main
from services.ops.audit import accounts

CANGZHOU, BAZHONG, KASHGAR = "130900", "511900", "653100"
AVERAGES = {CANGZHOU: {"average_pension_2021.government": "5000.00", "average_pension_2021.enterprise": "3000.00"}}


def member(member_id: str, region: str, status: str = "active", **fields: Any) -> Line:
    return {
        "type": "member", "member_id": member_id, "region": region, "status": status, "employment": "employee",
        "sector": "enterprise", "valid_from": "2022-01-01", "contribution_base": "6200.00",
    } | fields  # fmt: skip


REGISTER: list[Line] = [
    {
        "type": "institution", "institution_id": "H1", "region": CANGZHOU, "kind": "hospital", "level": "2",
        "designated_from": "2022-01-01", "pooled_outpatient": True, "networked": True,
    },
    member("C1", CANGZHOU), member("C2", CANGZHOU, "retired"), member("C3", CANGZHOU, "retired", sector="government"),
    member("C4", CANGZHOU, employment="flexible_pooled_only"), member("C5", CANGZHOU, covered_to="2023-03-31"),
    member("C6", CANGZHOU), member("C7", CANGZHOU), member("C8", CANGZHOU, valid_from="2023-11-01"),
    member("K1", KASHGAR, "retired"), member("K2", KASHGAR, "retired"),
    member("B1", BAZHONG), member("X1", CANGZHOU),
    member("X1", BAZHONG, valid_from="2022-03-01", employment="flexible_pooled_only"),
]  # fmt: skip


class Done(NamedTuple):
    returncode: int
    stdout: str
    stderr: str


def gongji(running: Deployment, *arguments: str, parameters: str = "") -> Done:
    """The command line in this process: it is called sixty times, and takes a second to import."""
    out, err = StringIO(), StringIO()
    with pytest.MonkeyPatch.context() as patched, redirect_stdout(out), redirect_stderr(err):
        for name in [name for name in os.environ if name.startswith("GONGJI_")]:
            patched.delenv(name)
        for name, value in (running.environment | ({"GONGJI_PARAMETERS": parameters} if parameters else {})).items():
            patched.setenv(name, value)
        patched.setattr(sys, "argv", ["gongji", "account", *arguments])
        with pytest.raises(SystemExit) as ended:
            main()
    return Done(int(ended.value.code or 0), out.getvalue(), err.getvalue())


def said(done: Done, code: int = 0) -> list[dict[str, Any]]:
    assert done.returncode == code, done.stderr[-2000:]
    return [json.loads(line) for line in done.stdout.splitlines()]


def booked(running: Deployment, month: str, region: str = CANGZHOU) -> dict[str, int]:
    rows = running.rows(
        "select member_id, sum(amount)::bigint from account.crediting where region = %s and month = %s group by 1", region, month
    )
    return dict(rows)


def credit(running: Deployment, region: str, month: str, parameters: str = "", *more: str) -> dict[str, Any]:
    arguments = ("credit", "--region", region, "--month", month, "--reason", "monthly", "--json", *more)
    [summary] = said(gongji(running, *arguments, parameters=parameters))
    return summary


# What the audit must name: the check, what stands in the key, and a change by the owner's hand.
PLANTS = [
    (accounts.SHEETS, "C1", "update account.crediting set amount = amount + 1 where member_id = 'C1' and month = '2023-05'"),
    (accounts.SHEETS, "C2", "update account.posting set amount = amount - 1 where credit = 'personal:C2'"),
    (accounts.SHEETS, "C6", "update account.crediting set recoverable = 0 where member_id = 'C6'"),
    (accounts.PAID_BY, "C1", "update account.crediting set source = 'pooled' where member_id = 'C1' and month = '2023-05'"),
    (accounts.PAID_BY, "C1", "update account.crediting set line = line + 1 where member_id = 'C1' and month = '2023-05'"),
    (accounts.PAID_BY, "B1", "update account.crediting set amount = amount + 12, interest = 0 where interest = 12"),
    (accounts.ONCE, "C1", "update account.crediting set month = '2023-05' where member_id = 'C1' and month = '2023-07'"),
    (accounts.ONCE, "C3", "update account.crediting set run_id = 999 where member_id = 'C3' and month = '2023-05'"),
    (accounts.CLOSED, "C1", "update account.balance set balance = 0, closed = true where member_id = 'C1'"),
    (accounts.CLOSED, "C7", "update account.balance set closed = false where member_id = 'C7'"),
    (accounts.CLOSED, "C8", "delete from account.opening"),
    (accounts.CLOSED, "C8", "update account.balance set balance = 0, closed = true where member_id = 'C8'"),
    (accounts.OPENED, "C8", "update account.opening set amount = amount + 1 where amount > 0"),
    (accounts.OPENED, "C8", "update account.posting set amount = 1 where debit = 'personal:C8' and credit like 'transferred:%'"),
    (accounts.OPENED, "C1", "insert into account.opening values ('C1', 1, '130900', 1)"),
    (
        accounts.OPENED,
        "C8",
        "insert into account.opening select member_id, part, region, 999999, amount from account.opening where amount > 0",
    ),
    (accounts.OWNED, "C8/", "delete from account.opening where amount > 0"),
    (accounts.COMMANDED, "opening C8", "delete from runtime.command_log where command = 'account open'"),
    (accounts.COMMANDED, "opening C8", "update account.opening set region = '440800' where member_id = 'C8' and amount > 0"),
    (accounts.COMMANDED, "opening C8", "update account.opening set region = '440800' where member_id = 'C8' and amount = 0"),
    (accounts.CLOSED, "C7", "update account.closing set amount = amount + 1 where member_id = 'C7'"),
    (accounts.CLOSED, "C7", "update account.closing set number = number + 1 where member_id = 'C7' and amount > 0"),
    (accounts.CLOSED, "C7", "insert into account.posting values (999999, 1, 'contributions', 'personal:C7', 1, 0)"),
    (accounts.WORKLIST, "journal", "delete from account.worklist where kind = 'late_reversal' and member_id = 'C7'"),
    (accounts.WORKLIST, "journal", "update account.worklist set kind = 'late_reversal' where kind = 'late_credit'"),
    (accounts.SHEETS, "C7", "update account.crediting set late = late - 1 where member_id = 'C7' and late > 0"),
    (accounts.WORKLIST, "journal", "update account.worklist set amount = amount + 1 where kind = 'overcredited'"),
    (accounts.WORKLIST, "journal", "update account.worklist set claim_no = 'X' where kind = 'late_reversal'"),
    (accounts.WORKLIST, "journal", "update account.worklist set institution_id = null where kind = 'late_reversal'"),
    (accounts.WORKLIST, "journal", "update account.worklist set region = '440800' where kind = 'overcredited'"),
    (accounts.OWNED, "C7/", "delete from account.closing"),
    (accounts.OWNED, "130900/", "delete from account.crediting where month = '2023-05'"),
    (accounts.COMMANDED, "run ", "delete from runtime.command_log where command = 'account trueup'"),
    (accounts.COMMANDED, "run ", "update account.credit_run set reason = 'other'"),
    (accounts.COMMANDED, "run ", "update account.credit_run set who = 'another'"),
    (accounts.COMMANDED, "run ", "update account.credit_run set last_month = '2099-12' where kind = 'true_up'"),
    (accounts.COMMANDED, "run ", "update account.credit_run set figures = '{}'"),
    (accounts.COMMANDED, "closing C7", "update account.closing set leaving = 'emigrated' where member_id = 'C7'"),
    (accounts.COMMANDED, "closing C7", "delete from runtime.command_log where command = 'account close'"),
]
