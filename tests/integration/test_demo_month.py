"""`gongji demo --month`: accounts credited, claims settled, institutions and regions paid, the ledger sealed; audited."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from deploy.local import servers as local


@pytest.mark.servers
def test_a_month_goes_through_and_the_audit_passes(tmp_path: Path) -> None:
    home = tmp_path / "home"
    ours = {name: value for name, value in os.environ.items() if not name.startswith("GONGJI_")} | {"GONGJI_HOME": str(home)}
    command = (
        sys.executable,
        "-m",
        "services",
        "demo",
        "--month",
        "--claims",
        "300",
        "--members",
        "400",
        "--seed",
        "7",
        "--json",
    )
    try:
        done = subprocess.run(command, env=ours, capture_output=True, text=True, check=False, timeout=400)
    finally:
        local.erase(home)
    assert done.returncode == 0, done.stderr[-3000:]
    document = json.loads(done.stdout)
    assert document["audit"]["ok"] is True
    told = {one["command"]: one["said"] for one in document["month"]}
    credited = [said[0] for command, said in told.items() if " credit " in command]
    assert sorted(one["region"] for one in credited) == ["130900", "420300", "440800", "511900", "653100"]
    assert all(one["accounts"] > 50 for one in credited)
    paid = [said for command, said in told.items() if " pay " in command]
    assert len(paid) == 5
    assert all(said for said in paid)
    [cleared] = [said for command, said in told.items() if " clear " in command]
    assert {(one["debtor"], one["creditor"], one["amount"]) for one in cleared} == {
        (one["debtor"], one["creditor"], one["amount"]) for one in document["owed"]
    }
    [verified] = [said[0] for command, said in told.items() if " verify " in command]
    assert verified["ok"] is True
