"""The books of account in memory, for ``gongji replay``: one history, no concurrency, no rollback."""

from collections.abc import Collection, Iterable, Iterator, Sequence
from itertools import count, islice

from services.account.answer import Answer, Key, Settlement
from services.account.credits import Credited, CreditKey
from services.account.leaving import Left
from services.account.ledger import Journal
from services.account.worklist import Todo
from shared.register import AccountCredit
from shared.runtime.kept import Kept
from shared.runtime.step import Filed, Tx


class MemoryStore:
    """``services.account.store.Store`` in mappings; ``tx`` is ignored.

    Without ``keeps_journals`` they are made and dropped: a replay answers, and shows no ledger.
    """

    def __init__(self, answers: Kept[Key, Answer] | None = None, *, keeps_journals: bool = True) -> None:
        self.accounts: dict[str, int] = {}  # fen by member
        self.journals: dict[tuple[str, str, str, int], Journal] = {}  # by natural key
        self.leavers: dict[str, Left] = {}  # members whose accounts are closed, or were
        self.worklist: list[Todo] = []
        self._answers: Kept[Key, Answer] = {} if answers is None else answers
        self._keeps_journals = keeps_journals
        self._credits: dict[CreditKey, AccountCredit] = {}
        self._numbers = count(1)

    async def answers(self, _tx: Tx, keys: Collection[Key]) -> dict[Key, Answer]:
        """The outcomes kept under these keys."""
        found = {key: self._answers.get(key) for key in keys}
        return {key: answer for key, answer in found.items() if answer is not None}

    async def balances(self, _tx: Tx, moving: Collection[str], shown: Collection[str]) -> dict[str, int]:
        """Balances (fen) by member."""
        for member_id in moving:
            self.accounts.setdefault(member_id, 0)
        return {member: self.accounts[member] for member in (*moving, *shown) if member in self.accounts}

    async def left(self, _tx: Tx, members: Collection[str]) -> dict[str, Left]:
        """Which of these members' accounts are closed, or were."""
        return {member_id: self.leavers[member_id] for member_id in members if member_id in self.leavers}

    async def journal_ids(self, _tx: Tx, count: int) -> Iterator[int]:
        """So many new journal numbers."""
        return islice(self._numbers, count)

    async def credits(self, _tx: Tx, keys: Collection[CreditKey]) -> dict[CreditKey, AccountCredit]:
        """The credits booked under these keys."""
        return {key: self._credits[key] for key in keys if key in self._credits}

    async def record(self, _tx: Tx, filed: Sequence[Filed[Settlement]]) -> None:
        """Keeps outcomes and journals, and moves the balances. Raises ValueError as Postgres would."""
        for one in filed:
            answer = one.decision.answer
            if answer.key in self._answers:
                raise ValueError("this key has its answer")
            self._answers[answer.key] = answer
            self._book(one.decision.journal)
            self.worklist += one.decision.todo
        self._move(move for one in filed for move in one.decision.moves)

    async def record_credits(self, _tx: Tx, credited: Sequence[Credited]) -> None:
        """Keeps credits and their journals, and adds them to the balances. Raises ValueError."""
        for credit, _, journal in credited:
            key = (credit.member_id, credit.credit_no)
            if key in self._credits:
                raise ValueError("this credit is booked")
            self._credits[key] = credit
            self._book(journal)
        self._move((credit.member_id, credit.amount) for credit, _, _ in credited)

    def _book(self, journal: Journal | None) -> None:
        if journal is None or not self._keeps_journals:
            return
        key = (journal.issuer, journal.number, journal.kind, journal.revision)
        if key in self.journals:
            raise ValueError("this journal is booked")
        self.journals[key] = journal

    def _move(self, moves: Iterable[tuple[str, int]]) -> None:
        for member_id, amount in moves:
            self.accounts[member_id] += amount
            if self.accounts[member_id] < 0:
                raise ValueError("a balance is never negative")
