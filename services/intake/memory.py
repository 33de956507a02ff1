"""Intake's memory without a server: what ``gongji replay`` and the tests run on."""

from collections.abc import Collection, Sequence

from services.intake.number import Key, Number
from services.intake.store import Ruling, last_states
from shared.runtime.kept import Kept
from shared.runtime.step import Filed, Tx


class MemoryStore:
    """``services.intake.store.Store`` in two mappings. What ``open`` opens stays only once it is recorded."""

    def __init__(self, numbers: Kept[Key, Number] | None = None, rejections: Kept[str, bytes] | None = None) -> None:
        self._numbers: Kept[Key, Number] = {} if numbers is None else numbers
        self._opened: dict[Key, Number] = {}
        self._rejections: Kept[str, bytes] = {} if rejections is None else rejections

    async def open(self, tx: Tx, opening: Sequence[Number]) -> dict[Key, Number]:  # noqa: ARG002
        """Returns those of the numbers that stood before."""
        stood = {key: number for one in opening if (number := self._numbers.get(key := one.key)) is not None}
        self._opened = {number.key: number for number in opening if number.key not in stood}
        return stood

    async def rejections(self, tx: Tx, event_ids: Collection[str]) -> dict[str, bytes]:  # noqa: ARG002
        """The outcomes already given under these ids."""
        return {name: value for name in event_ids if (value := self._rejections.get(name)) is not None}

    async def unannounced(self, tx: Tx, events: Sequence[tuple[str, int]]) -> int:  # noqa: ARG002
        """None: in one process everything is announced at once."""
        return 0

    async def record(self, tx: Tx, filed: Sequence[Filed[Ruling]]) -> None:  # noqa: ARG002
        """Keeps what the batch opened and changed."""
        changed = {number.key: number for number in last_states(filed)}
        for key, number in (self._opened | changed).items():
            self._numbers[key] = number
        self._opened = {}
        for one in filed:
            rejection = one.decision.rejection
            if rejection is not None and one.decision.new_rejection:
                self._rejections[one.decision.event_id] = rejection.value
