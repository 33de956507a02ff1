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
