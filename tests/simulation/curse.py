"""Steps that fail on some claims until they are mended: a bug in ``decide`` or ``load``, a row that a constraint refuses."""

from collections.abc import Mapping, Sequence
from typing import Any

import asyncpg

from shared.runtime.step import Filed, Message, Record, Step, Tx
from simulation.feed import Curse


class _Cursed:
    """A step like the one it wraps, except for the claims that are cursed with its service."""

    def __init__(self, step: Step[Any, Any, Any], curses: Mapping[str, Curse]) -> None:
        self._step = step
        self._curses = curses
        self._refused: list[Any] = []  # decisions whose rows a constraint will not have
        self.service, self.topics, self.outbox = step.service, step.topics, step.outbox

    def decode(self, record: Record) -> Any:
        return self._step.decode(record)

    def key(self, event: Any) -> str | None:
        return self._step.key(event)

    async def load(self, tx: Tx, events: Sequence[Any]) -> Any:
        if any(self._hits(event, "load") for event in events):
            raise ValueError("load stumbles")
        return await self._step.load(tx, events)

    def decide(self, event: Any, facts: Any) -> Any:
        if self._hits(event, "decide"):
            raise ValueError("decide stumbles")
        decision = self._step.decide(event, facts)
        if self._hits(event, "record"):
            self._refused.append(decision)
        return decision

    def announce(self, decision: Any) -> Message | None:
        return self._step.announce(decision)

    async def record(self, tx: Tx, filed: Sequence[Filed[Any]]) -> None:
        if any(one.decision is refused for one in filed for refused in self._refused):
            raise asyncpg.CheckViolationError("a constraint refuses the row")
        await self._step.record(tx, filed)

    def _hits(self, event: Any, flavour: str) -> bool:
        curse = self._curses.get(self._step.key(event) or "")
        return curse == Curse(self.service, flavour) and getattr(event, "kind", "") == "claim"


def cursed(step: Step[Any, Any, Any], curses: Mapping[str, Curse]) -> Step[Any, Any, Any]:
    """The step itself where nothing is cursed."""
    return _Cursed(step, curses) if curses else step
