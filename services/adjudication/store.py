"""Adjudication's tables: decisions (inbox, outbox and grounds in one), accumulators, packs.

Locks: accumulators in the order of their key. One statement a table for the whole batch.
"""

from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple, Protocol

from services.adjudication.counters import Counter, CounterKey, over
from services.adjudication.engine import reversal_keys
from shared.errors import Stop
from shared.events import Decision, Event, decode, encode
from shared.identity import part_of
from shared.policy import Version
from shared.runtime.step import Filed, Tx

InboxKey = tuple[str, str, str, int]
ClaimKey = tuple[str, str]  # institution, claim number


class Ruling(NamedTuple):
    """What adjudication decides on one event: the event with its decision, and the accumulators as they are then."""

    event: Event
    changes: tuple[tuple[CounterKey, Counter], ...] = ()
    latest_first: bool = False  # the pack refuses to cancel this claim while a later one stands


class Store(Protocol):
    """What the step needs kept."""

    async def known(
        self, tx: Tx, inbox: Sequence[InboxKey], originals: Sequence[ClaimKey]
    ) -> tuple[set[InboxKey], dict[ClaimKey, bytes]]:
        """Which inbox keys are there already; and of the claims named, the stored event, of its latest revision."""
        ...

    async def history(self, tx: Tx, members: Sequence[str]) -> list[tuple[str, bytes]]:
        """(member, stored event) of every decision on their claims and reversals, oldest first."""
        ...

    async def counters(self, tx: Tx, keys: Iterable[CounterKey]) -> dict[CounterKey, Counter]:
        """The accumulators, locked in key order; what was never used is there as zero."""
        ...

    async def standing(self, tx: Tx, members: Sequence[str]) -> list[tuple[str, str, ClaimKey]]:
        """(member, city's period, claim) of settled claims that were not reversed, oldest first, where a pack asks for it."""
        ...

    async def record(self, tx: Tx, filed: Sequence[Filed[Ruling]]) -> None:
        """Writes a batch: its decisions, and the accumulators they changed."""
        ...

    async def keep_packs(self, tx: Tx, versions: Iterable[Version]) -> None:
        """Stores packs by their content hash; those that are there stay."""
        ...

    async def pack(self, tx: Tx, content_hash: str) -> Version | None:
        """The version stored under a hash."""
        ...


def counters_of(filed: Sequence[Filed[Ruling]]) -> dict[CounterKey, Counter]:
    """The accumulators a batch changed, each as the batch left it."""
    return {key: counter for item in filed for key, counter in item.decision.changes}


def whose(decided: Event) -> tuple[str, str]:
    """The member and the city's period that a decision is of."""
    decision = decided.decision
    assert decision is not None
    return decided.member_id, over("" if decision.policy is None else decision.policy.region, decision.period)


def touched(value: bytes) -> tuple[CounterKey, ...]:
    """The accumulators that a stored event's decision (and the one it replaces) rested on or moved."""
    event = decode(value)
    if event.claim is None or event.decision is None:
        return ()
    before = () if event.replaces is None else reversal_keys(event.claim, event.replaces)
    return (*before, *reversal_keys(event.claim, event.decision))


class PostgresStore:
    """The real one. ``tx`` is an asyncpg connection inside the loop's transaction."""

    async def known(
        self, tx: Tx, inbox: Sequence[InboxKey], originals: Sequence[ClaimKey]
    ) -> tuple[set[InboxKey], dict[ClaimKey, bytes]]:
        """See ``Store``."""
        rows = await tx.fetch(_KNOWN, *_columns(inbox, 4))
        found = {(row[0], row[1], row[2], row[3]) for row in rows}
        if not originals:
            return found, {}
        rows = await tx.fetch(_ORIGINALS, *_columns(originals, 2))
        return found, {(row[0], row[1]): row[2] for row in rows}

    async def history(self, tx: Tx, members: Sequence[str]) -> list[tuple[str, bytes]]:
        """See ``Store``."""
        return [(row[0], row[1]) for row in await tx.fetch(_HISTORY, list(members))]

    async def counters(self, tx: Tx, keys: Iterable[CounterKey]) -> dict[CounterKey, Counter]:
        """See ``Store``."""
        wanted = sorted(set(keys))
        if not wanted:
            return {}
        columns = _columns(wanted, 3)
        await tx.execute(_ZEROES, *columns, [part_of(key.member_id) for key in wanted])
        rows = await tx.fetch(_LOCKED, *columns)
        return {CounterKey(row[0], row[1], row[2]): Counter(row[3], row[4], row[5]) for row in rows}

    async def standing(self, tx: Tx, members: Sequence[str]) -> list[tuple[str, str, ClaimKey]]:
        """See ``Store``."""
        rows = await tx.fetch(_STANDING, list(members))
        return [(row[0], over(row[1], row[2]), (row[3], row[4])) for row in rows]

    async def record(self, tx: Tx, filed: Sequence[Filed[Ruling]]) -> None:
        """See ``Store``. Raises Stop for an accumulator that is not there."""
        await tx.copy_records_to_table(
            "decision", schema_name="adjudication", columns=_DECISION, records=[_row(item) for item in filed]
        )
        changed = sorted(counters_of(filed).items())
        if changed:
            keys = _columns([key for key, _ in changed], 3)
            done = await tx.execute(_BOOK, *keys, *_columns([counter for _, counter in changed], 3))
            if done != f"UPDATE {len(changed)}":
                raise Stop("an accumulator that moved was neither opened nor locked")

    async def changed_above(
        self, tx: Tx, topic: str, partition: int, seq: int, *, limit: int
    ) -> tuple[list[tuple[CounterKey, Counter]], int | None]:
        """The accumulators, as they are now, that the next decisions above a sequence number touched (for the cache).

        With them the number of the last of these decisions; None where no more are left.
        """
        page = await tx.fetch(_ABOVE, topic, partition, seq, limit)
        changed = await self.read(tx, {key for row in page for key in touched(row[1])})
        return list(changed.items()), page[-1][0] if len(page) == limit else None

    async def read(self, tx: Tx, keys: Iterable[CounterKey]) -> dict[CounterKey, Counter]:
        """The accumulators that are there, as they are now; nothing is locked."""
        rows = await tx.fetch(_READ, *_columns(sorted(set(keys)), 3))
        return {CounterKey(row[0], row[1], row[2]): Counter(row[3], row[4], row[5]) for row in rows}

    async def keep_packs(self, tx: Tx, versions: Iterable[Version]) -> None:
        """See ``Store``."""
        for version in versions:
            ref = version.ref
            await tx.execute(_KEEP_PACK, ref.hash, ref.region, ref.version, version.content)

    async def pack(self, tx: Tx, content_hash: str) -> Version | None:
        """See ``Store``."""
        content = await tx.fetchval("select content from adjudication.pack where hash = $1", content_hash)
        return None if content is None else Version.restore(content)


_DECISION = (
    "institution_id",
    "claim_no",
    "kind",
    "revision",
    "member_id",
    "part",
    "visited_on",
    "period",
    "outcome",
    "latest_first",
    "total",
    "own_paid",
    "over_limit",
    "pre_self_pay",
    "in_scope",
    "deductible",
    "pooled",
    "large_expense",
    "civil_servant",
    "veterans",
    "pack_hash",
    "source_topic",
    "source_partition",
    "seq",
    "target",
    "key",
    "value",
)
_NO_DECISION = Decision(outcome="")


def _row(item: Filed[Ruling]) -> tuple[Any, ...]:
    event, message = item.decision.event, item.message
    decision = event.decision or _NO_DECISION
    claim = event.claim
    return (
        *event.inbox_key,
        event.member_id,
        part_of(event.member_id),
        None if claim is None else claim.visited_on,
        decision.period,
        decision.outcome or None,
        item.decision.latest_first,
        decision.total,
        decision.own_paid,
        decision.over_limit,
        decision.pre_self_pay,
        decision.in_scope,
        decision.deductible,
        decision.pooled,
        decision.large_expense,
        decision.civil_servant,
        decision.veterans,
        None if decision.policy is None else decision.policy.hash,
        item.topic,
        item.partition,
        item.seq,
        None if message is None else message.topic,
        None if message is None else message.key,
        stored(item),
    )


def stored(item: Filed[Ruling]) -> bytes:
    """The event as it is kept: as it was announced, or, where nobody is told (a command), as it is."""
    return encode(item.decision.event) if item.message is None else item.message.value


def _columns(rows: Sequence[Sequence[Any]], width: int) -> list[list[Any]]:
    """Rows as the columns that ``unnest`` takes."""
    return [[row[column] for row in rows] for column in range(width)]


_KNOWN = """
select institution_id, claim_no, kind, revision
  from unnest($1::text[], $2::text[], $3::text[], $4::int[]) as q (institution_id, claim_no, kind, revision)
  join adjudication.decision using (institution_id, claim_no, kind, revision)
"""
# ``offset 0`` keeps each look-up to its key: joined freely, a plan made over an empty table reads every decision a batch.
_ORIGINALS = """
select q.institution_id, q.claim_no, d.value
  from unnest($1::text[], $2::text[]) as q (institution_id, claim_no)
 cross join lateral (
    select revision, value from adjudication.decision
     where institution_id = q.institution_id and claim_no = q.claim_no and kind in ('claim', 'account_use') offset 0
 ) as d
 order by d.revision
"""
_HISTORY = """
select d.member_id, d.value
  from unnest($1::text[]) as q (member_id)
 cross join lateral (
    select member_id, ordinal, value from adjudication.decision
     where member_id = q.member_id and kind in ('claim', 'reversal') offset 0
 ) as d
 order by d.ordinal
"""
_ZEROES = """
insert into adjudication.counter (member_id, period, name, part, used, version)
select member_id, period, name, part, 0, 0
  from unnest($1::text[], $2::text[], $3::text[], $4::int[]) as q (member_id, period, name, part)
    on conflict do nothing
"""
_LOCKED = """
select member_id, period, name, used, ceiling, version
  from unnest($1::text[], $2::text[], $3::text[]) as q (member_id, period, name)
  join adjudication.counter using (member_id, period, name)
 order by member_id, period, name
   for update of counter
"""
_READ = """
select member_id, period, name, used, ceiling, version
  from unnest($1::text[], $2::text[], $3::text[]) as q (member_id, period, name)
  join adjudication.counter using (member_id, period, name)
"""
_BOOK = """
update adjudication.counter c
   set used = q.used, ceiling = q.ceiling, version = q.version
  from unnest($1::text[], $2::text[], $3::text[], $4::bigint[], $5::bigint[], $6::bigint[])
    as q (member_id, period, name, used, ceiling, version)
 where (c.member_id, c.period, c.name) = (q.member_id, q.period, q.name)
"""
_STANDING = """
select member_id, (select region from adjudication.pack where hash = d.pack_hash), period, institution_id, claim_no
  from adjudication.decision d
 where latest_first and member_id = any($1::text[])
   and not exists (select from adjudication.decision r
                    where (r.institution_id, r.claim_no, r.kind, r.outcome)
                        = (d.institution_id, d.claim_no, 'reversal', 'reversed') offset 0)
 order by ordinal
"""
_ABOVE = """
select seq, value from adjudication.decision
 where source_topic = $1 and source_partition = $2 and seq > $3 and outcome <> 'rejected'
 order by seq limit $4
"""
_KEEP_PACK = """
insert into adjudication.pack (hash, region, version, content) values ($1, $2, $3, $4) on conflict do nothing
"""
