"""Account's third step: credits accounts by the commands of operators, piece by piece."""

from collections.abc import Sequence
from typing import Final

from services.account import commands
from services.account.commands import COMMANDS, Piece
from services.account.crediting import CreditingFacts, Sheet, book, keys_of
from services.account.crediting_store import CreditingStore
from shared.runtime.step import Filed, Record, Tx

PIECES_AT_ONCE: Final = 4  # a transaction's: its accounts are locked while it lasts, and claims wait for them


class CreditingStep:
    """Books what a run's pieces say, each month of a member once a run, whatever comes twice."""

    service = "account"
    topics = (COMMANDS,)
    outbox = None

    def __init__(self, store: CreditingStore) -> None:
        self._store = store

    def decode(self, record: Record) -> Piece:
        """Reads a piece. Raises Unreadable."""
        return commands.decode(record.value)

    def key(self, _event: Piece) -> None:
        """Pieces do not wait for each other."""

    async def load(self, tx: Tx, events: Sequence[Piece]) -> CreditingFacts:
        """The accounts, opened and locked; then what is booked for these months, and which accounts are closed."""
        members = {entry.member_id for piece in events for entry in piece.entries}
        balances = await self._store.balances(tx, members, ())
        return CreditingFacts(
            booked=await self._store.booked(tx, {key for piece in events for key in keys_of(piece)}),
            balances=balances,
            left=await self._store.left(tx, members),
            journal_ids=await self._store.journal_ids(tx, len(events)),
        )

    def decide(self, event: Piece, facts: CreditingFacts) -> Sheet | None:
        """See ``crediting.book``."""
        return book(event, facts)

    def announce(self, _decision: Sheet) -> None:
        """Nobody needs to know."""

    async def record(self, tx: Tx, filed: Sequence[Filed[Sheet]]) -> None:
        """Writes credits, journals, postings, the work list and balances."""
        await self._store.record_sheets(tx, [one.decision for one in filed])
