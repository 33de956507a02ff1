"""The fault matrix's table: a row a fault, printed after the run, and written as a page with ``--faults-table``; a plugin.

Rows come from ``trial.py``, also from tests that failed: a table without its bad rows would be no table.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import pytest
from rich.console import Console
from rich.table import Table

HEADS: Final = ("fault", "claims in flight", "recovered after s", "claims", "lost", "doubled", "wrong", "audit")
_PAGE: Final = """# Faults

Written by `make test-faults`: each fault met real Kafka, Postgres and Redis and the five services while claims were sent.

- *In flight*: claims accepted by Kafka and without an outcome when the fault struck.
- *Recovered*: seconds from the fault's end until each service on a claim's path had applied something new, or nothing was left.
- Then the rest is sent, the path runs dry, and every outcome is compared with those of an undisturbed run of the same day
  (`gongji replay`): *lost* is missing, *doubled* is a second outcome, *wrong* is another outcome. Last, `gongji audit`.

Rows of faults that the last run did not try are those of an earlier one. How the promises are tested otherwise is in
[reliability.md](reliability.md).

"""


@dataclass
class Row:
    """One fault and what came of it. ``None``: not measured, or not reached."""

    fault: str
    in_flight: int | None = None
    recovered: float | str | None = None
    claims: int | None = None
    lost: int | None = None
    doubled: int | None = None
    wrong: int | None = None
    audit: str = "not reached"

    @property
    def cells(self) -> tuple[str, ...]:
        recovered = f"{self.recovered:.1f}" if isinstance(self.recovered, float) else self.recovered
        cells = (self.fault, self.in_flight, recovered, self.claims, self.lost, self.doubled, self.wrong, self.audit)
        return tuple("–" if cell is None else f"{cell:,}" if isinstance(cell, int) else cell for cell in cells)

    @property
    def clean(self) -> bool:
        return self.audit == "clean" and not (self.lost or self.doubled or self.wrong)


ROWS: Final[list[Row]] = []  # of this run, in the order of the faults


def row(fault: str) -> Row:
    """A new row of the table."""
    ROWS.append(Row(fault))
    return ROWS[-1]


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--faults-table", type=Path, help="write the table of the faults to this file, as a page")
    parser.addoption("--hours", type=float, default=0.02, help="how long the soak lasts (default: about a minute)")
    parser.addoption("--soak-seed", type=int, help="the soak's seed (default: of the clock, printed)")


def pytest_terminal_summary(config: pytest.Config) -> None:
    if not ROWS:
        return
    table = Table(title="Faults", highlight=False)
    for number, head in enumerate(HEADS):
        table.add_column(head, justify="right" if 0 < number < len(HEADS) - 1 else "left")
    for one in ROWS:
        table.add_row(*one.cells, style=None if one.clean else "bold red")
    Console(width=140).print(table)
    page: Path | None = config.getoption("--faults-table")
    if page is not None:
        today = datetime.now(UTC).date().isoformat()
        keep(page, _PAGE, (*HEADS, "tried on"), [(*one.cells, today) for one in ROWS])


def keep(page: Path, text: str, heads: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Writes a page with a table. Rows of an earlier run stay, where this one has none of their name (the first cell)."""
    table = {}
    if page.exists():
        lines = page.read_text(encoding="utf-8").splitlines()
        cells = [line.strip("| ").split(" | ") for line in lines if line.startswith("| ")]
        table = {line[0]: line for line in cells[2:] if len(line) == len(heads)}
    table |= {row[0]: list(row) for row in rows}
    written = [heads, ["---"] * len(heads), *table.values()]
    page.write_text(text + "".join(f"| {' | '.join(line)} |\n" for line in written), encoding="utf-8")
