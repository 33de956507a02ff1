"""From obligations to positions: who owes whom how much, and what it comes to for each region. Pure; fen."""

from collections.abc import Iterable
from typing import NamedTuple

from services.crossregion.routing import Obligation


class Position(NamedTuple):
    """One cell of the net matrix: the sum of ``claims`` obligations (a reversal is a negative one)."""

    debtor: str
    creditor: str
    gross: int
    claims: int


class Net(NamedTuple):
    """What a window comes to for a region: it receives when ``net`` is positive."""

    region: str
    receivable: int
    payable: int

    @property
    def net(self) -> int:
        """Receivable minus payable."""
        return self.receivable - self.payable


def matrix(obligations: Iterable[Obligation]) -> tuple[Position, ...]:
    """The obligations added up by debtor and creditor, in that order."""
    cells: dict[tuple[str, str], tuple[int, int]] = {}
    for one in obligations:
        gross, claims = cells.get((one.debtor, one.creditor), (0, 0))
        cells[one.debtor, one.creditor] = (gross + one.amount, claims + 1)
    return tuple(Position(*pair, *cells[pair]) for pair in sorted(cells))


def by_region(positions: Iterable[Position]) -> tuple[Net, ...]:
    """What each region receives and pays, in the order of regions. The nets always sum to zero."""
    sides: dict[str, tuple[int, int]] = {}
    for position in positions:
        receivable, payable = sides.get(position.creditor, (0, 0))
        sides[position.creditor] = (receivable + position.gross, payable)
        receivable, payable = sides.get(position.debtor, (0, 0))
        sides[position.debtor] = (receivable, payable + position.gross)
    return tuple(Net(region, *sides[region]) for region in sorted(sides))
