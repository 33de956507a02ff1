"""The tables of account and crossregion over the books in memory, as ``stores`` has those of the others."""

from collections.abc import Collection, Iterator, Sequence
from datetime import UTC, datetime

import msgspec

from services.account.answer import Answer, Key, Settlement
from services.account.credits import Credited, CreditKey
from services.account.leaving import Left
from services.account.ledger import Journal
from services.crossregion.netting import matrix
from services.crossregion.routing import Key as ObligationKey
from services.crossregion.routing import Obligation
from services.crossregion.windows import Window
from shared.errors import Stop, UsageError
from shared.register import (
    AccountCredit,
)
from shared.runtime.step import Filed
from simulation.session import Connection
from simulation.statements import BALANCE, announce

OUTCOME, JOURNAL, CREDIT = "account.outcome", "account.journal", "account.credit"
OBLIGATION, WINDOW, ANNOUNCED = "crossregion.obligation", "crossregion.clearing_window", "crossregion.announced"
_BEGINNING = datetime(1970, 1, 1, tzinfo=UTC)


class AccountStore:
    """``services.account.store.Store``."""

    async def answers(self, tx: Connection, keys: Collection[Key]) -> dict[Key, Answer]:
        if not keys:
            return {}
        await tx.statement("account: answers")
        return {key: row for key in sorted(keys) if (row := tx.get(OUTCOME, key)) is not None}

    async def balances(self, tx: Connection, moving: Collection[str], shown: Collection[str]) -> dict[str, int]:
        await tx.statement("account: balances")
        for member_id in sorted(moving):
            if not await tx.insert_or_leave(BALANCE, member_id, 0):
                await tx.lock(BALANCE, member_id)
        found = {member_id: tx.get(BALANCE, member_id) for member_id in sorted({*moving, *shown})}
        return {member_id: balance for member_id, balance in found.items() if balance is not None}

    async def left(self, tx: Connection, members: Collection[str]) -> dict[str, Left]:  # noqa: ARG002 - nobody leaves here
        return {}

    async def journal_ids(self, tx: Connection, count: int) -> Iterator[int]:
        return iter([tx.books.next(JOURNAL) for _ in range(count)])

    async def credits(self, tx: Connection, keys: Collection[CreditKey]) -> dict[CreditKey, AccountCredit]:
        await tx.statement("account: credits")
        return {key: row for key in sorted(keys) if (row := tx.get(CREDIT, key)) is not None}

    async def record(self, tx: Connection, filed: Sequence[Filed[Settlement]]) -> None:
        await tx.statement("account: record")
        for one in filed:
            await tx.insert(OUTCOME, one.decision.answer.key, one.decision.answer)
            await self._book(tx, one.decision.journal)
        await announce(tx, OUTCOME, filed)
        self._move(tx, [move for one in filed for move in one.decision.moves])

    async def record_credits(self, tx: Connection, credited: Sequence[Credited]) -> None:
        await tx.statement("account: record credits")
        for credit, _, journal in credited:
            await tx.insert(CREDIT, (credit.member_id, credit.credit_no), credit)
            await self._book(tx, journal)
        self._move(tx, [(credit.member_id, credit.amount) for credit, _, _ in credited])

    async def _book(self, tx: Connection, journal: Journal | None) -> None:
        if journal is not None:
            await tx.insert(JOURNAL, (journal.issuer, journal.number, journal.kind, journal.revision), journal)

    def _move(self, tx: Connection, moves: Sequence[tuple[str, int]]) -> None:
        moved: dict[str, int] = {}
        for member_id, amount in moves:
            moved[member_id] = moved.get(member_id, 0) + amount
        for member_id, amount in moved.items():
            balance = tx.get(BALANCE, member_id)
            if balance is None:
                raise Stop("an account that moved was neither opened nor locked")
            tx.put(BALANCE, member_id, balance + amount)


class CrossregionStore:
    """``services.crossregion.store.Store``."""

    async def known(self, tx: Connection, keys: Collection[ObligationKey]) -> dict[ObligationKey, int]:
        await tx.statement("crossregion: known")
        rows = ((key, tx.get(OBLIGATION, key)) for key in sorted(keys))
        return {key: row.amount for key, row in rows if row is not None}

    async def open_window(self, tx: Connection) -> int:
        await tx.statement("crossregion: open window")
        number = max((key for key, _ in tx.all(WINDOW)), default=1)
        await tx.insert_or_leave(WINDOW, number, _opened(number, _BEGINNING))
        return number

    async def record(self, tx: Connection, filed: Sequence[Filed[Obligation]]) -> None:
        await tx.statement("crossregion: record")
        for one in filed:
            await tx.insert(OBLIGATION, one.decision.key, one.decision)
        await announce(tx, OBLIGATION, filed)

    async def close(self, tx: Connection, now: datetime) -> Window:
        number = await self.open_window(tx)
        await tx.lock(WINDOW, number)
        old = tx.get(WINDOW, number)
        tx.put(WINDOW, number, msgspec.structs.replace(old, closed_at=max(now, old.opened_at)))
        await tx.insert(WINDOW, number + 1, _opened(number + 1, now))
        return await self.window(tx, number)

    async def window(self, tx: Connection, window_id: int | None = None) -> Window:
        found = tx.get(WINDOW, window_id or max((key for key, _ in tx.all(WINDOW)), default=0))
        if found is None:
            raise UsageError(f"there is no clearing window {window_id or ''}".strip())
        shown: Window = msgspec.structs.replace(found, positions=matrix(await self.obligations(tx, found.window_id)))
        return shown

    async def obligations(self, tx: Connection, window_id: int) -> list[Obligation]:
        return sorted(row for _, row in tx.all(OBLIGATION) if row.window_id == window_id)

    async def unannounced(self, tx: Connection) -> list[int]:
        closed = (key for key, window in tx.all(WINDOW) if window.closed_at is not None)
        return sorted(key for key in closed if tx.get(ANNOUNCED, key) is None)

    async def announced(self, tx: Connection, window_ids: Sequence[int], now: datetime) -> None:
        for window_id in sorted(window_ids):
            await tx.insert_or_leave(ANNOUNCED, window_id, now)


def _opened(number: int, now: datetime) -> Window:
    return Window(window_id=number, opened_at=now, closed_at=None, positions=())
