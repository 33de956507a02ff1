"""What a month has besides its claims: accounts credited before; institutions and regions paid, the ledger sealed after.

Each is a command of its own, given as an operator gives it. The operator's figures are made up, unless there are some.
"""

import json
import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Final, NamedTuple

from services.demo.watch import Line
from services.ops.generate import DAY
from shared.errors import Stop
from shared.money import fen, yuan
from shared.runtime.settings import Settings

MONTH: Final = f"{DAY:%Y-%m}"
_SECONDS: Final = 1800.0
_REASON: Final = "demo"

# Of the order of the yearbooks, and nobody's: yuan a month; of contributions and estimates yuan a year.
_FIGURES: Final = {
    "130900": {"average_pension_2021.government": "5600.00", "average_pension_2021.enterprise": "3050.00"},
    "420300": {"average_pension_2021": "3150.00"},
    "440800": {"contributions_year_before_last": "2600000000.00", "remote_and_emergency_estimate": "20000000.00"},
    "511900": {"average_pension_2022.government": "5200.00", "average_pension_2022.enterprise": "2750.00"},
    "653100": {"individual_contribution_rate": "2", "average_wage_last_year": "7900.00"},
}


class Told(NamedTuple):
    """A command that was given, and what it said."""

    command: str
    said: Sequence[dict[str, Any]]


class Month:
    """The commands of one month."""

    def __init__(self, settings: Settings, regions: Sequence[str], directory: Path, line: Line) -> None:
        self._regions = regions
        self._directory = directory
        self._line = line
        self._parameters = settings.parameters or _made_up(directory, regions)
        self.told: list[Told] = []

    def credit(self) -> None:
        """Credits every account for the month. Raises Stop with what the command said."""
        for region in self._regions:
            self._give("account", "credit", "--region", region, "--month", MONTH, "--reason", _REASON, "--json")

    def close(self, claim: tuple[str, str]) -> None:
        """Pays institutions and regions, seals the ledger, proves a claim (institution, number) and verifies it. Raises Stop."""
        for region in self._regions:
            self._give("fund", "pay", "--region", region, "--month", MONTH, "--reason", _REASON, "--json")
        [window] = self._give("clearing", "close", "--reason", _REASON, "--json")
        if window["positions"]:
            self._give("fund", "clear", "--window", str(window["window"]), "--reason", _REASON, "--json")
        self._give("ledger", "seal", "--json")
        institution, number = claim
        proof = str(self._directory / "proof.json")
        self._give("ledger", "prove", number, "--institution", institution, "--out", proof)
        self._give("ledger", "verify", proof, "--json")

    def sentences(self) -> Iterator[str]:
        """The month for people: one sentence a command that books something."""
        for command, said in self.told:
            if " credit " in command:
                one = said[0]
                left = ", ".join(f"{count} {why}" for why, count in one["left_out"].items())
                came = f"{one['accounts']} accounts, {one['amount']} yuan, {one['accounts_per_second']} accounts/s"
                yield f"划入 credited {one['region']}: {came}; left out: {left or 0}"
            elif " pay " in command:
                total = sum(fen(one["transferred"]) for one in said)
                yield f"支付 paid {said[0]['region'] if said else '–'}: {len(said)} institutions, {yuan(total)} yuan"
            elif " clear " in command:
                total = sum(fen(one["amount"].lstrip("-")) for one in said)
                yield f"清算拨付 window {said[0]['window']} paid: {len(said)} pairs of regions, {yuan(total)} yuan"
            elif " verify " in command:
                yield f"存证 proof of {said[0]['claim_no']}: {'holds' if said[0]['ok'] else 'DOES NOT HOLD'}"

    def _give(self, *arguments: str) -> list[dict[str, Any]]:
        self._line.show(" ".join(("gongji", *arguments)))
        done = subprocess.run(  # noqa: S603 - our own command
            (sys.executable, "-m", "services", *arguments),
            env=os.environ | {"GONGJI_PARAMETERS": str(self._parameters)},
            stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=_SECONDS, check=False,
        )  # fmt: skip
        if done.returncode:
            raise Stop(f"gongji {' '.join(arguments)} ended with {done.returncode}: {done.stderr.strip()[-2000:]}")
        said = [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]
        self.told.append(Told(" ".join(("gongji", *arguments)), said))
        return said


def _made_up(directory: Path, regions: Sequence[str]) -> Path:
    file = directory / "parameters.yaml"
    given = {
        region: {name: [{"from": "2022-01-01", "value": value}] for name, value in _FIGURES[region].items()}
        for region in regions
        if region in _FIGURES
    }
    file.write_text(json.dumps(given, indent=1), encoding="utf-8")
    return file
