"""Every command that changes something asks for a reason, before it looks at any server (I19)."""

import subprocess
import sys
from pathlib import Path

import pytest

from services.__main__ import main

PRIVILEGED = {
    "account credit": ("--region", "130900", "--month", "2023-05"),
    "account trueup": ("--region", "130900"),
    "account close": ("M1", "--case", "died"),
    "account settle": ("M1",),
    "fund pay": ("--region", "130900", "--month", "2023-05"),
    "fund release": ("--region", "440800", "--year", "2023", "--result", "100"),
    "fund repaid": ("--region", "511900", "--institution", "I1", "--month", "2023-05", "--amount", "5.00"),
    "fund clear": ("--window", "1"),
    "claim readjudicate": ("M1", "--year", "2023"),
    "clearing close": (),
    "dead redrive": ("--all",),
    "dead discard": ("--all",),
    "lease adopt": (),
    "institution key create": ("I1",),
    "institution key revoke": ("abc",),
}
SERVICES = Path(__file__).parents[2] / "services"


@pytest.mark.parametrize("reason", [(), ("--reason", "  ")], ids=["none", "blank"])
@pytest.mark.parametrize("command", PRIVILEGED)
def test_without_a_reason_nothing_is_done(
    command: str, reason: tuple[str, ...], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    monkeypatch.setenv("GONGJI_HOME", str(tmp_path))
    monkeypatch.setattr(sys, "argv", ["gongji", *command.split(), *PRIVILEGED[command], *reason])
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 2
    assert "--reason" in capsys.readouterr().err


def test_each_of_them_is_written_down_under_its_name() -> None:
    """The names in the log are those of the table: a command that writes another is not on the list, or the list is wrong."""
    found = subprocess.run(
        ["grep", "-rhoE", f'"({"|".join(PRIVILEGED)})"', "--include=*.py", str(SERVICES)],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert {line.strip('"') for line in found.stdout.split("\n") if line} == set(PRIVILEGED)
