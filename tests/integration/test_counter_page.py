"""The page for a hospital's programmer (deploy/counter.md): its commands are run as they stand, one after the other."""

import json
import os
import re
import shutil
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from servers import LocalServers

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "deploy" / "counter.md"
# Everything that the page starts ends with it, however it ends. The set-up has tests of its own.
FRAME = """
set -euo pipefail
make() { test "$*" = setup; }
trap '[ -z "$(jobs -p)" ] || { kill $(jobs -p); wait; }' EXIT
"""


def blocks() -> list[str]:
    """The page's commands, block by block."""
    return re.findall(r"^```sh\n(.*?)^```$", PAGE.read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE)


@pytest.fixture(scope="module")
def said(private_servers: LocalServers, tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """What each block printed, run in one shell in a directory that has what the page uses of a checkout."""
    checkout = tmp_path_factory.mktemp("checkout")
    shutil.copytree(ROOT / "deploy" / "counter", checkout / "deploy" / "counter")
    gongji = checkout / ".venv" / "bin" / "gongji"
    gongji.parent.mkdir(parents=True)
    gongji.write_text(f'#!/bin/sh\nPYTHONPATH={ROOT} exec {sys.executable} -m services "$@"\n')
    gongji.chmod(0o755)
    environment = {name: value for name, value in os.environ.items() if not name.startswith("GONGJI_")}
    script = FRAME + "\necho; echo =====\n".join(blocks()).replace("8080", str(_free_port()))
    done = subprocess.run(
        ["bash", "-c", script], cwd=checkout, env=environment | {"GONGJI_HOME": str(private_servers.home)},
        capture_output=True, text=True, timeout=300, check=False,
    )  # fmt: skip
    log = checkout / "serve.log"
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:] + (log.read_text()[-2000:] if log.exists() else "")
    return done.stdout.split("\n=====\n")


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
        return port


def amounts(outcome: dict[str, Any]) -> tuple[str, str, str]:
    return outcome["fund_total"], outcome["account"], outcome["cash"]


def test_from_nothing_to_a_settled_claim(said: list[str]) -> None:
    started, tried, settled, asked, *_ = said
    assert "counter at http://127.0.0.1:" in started
    trial, outcome = json.loads(tried), json.loads(settled)
    promised = re.search(r"The fund pays (\S+), the account (\S+), the patient ([0-9.]+);", PAGE.read_text(encoding="utf-8"))
    assert promised is not None
    assert amounts(trial) == amounts(outcome) == promised.groups()
    assert (trial["type"], outcome["outcome"]) == ("trial", "settled")
    assert json.loads(asked) == outcome


def test_a_claim_with_its_quote_a_day_in_a_stream_and_what_came_of_it(said: list[str]) -> None:
    settled, quoted, streamed, told = (said[number] for number in (2, 4, 5, 6))
    outcomes = [json.loads(settled), json.loads(quoted)]
    assert [outcome["outcome"] for outcome in outcomes] == ["settled", "settled"]
    assert [json.loads(line) for line in streamed.splitlines() if line] == outcomes * 2, "by curl, and by the command"
    page, counters = (json.loads(line) for line in told.replace("}{", "}\n{").splitlines() if line)
    assert page["outcomes"] == outcomes
    assert {one["name"]: one["left"] for one in counters["counters"]}["ordinary.deductible"] == "0.00"


def test_the_page_is_whole(said: list[str]) -> None:
    assert len(said) == len(blocks()) == 8
