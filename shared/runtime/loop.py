"""The loop: one batch, one transaction, one commit; then project, announce, mark (architecture.md, section 2).

fetch -> decode -> [ lock leases -> load -> decide -> record -> move offsets ] commit -> project -> announce -> mark

It knows no Kafka client (``shared.runtime.kafka``) and no service (``shared.runtime.step``). Whatever goes wrong ends in
one of three ways: poison is set aside with the offset, trouble forgets the lease and takes it again, and what must not
be guessed stops the partition.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from shared.errors import Fenced, Retry, Stop, named, worded
from shared.runtime import batch as batches
from shared.runtime import lease as leases
from shared.runtime import quarantine
from shared.runtime.aside import Aside
from shared.runtime.batch import Batch, Entry, Undecidable
from shared.runtime.database import OFFENCES, TROUBLE, Database
from shared.runtime.holdings import Holdings
from shared.runtime.lease import Lease, Place
from shared.runtime.points import reach
from shared.runtime.relay import Outgoing, Sender
from shared.runtime.step import Record, Step
from shared.runtime.telemetry import Telemetry

FAILURES_IN_A_ROW = 25  # of decide or of constraints: a bad deploy must not turn the dead-letter topic into the main one


class _Stumble(Exception):
    """``load`` or ``record`` raised what no server raises: some record of the batch makes it so."""


class Loop:
    """One step's loop over the partitions it holds."""

    def __init__(
        self,
        step: Step[Any, Any, Any],
        database: Database,
        sender: Sender,
        holdings: Holdings,
        telemetry: Telemetry,
        *,
        batch_max: int,
    ) -> None:
        self._step = step
        self._database = database
        self._sender = sender
        self._holdings = holdings
        self._telemetry = telemetry
        self._batch_max = batch_max
        self._aside = Aside()

    async def handle(self, records: Sequence[Record]) -> None:
        """Takes a fetched batch through to its marks. Never raises, or FastStream would go on past the records."""
        reach("after_fetch")
        async with self._holdings.busy:
            try:
                for chunk in _chunks(self._holdings.admit(records), self._batch_max):
                    largest = max(len(record.value) for record in chunk)
                    await self._settle(await self._aside(largest, batches.read, self._step, chunk))
            except Fenced as fenced:
                await self._holdings.fenced(fenced.args[0], _places(records))
            except Retry as trouble:
                await self._holdings.trouble(trouble, _places(records))
            except Stop as stop:
                await self._holdings.stop(stop, _places(records))
            except Exception as failure:  # noqa: BLE001 - a bug outside decide: keep the records, say so, try again
                await self._holdings.trouble(Retry(named(failure)), _places(records))

    async def _settle(self, entries: list[Entry]) -> None:
        """One transaction for the batch; a record that breaks a constraint is found by halving."""
        while entries:
            try:
                done, held = await self._transact(entries)
            except Undecidable as failed:
                self._condemn(entries, failed.entry, failed.reason, failed.detail, failed.__cause__ or failed)
                continue
            except (*OFFENCES, _Stumble) as offence:
                if len(entries) > 1:
                    half = len(entries) // 2
                    await self._settle(entries[:half])
                    await self._settle(entries[half:])
                    return
                cause = offence.__cause__ or offence if isinstance(offence, _Stumble) else offence
                reason = "failed" if isinstance(offence, _Stumble) else "constraint"
                self._condemn(entries, entries[0], reason, worded(cause), cause)
                continue
            reach("after_commit")
            await self._after(entries, done, held)
            return

    def _condemn(self, entries: list[Entry], entry: Entry, reason: str, detail: str, cause: BaseException) -> None:
        """Sets a record aside, with the failure's words; operators are told its kind and place only."""
        if entry.verdict is not None:
            raise Stop(f"a record that is already set aside fails again: {named(cause)}", entry.place)
        entry.condemn(reason, detail)
        run = self._holdings.lease(entry.place).failures_in_a_row
        for other in entries[: entries.index(entry) + 1]:
            if other.place == entry.place:
                run = _run(run, other)
        if run >= FAILURES_IN_A_ROW:
            raise Stop(f"{run} failures in a row, the last: {named(cause)}; nothing of this batch was set aside", entry.place)

    async def _transact(self, entries: list[Entry]) -> tuple[Batch[Any], dict[Place, Lease]]:
        held = {entry.place: self._holdings.lease(entry.place) for entry in entries}
        in_order = [held[place] for place in sorted(held)]
        async with self._database.transaction() as tx:
            await leases.fence(tx, self._step.service, in_order)
            reach("after_lock")
            keys = list({entry.claim_key for entry in entries if entry.claim_key is not None})
            await self._check_redrives(tx, entries)
            batches.hold_back(entries, await quarantine.held(tx, self._step.service, keys))
            with _stumbling():
                facts = await self._step.load(tx, [entry.event for entry in entries if entry.poison is None])
            done = batches.decide(self._step, facts, entries, held)
            if self._step.outbox is None:
                await self._announce_first(done)
            with _stumbling():
                await self._step.record(tx, done.filed)
            await quarantine.record(tx, self._step.service, done.poison, done.redriven)
            await quarantine.close(tx, done.redriven)
            await leases.advance(tx, self._step.service, [(lease, done.advances[lease.place]) for lease in in_order])
            reach("after_write")
        return done, held

    async def _check_redrives(self, tx: Any, entries: Sequence[Entry]) -> None:
        redrives = {entry.redrive: entry.record for entry in entries if entry.redrive is not None}
        if redrives:
            genuine = await quarantine.genuine(tx, self._step.service, redrives)
            for entry in entries:
                entry.redrive = entry.redrive if entry.redrive in genuine else None

    async def _announce_first(self, done: Batch[Any]) -> None:
        """A step without a table: what it says is acknowledged before the offset moves. Dead letters wait for the commit."""
        await self._sender.send([Outgoing(filed.message) for filed in done.filed if filed.message is not None])
        done.outgoing = [outgoing for outgoing in done.outgoing if outgoing.headers]

    async def _after(self, entries: Sequence[Entry], done: Batch[Any], held: dict[Place, Lease]) -> None:
        """Project, announce, mark. The commit is done: trouble from here on is mended by taking the lease again."""
        for place, lease in held.items():
            by = done.advances[place]
            lease.next_offset, lease.last_digest, lease.out_seq = by.next_offset, by.last_digest, by.out_seq
        for entry in entries:
            lease = held[entry.place]
            lease.failures_in_a_row = _run(lease.failures_in_a_row, entry)
            lease.last_timestamp_ms = entry.record.timestamp_ms
        await self._holdings.project(done.filed, held.values())
        reach("after_project")
        if done.outgoing:
            await self._sender.send(done.outgoing)
        for lease in held.values():
            lease.relayed_seq = lease.out_seq
        reach("after_announce")
        self._holdings.through()
        outcomes = (getattr(filed.decision, "outcome", None) for filed in done.filed)
        self._telemetry.settled(done.advances.values(), (outcome for outcome in outcomes if isinstance(outcome, str)))


def _run(so_far: int, entry: Entry) -> int:
    """The run of failures after this record. What a sender got wrong, or what waits behind another, says nothing of us."""
    if entry.poison is None:
        return 0
    return so_far + 1 if entry.poison.reason in batches.OURS else so_far


@contextmanager
def _stumbling() -> Iterator[None]:
    try:
        yield
    except (*TROUBLE, Retry, Fenced, Stop):
        raise
    except Exception as failure:
        raise _Stumble from failure


def _places(records: Sequence[Record]) -> set[Place]:
    return {(record.topic, record.partition) for record in records}


def _chunks(records: Sequence[Record], size: int) -> list[Sequence[Record]]:
    return [records[start : start + size] for start in range(0, len(records), size)]
