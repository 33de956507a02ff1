"""Outcomes on their way back to the requests that wait for them, by the ids that an answer can have."""

import asyncio
from collections.abc import Collection, Sequence
from typing import Final

# Quotation marks inside a JSON string are escaped, so this stands nowhere but where the outcome's own id does.
_BEFORE_ID: Final = b'"event_id":"'
_ID_LENGTH: Final = 32

Reply = tuple[str, bytes]  # event id, outcome
Heard = asyncio.Queue[Reply | None]  # None: the process ends, go home


class Replies:
    """Who waits for which outcome. One request may wait for many ids; several requests for one."""

    def __init__(self) -> None:
        self._waiting: dict[str, set[Heard]] = {}
        self.wanted = asyncio.Event()  # set while anybody waits
        self.over = asyncio.Event()  # the process ends

    def hear(self, values: Sequence[bytes]) -> None:
        """Hands outcomes to whoever waits; what nobody waits for costs a search for its id."""
        for value in values if self._waiting else ():
            start = value.rfind(_BEFORE_ID) + len(_BEFORE_ID)
            identity = value[start : start + _ID_LENGTH].decode("ascii", "replace")
            for heard in self._waiting.get(identity, ()):
                heard.put_nowait((identity, value))

    def expect(self, ids: Collection[str]) -> Heard:
        """A queue of what is heard under these ids, until ``forget``."""
        heard: Heard = asyncio.Queue()
        for identity in ids:
            self._waiting.setdefault(identity, set()).add(heard)
        self.wanted.set()
        if self.over.is_set():
            heard.put_nowait(None)
        return heard

    def forget(self, ids: Collection[str], heard: Heard) -> None:
        """Nobody waits with this queue any more."""
        for identity in ids:
            queues = self._waiting.get(identity, set())
            queues.discard(heard)
            if not queues:
                self._waiting.pop(identity, None)
        if not self._waiting:
            self.wanted.clear()

    def close(self) -> None:
        """Sends everybody home who waits now or comes later."""
        self.over.set()
        for heard in {queue for queues in self._waiting.values() for queue in queues}:
            heard.put_nowait(None)
