"""An institution's outcomes are gapless to a reader who looks while transactions are open that commit in another order."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import asyncpg
import pytest
from waiting import until_sessions_wait

from deploy import migrations
from services.intake.answers import Answers, Cursor
from shared.errors import Fenced
from shared.events import ADJUDICATED, SUBMITTED
from shared.runtime import lease as leases
from shared.runtime.lease import Advance, Lease

OWNER = "H1"
PARTITIONS = 2
# The loop's own locks around a row of each table that the pages read; everything else of a row is as plain as may be.
_REJECTION = """
    insert into intake.outgoing (source_topic, source_partition, seq, target, part, key, value, event_id, rejected_institution)
    values ($1, $2, $3, 'claims.rejected', 0, 'k', $4, encode($4, 'hex'), 'H1')
"""
_OUTCOME = """
    insert into account.outcome (institution_id, claim_no, kind, revision, member_id, part, outcome, total, own_paid, over_limit,
        pre_self_pay, in_scope, deductible, pooled, large_expense, civil_servant, veterans, account, family_account, cash,
        family_payer, insured_region, care_region, settled_at, source_topic, source_partition, seq, target, key, value)
    values ('H1', encode($4, 'hex'), 'claim', 0, 'M1', 0, 'rejected', 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, '', '', '', now(),
        $1, $2, $3, 'claims.rejected', 'k', $4)
"""
TABLES = {"account": (ADJUDICATED, _OUTCOME), "intake": (SUBMITTED, _REJECTION)}


class Writer:
    """One worker of a service with a session of its own."""

    def __init__(self, service: str, connection: Any) -> None:
        self._service = service
        self._topic, self._insert = TABLES[service]
        self._connection = connection
        self._transaction: Any = None

    async def take(self, partition: int) -> Lease:
        async with self._connection.transaction():
            return await leases.take(self._connection, self._service, (self._topic, partition), "k", "somebody")

    async def write(self, lease: Lease, value: bytes) -> None:
        """A batch of one, up to its commit. Raises Fenced."""
        self._transaction = self._connection.transaction()
        await self._transaction.start()
        await leases.fence(self._connection, self._service, [lease])
        lease.out_seq += 1
        lease.next_offset += 1
        await self._connection.execute(self._insert, self._topic, lease.partition, lease.out_seq, value)
        await leases.advance(
            self._connection, self._service, [(lease, Advance(lease.next_offset, b"digest", lease.out_seq, decided=1))]
        )

    async def commit(self) -> None:
        await self._transaction.commit()

    async def roll_back(self) -> None:
        await self._transaction.rollback()


class Reader:
    """Goes through the pages, and keeps what came."""

    def __init__(self, answers: Answers) -> None:
        self._answers = answers
        self._cursor = Cursor.start(PARTITIONS)

    async def new(self) -> list[bytes]:
        """What is behind the cursor, page by page of one."""
        found: list[bytes] = []
        while True:
            page = await self._answers.page(OWNER, self._cursor, size=1)
            self._cursor = Cursor.read(page.next.written(), PARTITIONS)
            found += page.outcomes
            if not page.outcomes:
                return found


@pytest.fixture
async def pool(fresh_database: str) -> AsyncIterator[asyncpg.Pool]:
    await asyncio.to_thread(migrations.run, fresh_database)
    async with asyncpg.create_pool(fresh_database, min_size=1, max_size=4) as made:
        yield made


@pytest.mark.parametrize("service", sorted(TABLES))
async def test_what_commits_late_is_not_passed_over(pool: asyncpg.Pool, service: str, fresh_database: str) -> None:
    reader = Reader(Answers(pool))
    async with pool.acquire() as one, pool.acquire() as other:
        early, late = Writer(service, one), Writer(service, other)
        here, there = await early.take(0), await late.take(1)
        await early.write(here, b"1")  # begins first, and commits last
        await late.write(there, b"2")
        assert await reader.new() == []
        await late.commit()
        assert await reader.new() == [b"2"]

        # In its own partition nobody can come before it: he waits for its lease, with his number not yet drawn.
        same = Lease(here.topic, 0, here.epoch, here.next_offset, here.last_digest, here.out_seq, 0, 0)
        waiting = asyncio.create_task(late.write(same, b"3"))
        await until_sessions_wait(fresh_database)
        assert await reader.new() == []
        await early.commit()
        await waiting
        assert await reader.new() == [b"1"]
        await late.commit()
        assert await reader.new() == [b"3"]


@pytest.mark.parametrize("service", sorted(TABLES))
async def test_who_lost_his_partition_to_another_writes_nothing_into_what_was_read(pool: asyncpg.Pool, service: str) -> None:
    reader = Reader(Answers(pool))
    async with pool.acquire() as one, pool.acquire() as other:
        frozen, successor = Writer(service, one), Writer(service, other)
        old = await frozen.take(0)
        new = await successor.take(0)
        await successor.write(new, b"1")
        await successor.commit()
        assert await reader.new() == [b"1"]
        with pytest.raises(Fenced):
            await frozen.write(old, b"2")
        await frozen.roll_back()
        assert await reader.new() == []


async def test_a_page_ends_where_it_is_full_of_bytes_and_the_next_goes_on(
    pool: asyncpg.Pool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An institution can have outcomes of a megabyte; five hundred of them would be no page to hold in memory."""
    monkeypatch.setattr("services.intake.answers._PAGE_BYTES", 10)
    written = set()
    async with pool.acquire() as connection:
        for service in sorted(TABLES):
            writer = Writer(service, connection)
            for lease in (await writer.take(0), await writer.take(1)):
                for number in range(4):
                    value = f"{service[0]}{lease.partition}{number}x".encode()
                    await writer.write(lease, value)
                    await writer.commit()
                    written.add(value)
    found: list[bytes] = []
    cursor, more = Cursor.start(PARTITIONS), True
    while more:
        page = await Answers(pool).page(OWNER, cursor)
        assert len(page.outcomes) <= 3, "as many as fill it, the last one whole"
        found, cursor, more = found + page.outcomes, page.next, page.more
    assert (len(found), set(found)) == (len(written), written)
