"""What a service supplies to the loop: how to read a record, and four functions (architecture.md, section 2).

``load`` -> ``decide`` -> ``announce`` -> ``record``. The loop does the rest: leases, offsets, the inbox's transaction,
sequence numbers, relay, quarantine, retries. The same steps run in ``gongji replay`` over in-memory stores.
"""

from collections.abc import Sequence
from typing import Any, Generic, NamedTuple, Protocol, TypeVar

E = TypeVar("E")
F = TypeVar("F")
D = TypeVar("D")

Tx = Any  # an asyncpg connection inside the loop's transaction (it is never committed by a step); None in memory


class Record(NamedTuple):
    """One record as Kafka delivered it, undecoded."""

    topic: str
    partition: int
    offset: int
    timestamp_ms: int
    key: bytes | None
    value: bytes
    headers: tuple[tuple[str, bytes], ...] = ()


class Message(NamedTuple):
    """One event to announce. The partition follows from the part: part x partition count / 1024."""

    topic: str
    part: int
    key: bytes
    value: bytes


class Filed(NamedTuple, Generic[D]):
    """A decision with its place in the books: where its event came from, and its gapless number there.

    ``seq`` is None when nothing is announced.
    """

    decision: D
    topic: str
    partition: int
    offset: int
    seq: int | None
    message: Message | None


class Step(Protocol[E, F, D]):
    """One service's part of the path. ``E`` an event, ``F`` the facts of a batch, ``D`` a decision.

    ``outbox`` names the table that keeps the announced messages, one row a message, with the columns
    ``source_topic text, source_partition int, seq bigint, target text, part int, key bytea, value bytea``;
    None for a step without a table of its own: the loop announces, waits, and only then moves the offset.
    """

    @property
    def service(self) -> str: ...
    @property
    def topics(self) -> tuple[str, ...]: ...
    @property
    def outbox(self) -> str | None: ...

    def decode(self, record: Record) -> E:
        """Reads a record. Raises Unreadable for what can only become a dead letter."""
        ...

    def key(self, event: E) -> str | None:
        """What a quarantined predecessor holds back: the claim's natural key (``shared.identity.claim_key``)."""
        ...

    async def load(self, tx: Tx, events: Sequence[E]) -> F:
        """Everything ``decide`` needs for the batch: one query a table, rows locked in key order where they change."""
        ...

    def decide(self, event: E, facts: F) -> D | list[D] | None:
        """Pure, one event after the other in offset order, updating the facts. None: a duplicate, dropped silently.

        A list: several decisions of one event, filed and announced in this order, counted as one record.

        Anything it raises sends the event to quarantine, and the rest of the batch is decided anew without it.
        """
        ...

    def announce(self, decision: D) -> Message | None:
        """What the next service sees; None when nobody needs to know."""
        ...

    async def record(self, tx: Tx, filed: Sequence[Filed[D]]) -> None:
        """Writes the batch: one ``unnest`` or COPY statement a table, the outbox columns among them."""
        ...
