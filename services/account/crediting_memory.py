"""The books of crediting and closing in memory: the same as ``crediting_store``, for tests and trials of thought."""

from collections.abc import Collection, Sequence

from services.account.crediting import Booked, CreditedKey, Sheet
from services.account.leaving import Closing
from services.account.memory import MemoryStore
from shared.errors import Stop
from shared.runtime.step import Tx


class MemoryCreditingStore(MemoryStore):
    """``CreditingStore`` in mappings; ``tx`` is ignored."""

    def __init__(self) -> None:
        super().__init__()
        self.closings: dict[str, Closing] = {}
        self._booked: dict[CreditedKey, Booked] = {}

    async def booked(self, _tx: Tx, keys: Collection[CreditedKey]) -> dict[CreditedKey, Booked]:
        """What these months have in the books."""
        return {key: self._booked[key] for key in keys if key in self._booked}

    async def record_sheets(self, _tx: Tx, sheets: Sequence[Sheet]) -> None:
        """Keeps credits, journals and the work list, and moves the balances. Raises ValueError as Postgres would."""
        for piece, journal, credited, todo in sheets:
            self._book(journal)
            self.worklist += todo
            for one in credited:
                key = (one.member_id, piece.region, one.month)
                before = self._booked.get(key, Booked(0, 0, one.source))
                if before.run == piece.run:
                    raise ValueError("this run has credited this month")
                self._booked[key] = Booked(before.amount + one.amount, piece.run, one.source)
                self._move([(one.member_id, one.amount + one.recoverable + one.interest - one.late)])

    async def record_closing(self, _tx: Tx, closing: Closing) -> None:
        """Empties and closes an account. Raises Stop if it is closed already."""
        if closing.member_id in self.shut or closing.member_id not in self.accounts:
            raise Stop("the account is closed already, or was not opened and locked")
        self._book(closing.journal)
        self.shut.add(closing.member_id)
        self.closings[closing.member_id] = closing
        self._move([(closing.member_id, -closing.amount)])
