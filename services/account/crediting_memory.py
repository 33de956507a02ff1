"""The books of crediting and closing in memory: the same as ``crediting_store``, for tests and trials of thought."""

from collections.abc import Collection, Sequence

from services.account.crediting import Booked, CreditedKey, Sheet
from services.account.leaving import Closing, Left
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
        for piece, journal, credited, todo, opened in sheets:
            self._book(journal)
            for account in opened:
                self.leavers[account.member_id] = self.leavers[account.member_id]._replace(closed=False)
            self.worklist += todo
            for one in credited:
                key = (one.member_id, piece.region, one.month, one.title)
                before = self._booked.get(key, Booked(0, 0, one.source, journal.journal_id))
                if before.run == piece.run:
                    raise ValueError("this run has credited this month")
                self._booked[key] = Booked(before.amount + one.amount, piece.run, one.source, before.first)
                self._move([(one.member_id, one.amount + one.recoverable + one.interest - one.late)])

    async def record_closing(self, _tx: Tx, closing: Closing) -> None:
        """Empties and closes an account. Raises Stop if it is closed already."""
        before = self.leavers.get(closing.member_id)
        if closing.member_id not in self.accounts or (before is not None and before.closed):
            raise Stop("the account is closed already, or was not opened and locked")
        self._book(closing.journal)
        self.leavers[closing.member_id] = Left(True, closing.number, closing.choice.article)
        self.closings[closing.member_id] = closing
        self._move([(closing.member_id, -closing.amount)])
