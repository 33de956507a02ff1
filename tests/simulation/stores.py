"""The tables of intake, the register and adjudication over the books in memory, behind the services' own ``Store`` protocols.

Locks are taken where the real stores take them, in the same order; what a table's constraints refuse, these refuse too.
"""

from collections.abc import Callable, Collection, Iterable, Sequence
from typing import TypeVar

from services.adjudication.counters import Counter, CounterKey
from services.adjudication.store import ClaimKey, InboxKey, Ruling, counters_of, stored, touched, whose
from services.eligibility.store import IDENTITIES, latest
from services.intake import store as intake
from services.intake.number import Number
from shared.errors import Retry
from shared.events import decode
from shared.policy import Version
from shared.register import (
    CatalogueItem,
    FamilyLink,
    InpatientStay,
    Institution,
    Member,
    RegisterRecord,
    RemoteFiling,
)
from shared.runtime.step import Filed
from simulation.session import Connection
from simulation.statements import COUNTER, LEASE, announce

R = TypeVar("R")

SUBMISSION, REJECTION, OUTGOING = "intake.submission", "intake.rejection", "intake.outgoing"
DECISION, PACK = "adjudication.decision", "adjudication.pack"


class IntakeStore:
    """``services.intake.store.Store``."""

    async def open(self, tx: Connection, opening: Sequence[Number]) -> dict[tuple[str, str], Number]:
        if not opening:
            return {}
        numbers = {number.key: number for number in opening}
        await tx.statement("intake: open numbers")
        stood = [key for key in sorted(numbers) if not await tx.insert_or_leave(SUBMISSION, key, numbers[key])]
        if not stood:
            return {}
        await tx.statement("intake: lock numbers")
        for key in stood:
            await tx.lock(SUBMISSION, key)
        return {key: tx.get(SUBMISSION, key) for key in stood}

    async def rejections(self, tx: Connection, event_ids: Collection[str]) -> dict[str, bytes]:
        if not event_ids:
            return {}
        await tx.statement("intake: rejections")
        return {name: value for name in sorted(event_ids) if (value := tx.get(REJECTION, name)) is not None}

    async def unannounced(self, tx: Connection, events: Sequence[tuple[str, int]]) -> int:
        await tx.statement("intake: unannounced")
        relayed = {key[1:]: row["relayed_seq"] for key, row in tx.all(LEASE) if key[0] == "intake"}
        return sum(
            any(event_id == name and number != asked for name, asked in events)
            for (topic, number, seq), event_id in tx.all(OUTGOING)
            if seq > relayed.get((topic, number), seq)
        )

    async def record(self, tx: Connection, filed: Sequence[Filed[intake.Ruling]]) -> None:
        await tx.statement("intake: record")
        for number in intake.last_states(filed):
            await tx.lock(SUBMISSION, number.key)
            tx.put(SUBMISSION, number.key, number)
        new = sorted((one.decision.event_id, one.decision.message.value) for one in filed if one.decision.new_rejection)
        done = [await tx.insert_or_leave(REJECTION, event_id, value) for event_id, value in new]
        if not all(done):
            raise Retry("a rejection was given by another partition at the same time")
        for one in filed:
            await tx.insert(OUTGOING, (one.topic, one.partition, one.seq), one.decision.event_id)
        await announce(tx, OUTGOING, filed)


class RegisterStore:
    """``services.eligibility.store.Store``."""

    async def members(self, tx: Connection, member_ids: Sequence[str]) -> list[Member]:
        return await self._where(tx, Member, lambda row: row.member_id in member_ids)

    async def institutions(self, tx: Connection, institution_ids: Sequence[str]) -> list[Institution]:
        named = await self._where(tx, Institution, lambda row: row.institution_id in institution_ids)
        hosts = {row.host_institution_id for row in named} - set(institution_ids)
        return named + self._rows(tx, Institution, lambda row: row.institution_id in hosts)

    async def links(self, tx: Connection, pairs: Sequence[tuple[str, str]]) -> list[FamilyLink]:
        return await self._where(tx, FamilyLink, lambda row: (row.holder_id, row.beneficiary_id) in pairs)

    async def filings(self, tx: Connection, member_ids: Sequence[str]) -> list[RemoteFiling]:
        return await self._where(tx, RemoteFiling, lambda row: row.member_id in member_ids)

    async def stays(self, tx: Connection, member_ids: Sequence[str]) -> list[InpatientStay]:
        return await self._where(tx, InpatientStay, lambda row: row.member_id in member_ids)

    async def items(self, tx: Connection, keys: Sequence[tuple[str, str]]) -> list[CatalogueItem]:
        return await self._where(tx, CatalogueItem, lambda row: (row.region, row.code) in keys)

    async def keep(self, tx: Connection, records: Sequence[RegisterRecord]) -> None:
        for kind, rows in latest(records).items():
            await tx.statement(f"register: {kind.__name__}")
            for row in rows:
                key = IDENTITIES[kind](row)
                await tx.lock(kind.__name__, key)
                tx.put(kind.__name__, key, row)

    async def _where(self, tx: Connection, kind: type[R], wanted: Callable[[R], bool]) -> list[R]:
        await tx.statement(f"register: {kind.__name__}")
        return self._rows(tx, kind, wanted)

    def _rows(self, tx: Connection, kind: type[R], wanted: Callable[[R], bool]) -> list[R]:
        return [row for _, row in tx.all(kind.__name__) if wanted(row)]


_PAST = {"claim", "reversal"}


class AdjudicationStore:
    """``services.adjudication.store.Store``, and what the projection asks."""

    async def known(
        self, tx: Connection, inbox: Sequence[InboxKey], originals: Sequence[ClaimKey]
    ) -> tuple[set[InboxKey], dict[ClaimKey, bytes]]:
        await tx.statement("adjudication: known")
        found = {}
        for claim in originals:
            for kind in ("claim", "account_use"):
                revision = 0
                while (row := tx.get(DECISION, (*claim, kind, revision))) is not None:
                    found[claim] = stored(row[0])
                    revision += 1
        return {key for key in inbox if tx.get(DECISION, key) is not None}, found

    async def history(self, tx: Connection, members: Sequence[str]) -> list[tuple[str, bytes]]:
        await tx.statement("adjudication: history")
        rows = sorted((row for _, row in tx.all(DECISION)), key=lambda row: row[1])
        events = ((one.decision.event, stored(one)) for one, _ in rows)
        return [(event.member_id, value) for event, value in events if event.member_id in members and event.kind in _PAST]

    async def counters(self, tx: Connection, keys: Iterable[CounterKey]) -> dict[CounterKey, Counter]:
        wanted = sorted(set(keys))
        if not wanted:
            return {}
        await tx.statement("adjudication: counters")
        for key in wanted:
            if not await tx.insert_or_leave(COUNTER, key, Counter()):
                await tx.lock(COUNTER, key)
        return {key: tx.get(COUNTER, key) for key in wanted}

    async def standing(self, tx: Connection, members: Sequence[str]) -> list[tuple[str, str, ClaimKey]]:
        await tx.statement("adjudication: standing")
        rulings = [one.decision for _, (one, _) in tx.all(DECISION)]
        reversed_ = {
            _claim(ruling) for ruling in rulings if ruling.event.decision and ruling.event.decision.outcome == "reversed"
        }
        return [
            (*whose(ruling.event), _claim(ruling))
            for ruling in rulings
            if ruling.latest_first and ruling.event.member_id in members and _claim(ruling) not in reversed_
        ]

    async def record(self, tx: Connection, filed: Sequence[Filed[Ruling]]) -> None:
        await tx.statement("adjudication: record")
        for one in filed:
            await tx.insert(DECISION, one.decision.event.inbox_key, (one, tx.books.next(DECISION)))
        await announce(tx, DECISION, filed)
        for key, counter in sorted(counters_of(filed).items()):
            await tx.lock(COUNTER, key)
            tx.put(COUNTER, key, counter)

    async def changed_above(
        self, tx: Connection, topic: str, partition: int, seq: int, *, limit: int
    ) -> tuple[list[tuple[CounterKey, Counter]], int | None]:
        await tx.statement("adjudication: changed above")
        page = sorted(
            (at, message.value)
            for (source, number, at), message in tx.all(f"{DECISION} by seq")
            if (source, number) == (topic, partition) and at > seq and _stands(message.value)
        )[:limit]
        changed = await self.read(tx, {key for _, value in page for key in touched(value)})
        return list(changed.items()), page[-1][0] if len(page) == limit else None

    async def read(self, tx: Connection, keys: Iterable[CounterKey]) -> dict[CounterKey, Counter]:
        await tx.statement("adjudication: read counters")
        return {key: row for key in sorted(set(keys)) if (row := tx.get(COUNTER, key)) is not None}

    async def keep_packs(self, tx: Connection, versions: Iterable[Version]) -> None:
        for version in versions:
            await tx.insert_or_leave(PACK, version.ref.hash, version)

    async def pack(self, tx: Connection, content_hash: str) -> Version | None:
        version = tx.get(PACK, content_hash)
        return None if version is None else Version.restore(version.content)


def _claim(ruling: Ruling) -> ClaimKey:
    return ruling.event.institution_id, ruling.event.claim_no


def _stands(value: bytes) -> bool:
    decision = decode(value).decision
    return decision is not None and decision.outcome != "rejected"
