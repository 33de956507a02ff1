"""Clearing windows: obligations gather in the open one; closing it fixes who pays whom, and opens the next.

Pure; the closing itself is ``Store.close``.
"""

from datetime import datetime

import msgspec

from services.crossregion.netting import Net, Position, by_region
from shared.calendar import stamp
from shared.events import WINDOWS
from shared.money import yuan
from shared.runtime.step import Message


class Window(msgspec.Struct, frozen=True, kw_only=True):
    """A window with its positions: final once ``closed_at`` is set, the state of the moment before."""

    window_id: int
    opened_at: datetime
    closed_at: datetime | None
    positions: tuple[Position, ...]

    @property
    def nets(self) -> tuple[Net, ...]:
        """What the window comes to for each region."""
        return by_region(self.positions)


def shown(window: Window) -> dict[str, object]:
    """A window as the world sees it, on ``clearing.windows`` and with ``--json``: amounts in yuan."""
    return {
        "type": "clearing_window",
        "window": window.window_id,
        "opened_at": stamp(window.opened_at),
        "closed_at": stamp(window.closed_at) if window.closed_at else None,
        "positions": [
            {"debtor": p.debtor, "creditor": p.creditor, "gross": yuan(p.gross), "claims": p.claims} for p in window.positions
        ],
        "regions": [
            {"region": n.region, "receivable": yuan(n.receivable), "payable": yuan(n.payable), "net": yuan(n.net)}
            for n in window.nets
        ],
    }


def announcement(window: Window) -> Message:
    """A closed window, to the world; the same bytes whenever it is announced."""
    return Message(WINDOWS, 0, str(window.window_id).encode(), msgspec.json.encode(shown(window)))
