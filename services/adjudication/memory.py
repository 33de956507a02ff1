"""The same store in memory, for ``gongji replay`` and tests; it passes the suite the real one passes."""

from collections.abc import Iterable, Sequence

import msgspec

from services.adjudication.counters import Counter, CounterKey
from services.adjudication.store import ClaimKey, InboxKey, Ruling, counters_of, whose
from shared.events import Event, encode
from shared.policy import Version
from shared.runtime.kept import Kept
from shared.runtime.step import Filed, Tx


class MemoryStore:
    """Mappings. ``tx`` is ignored: a batch is decided before anything is written.

    ``visits``: the accumulators of single visits, which grow with the claims and not with the members.
    """

    def __init__(self, events: Kept[InboxKey, bytes] | None = None, visits: Kept[CounterKey, Counter] | None = None) -> None:
        self._events: Kept[InboxKey, bytes] = {} if events is None else events
        self._visits: Kept[CounterKey, Counter] = {} if visits is None else visits
        self._counters: dict[CounterKey, Counter] = {}
        self._standing: dict[ClaimKey, tuple[str, str]] = {}
        self._packs: dict[str, bytes] = {}
        self._past: list[tuple[str, str, bytes]] | None = [] if events is None else None  # a replay never looks back

    async def known(
        self, tx: Tx, inbox: Sequence[InboxKey], originals: Sequence[ClaimKey]
    ) -> tuple[set[InboxKey], dict[ClaimKey, bytes]]:
        """See ``Store``."""
        del tx
        events = self._events
        found: dict[ClaimKey, bytes] = {}
        for institution_id, claim_no in originals:
            for kind in ("claim", "account_use"):
                revision = 0
                while (value := events.get((institution_id, claim_no, kind, revision))) is not None:
                    found[institution_id, claim_no] = value
                    revision += 1
        return {key for key in inbox if key in events}, found

    async def history(self, tx: Tx, members: Sequence[str]) -> list[tuple[str, bytes]]:
        """See ``Store``."""
        del tx
        assert self._past is not None, "this store was made for a replay"
        return [(who, value) for who, kind, value in self._past if who in members and kind in {"claim", "reversal"}]

    async def counters(self, tx: Tx, keys: Iterable[CounterKey]) -> dict[CounterKey, Counter]:
        """See ``Store``."""
        del tx
        zero = Counter()
        return {key: self._shelf(key).get(key) or zero for key in keys}

    async def standing(self, tx: Tx, members: Sequence[str]) -> list[tuple[str, str, ClaimKey]]:
        """See ``Store``."""
        del tx
        return [(who, period, claim) for claim, (who, period) in self._standing.items() if who in members]

    async def record(self, tx: Tx, filed: Sequence[Filed[Ruling]]) -> None:
        """See ``Store``."""
        del tx
        for key, counter in counters_of(filed).items():
            self._shelf(key)[key] = counter
        for item in filed:
            event, decision = item.decision.event, item.decision.event.decision
            value = b"" if event.kind == "question" else self._kept(event)
            self._events[event.inbox_key] = value
            if self._past is not None:
                self._past.append((event.member_id, event.kind, value))
            claim = (event.institution_id, event.claim_no)
            if decision is not None and decision.outcome == "reversed":
                self._standing.pop(claim, None)
            elif decision is not None and item.decision.latest_first:
                self._standing[claim] = whose(event)

    def _kept(self, event: Event) -> bytes:
        """A reversal takes back a decision; the verdict is for whoever looks back further, which a replay never does."""
        return encode(event if self._past is not None else msgspec.structs.replace(event, verdict=None))

    def _shelf(self, key: CounterKey) -> Kept[CounterKey, Counter]:
        return self._visits if key.name.startswith("visit.") else self._counters

    async def keep_packs(self, tx: Tx, versions: Iterable[Version]) -> None:
        """See ``Store``."""
        del tx
        self._packs.update((version.ref.hash, version.content) for version in versions)

    async def pack(self, tx: Tx, content_hash: str) -> Version | None:
        """See ``Store``."""
        del tx
        content = self._packs.get(content_hash)
        return None if content is None else Version.restore(content)
