"""Obligations and clearing windows in memory, for ``gongji replay``."""

from collections.abc import Collection, Sequence
from datetime import UTC, datetime

import msgspec

from services.crossregion.netting import matrix
from services.crossregion.routing import Key, Obligation
from services.crossregion.windows import Window
from shared.errors import UsageError
from shared.runtime.step import Filed, Tx

_BEGINNING = datetime(1970, 1, 1, tzinfo=UTC)  # a replay has no clock


class MemoryStore:
    """``services.crossregion.store.Store`` in dictionaries; ``tx`` is ignored."""

    def __init__(self) -> None:
        self._obligations: dict[Key, Obligation] = {}
        self._windows: dict[int, Window] = {}
        self._unannounced: list[int] = []

    async def known(self, _tx: Tx, keys: Collection[Key]) -> dict[Key, int]:
        """Which of these obligations are filed, and of how many fen."""
        return {key: self._obligations[key].amount for key in keys if key in self._obligations}

    async def open_window(self, _tx: Tx) -> int:
        """The open window, opened if none is."""
        if not self._windows:
            self._open(_BEGINNING)
        return max(self._windows)

    async def record(self, _tx: Tx, filed: Sequence[Filed[Obligation]]) -> None:
        """Files obligations. Raises ValueError for one that is filed."""
        for one in filed:
            if one.decision.key in self._obligations:
                raise ValueError("this obligation is filed")
            self._obligations[one.decision.key] = one.decision

    async def close(self, tx: Tx, now: datetime) -> Window:
        """Closes the open window and opens the next."""
        number = await self.open_window(tx)
        window = self._windows[number]
        self._windows[number] = msgspec.structs.replace(window, closed_at=max(now, window.opened_at))
        self._unannounced.append(number)
        self._open(now)
        return await self.window(tx, number)

    async def window(self, tx: Tx, window_id: int | None = None) -> Window:
        """A window; without a number the open one. Raises UsageError if there is none."""
        wanted = window_id or max(self._windows, default=0)
        if wanted not in self._windows:
            raise UsageError(f"there is no clearing window {window_id or ''}".strip())
        return msgspec.structs.replace(self._windows[wanted], positions=matrix(await self.obligations(tx, wanted)))

    async def obligations(self, _tx: Tx, window_id: int) -> list[Obligation]:
        """Every obligation of a window, in order of its key."""
        return sorted(one for one in self._obligations.values() if one.window_id == window_id)

    async def unannounced(self, _tx: Tx) -> list[int]:
        """Closed windows that were not announced yet, oldest first."""
        return list(self._unannounced)

    async def announced(self, _tx: Tx, window_ids: Sequence[int], _now: datetime) -> None:
        """Notes that these windows were announced."""
        self._unannounced = [one for one in self._unannounced if one not in window_ids]

    def _open(self, now: datetime) -> None:
        number = len(self._windows) + 1
        self._windows[number] = Window(window_id=number, opened_at=now, closed_at=None, positions=())
