"""Intake's memory without a server: what ``gongji replay`` and the tests run on."""

from collections.abc import Collection, Sequence

from services.intake.number import Key, Number
from services.intake.store import Ruling, last_states
from shared.runtime.step import Filed, Tx


class MemoryStore:
    """``services.intake.store.Store`` in two dictionaries. What ``open`` opens stays only once it is recorded."""

    def __init__(self) -> None:
        self._numbers: dict[Key, Number] = {}
        self._opened: dict[Key, Number] = {}
        self._rejections: dict[str, bytes] = {}

    async def open(self, tx: Tx, opening: Sequence[Number]) -> dict[Key, Number]:  # noqa: ARG002
        """Returns those of the numbers that stood before."""
        self._opened = {number.key: number for number in opening if number.key not in self._numbers}
        return {number.key: self._numbers[number.key] for number in opening if number.key in self._numbers}

    async def rejections(self, tx: Tx, event_ids: Collection[str]) -> dict[str, bytes]:  # noqa: ARG002
        """The outcomes already given under these ids."""
        return {name: self._rejections[name] for name in event_ids if name in self._rejections}

    async def record(self, tx: Tx, filed: Sequence[Filed[Ruling]]) -> None:  # noqa: ARG002
        """Keeps what the batch opened and changed."""
        self._numbers |= self._opened
        self._opened = {}
        self._numbers |= {number.key: number for number in last_states(filed)}
        for one in filed:
            if one.decision.new_rejection:
                self._rejections[one.decision.event_id] = one.decision.message.value
