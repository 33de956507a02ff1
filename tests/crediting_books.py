"""Pieces of crediting runs for tests, and the step driven as the loop drives it."""

from collections.abc import Sequence
from datetime import date
from typing import Any, Literal

from account_books import HOME, NO_PACKS, Books

from services.account import commands
from services.account.commands import Entry, Piece, Rule
from services.account.crediting import Sheet
from services.account.crediting_memory import MemoryCreditingStore
from services.account.crediting_step import CreditingStep
from services.account.crediting_store import CreditingStore
from services.account.leaving import Asked, Choice, Closing, close
from shared.policy import Policies
from shared.policy.crediting import Source
from shared.runtime.step import Filed, Record

MONTH = "2023-05"
OWN, POOLED = Rule("130900:4", "contributions"), Rule("130900:4", "pooled")


def piece(
    run: int,
    *entries: tuple[str, int] | tuple[str, int, str],
    kind: Literal["monthly", "true_up"] = "monthly",
    source: Source = "contributions",
    interest_ppm: int = 0,
    back: bool = False,
    since_ppm: int = 0,
    title: str = "",
) -> Piece:
    """A piece: (member, fen due) or (member, fen due, month). ``back``: of members who are insured anew."""
    return Piece(
        run=run,
        kind=kind,
        region=HOME,
        rules=(Rule("130900:4", source),),
        entries=tuple(
            Entry(one[0], one[2] if len(one) > 2 else MONTH, one[1], None, 0, back, since_ppm, title) for one in entries
        ),
        interest_ppm=interest_ppm,
    )


class CreditBooks(Books):
    """Account's books with its crediting step and closings."""

    def __init__(self, store: CreditingStore | None = None, policies: Policies | None = None, tx: Any = None) -> None:
        self.credit_store: CreditingStore = store or MemoryCreditingStore()
        super().__init__(self.credit_store, policies or NO_PACKS, tx)
        self.crediting = CreditingStep(self.credit_store)

    async def run(self, *pieces: Piece) -> list[Sheet | None]:
        """Books a batch of pieces, as they come from the topic."""
        events = [self.crediting.decode(Record(commands.COMMANDS, 0, 0, 0, None, commands.encode(one))) for one in pieces]
        facts = await self.crediting.load(self.tx, events)
        sheets = [self.crediting.decide(event, facts) for event in events]
        filed: Sequence[Filed[Sheet]] = [Filed(one, commands.COMMANDS, 0, 0, None, None) for one in sheets if one is not None]
        await self.crediting.record(self.tx, filed)
        return sheets

    async def close(self, member: str, case: str = "died", disposal: str = "heirs") -> Closing:
        """Closes an account, as the command does."""
        balance = (await self.credit_store.balances(self.tx, {member}, ()))[member]
        number = next(await self.credit_store.journal_ids(self.tx, 1))
        closing = close(Asked(member, HOME, case, date(2023, 8, 1)), Choice(disposal, "130900:8"), balance, number)
        await self.credit_store.record_closing(self.tx, closing)
        return closing
