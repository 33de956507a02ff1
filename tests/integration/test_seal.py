"""Seals on real servers: nothing is left out, whatever commits late; and whatever is changed by hand is found and named."""

import asyncio
import json
import signal
import sys
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import asyncpg
import pytest
from aiokafka import AIOKafkaConsumer, TopicPartition
from ledger_hands import SOME, book, wait_for_lock

from deploy import migrations
from services.account import seal_check, seal_store, sealer
from services.account.seal import Block, Posted, Tail
from services.account.seal_check import Checked
from services.account.seal_store import Tx
from services.account.sealer import Sealer
from shared.events import LEDGER_ROOTS
from shared.runtime import topics
from shared.runtime.database import Database
from shared.runtime.settings import Settings

pytestmark = pytest.mark.servers
LONG_AGO = datetime(2024, 3, 1, 15, 59, tzinfo=UTC)  # one minute to midnight in China


@pytest.fixture
def settings(environment: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> Settings:
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    migrations.run(environment["GONGJI_POSTGRES"])
    asyncio.run(topics.prepare(environment["GONGJI_KAFKA"], 8))
    return Settings.load()


@pytest.fixture
async def owner(settings: Settings) -> AsyncIterator[asyncpg.Connection]:
    connection = await asyncpg.connect(settings.postgres)
    yield connection
    await connection.close()


async def seal(settings: Settings, *, root_now: bool = False) -> sealer.Sealed:
    one = Sealer(settings)
    try:
        return await one.turn(root_now=root_now)
    finally:
        await one.close()


async def check(settings: Settings, owner: asyncpg.Connection) -> Checked:
    async with owner.transaction():
        return await seal_check.check(owner, sealer.published(settings.home / "roots"))


async def test_a_number_drawn_early_and_booked_late_is_waited_for(
    settings: Settings, owner: asyncpg.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    slow = await asyncpg.connect(settings.postgres)
    transaction = slow.transaction()
    await transaction.start()
    early = await slow.fetchval("select nextval('account.journal_number')")
    late = await book(owner, "C2")
    assert early < late
    holders, looks = seal_store.holders, asyncio.Semaphore(0)

    async def look(tx: asyncpg.Connection) -> frozenset[str]:
        looks.release()
        return await holders(tx)

    monkeypatch.setattr(seal_store, "holders", look)
    sealing = asyncio.create_task(seal(settings))
    for _ in range(2):
        await asyncio.wait_for(looks.acquire(), 20)
    assert not sealing.done(), "it must not seal above a number that may still be booked"
    assert (await seal_store.tail(owner)).number == 0
    await book(slow, "C1", journal_id=early)
    await transaction.commit()
    await slow.close()
    assert (await sealing).postings == 4
    kept = await seal_store.block(owner, 1)
    assert kept is not None
    assert (kept.block.first_journal, kept.block.last_journal) == (early, late)
    assert (await check(settings, owner)).faults == []


async def test_a_transaction_that_does_not_end_holds_up_only_the_sealing(
    settings: Settings, owner: asyncpg.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sealer, "_PATIENCE_SECONDS", 0.2)
    slow = await asyncpg.connect(settings.postgres)
    async with slow.transaction():
        await slow.fetchval("select nextval('account.journal_number')")
        await book(owner, "C1")  # settlement goes on
        assert (await seal(settings)).held_up
    await slow.close()
    assert await seal(settings) == sealer.Sealed(blocks=1, postings=2)


async def test_a_number_that_was_never_booked_is_no_gap(settings: Settings, owner: asyncpg.Connection) -> None:
    undone = owner.transaction()
    await undone.start()
    await book(owner, "C1")
    await undone.rollback()
    await book(owner, "C2")
    assert (await seal(settings)).postings == 2
    await book(owner, "C3")
    assert (await seal(settings)).postings == 2
    assert await seal(settings) == sealer.Sealed()
    assert await check(settings, owner) == Checked([], 2, 4, 0)


async def test_many_sealers_make_one_chain(
    settings: Settings, owner: asyncpg.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(seal_store, "_UNSEALED", seal_store._UNSEALED.replace(f"limit {seal_store.AT_MOST}", "limit 3"))
    for number in range(20):
        await book(owner, f"C{number}")
    done = await asyncio.gather(*(seal(settings, root_now=True) for _ in range(5)))
    await seal(settings, root_now=True)
    assert sum(one.postings for one in done) <= 40
    found = await check(settings, owner)
    assert found.faults == []
    assert (found.blocks, found.postings) == (14, 40)


async def test_the_next_block_is_read_in_the_order_of_the_key_also_by_a_plan_made_over_empty_tables(settings: Settings) -> None:
    """By sorting all that is not sealed yet, each block would cost what the whole backlog does."""
    database = Database(settings.postgres, role="gongji_service", name="gongji-sealer")
    connection = await database.connection()
    await connection.execute(f"prepare unsealed(bigint, smallint, bigint) as {seal_store._UNSEALED}")
    plan = "\n".join(row[0] for row in await connection.fetch("explain execute unsealed(1, 1::smallint, 10)"))
    await database.close()
    assert "Index Scan using posting_key" in plan
    assert "Sort" not in plan


async def test_each_block_is_checked_by_keys_whatever_the_tables_hold(
    settings: Settings, owner: asyncpg.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By a hash of all journals, each block would cost what the ledger does; what comes after the check is planned freely."""
    plans = []

    async def explained(tx: Tx, after: Tail, block: Block) -> list[Posted]:
        plans.append("\n".join(row[0] for row in await tx.fetch("explain execute checked(1, 1, 2, 1)")))
        return await between(tx, after, block)

    between = seal_store.between
    monkeypatch.setattr(seal_store, "between", explained)
    await owner.execute(f"prepare checked(bigint, int, bigint, int) as {seal_store._BETWEEN}")
    await book(owner, "C1")
    await seal(settings)
    async with owner.transaction():
        assert (await seal_check.check(owner)).faults == []
        assert await owner.fetchval("show enable_hashjoin") == "on"
    assert plans
    assert all("Index Scan using posting_key" in plan and "Index Scan using journal_key" in plan for plan in plans), plans
    assert not any("Sort" in plan for plan in plans)


async def test_two_digests_in_one_chain(settings: Settings, owner: asyncpg.Connection) -> None:
    for number, algorithm in enumerate(("sm3", "sha256", "sm3")):
        await book(owner, f"C{number}")
        await seal(replace(settings, seal=algorithm), root_now=True)
    rows = await owner.fetch("select algorithm from account.block order by number")
    assert [row[0] for row in rows] == ["sm3", "sha256", "sm3"]
    assert (await check(settings, owner)).faults == []


async def test_a_day_is_closed_once_it_is_over_and_what_comes_late_is_in_the_next(
    settings: Settings, owner: asyncpg.Connection
) -> None:
    await book(owner, "C1", booked_at=LONG_AGO)
    await book(owner, "C2", booked_at=LONG_AGO + timedelta(minutes=2))  # past midnight in China, not yet in UTC
    done = await seal(settings)
    assert [(root.day, root.first_block, root.last_block, root.closes) for root in done.roots] == [
        ("2024-03-01", 1, 1, True),
        ("2024-03-02", 2, 2, True),
    ]
    await book(owner, "C3", booked_at=LONG_AGO)
    late = await seal(settings, root_now=True)
    assert [(root.day, root.closes) for root in late.roots] == [("2024-03-03", True)]
    files = {file.name: file.read_bytes().splitlines() for file in (settings.home / "roots").iterdir()}
    assert sorted(files) == ["2024-03-01.jsonl", "2024-03-02.jsonl", "2024-03-03.jsonl"]
    assert [line for lines in (files[name] for name in sorted(files)) for line in lines] == (await on_topic(settings))[-3:]
    assert (await check(settings, owner)).faults == []


async def on_topic(settings: Settings) -> list[bytes]:
    place = TopicPartition(LEDGER_ROOTS, 0)
    consumer = AIOKafkaConsumer(bootstrap_servers=settings.kafka, auto_offset_reset="earliest")
    await consumer.start()
    try:
        consumer.assign([place])
        end = (await consumer.end_offsets([place]))[place]
        found: list[bytes] = []
        while await consumer.position(place) < end:
            for records in (await consumer.getmany(place, timeout_ms=1000)).values():
                found += [record.value for record in records if record.value]
        return found
    finally:
        await consumer.stop()


async def test_a_root_that_could_not_be_published_is_published_by_the_next_turn(
    settings: Settings, owner: asyncpg.Connection
) -> None:
    await book(owner, "C1")
    with pytest.raises(Exception, match="Kafka"):
        await seal(replace(settings, kafka="127.0.0.1:9"), root_now=True)
    assert (await seal_store.tail(owner)).number == 1
    assert await owner.fetchval("select count(*) from account.day_root_announced") == 0
    assert len((await seal(settings)).roots) == 1
    assert (await seal(settings)).roots == ()
    assert len(sealer.published(settings.home / "roots")) == 1


CHANGED = "is not what was sealed"
TAMPERING = [
    ("update account.posting set amount = amount # 1 where journal_id = 2 and line = 1", "journal 2 line 1", CHANGED),
    ("update account.posting set debit = 'personal:M9' where journal_id = 2 and line = 2", "journal 2 line 2", CHANGED),
    ("update account.posting set part = part # 1 where journal_id = 2 and line = 2", "journal 2 line 2", CHANGED),
    ("update account.posting set line = 3 where journal_id = 2 and line = 2", "journal 2 line 3", "was added to a sealed block"),
    ("update account.journal set number = 'C9' where journal_id = 2", "journal 2 line 2", CHANGED),
    ("update account.journal set booked_at = booked_at + interval '1 us' where journal_id = 1", "journal 1 line 1", CHANGED),
    ("update account.journal set corrects = 1 where journal_id = 3", "journal 3 line 1", CHANGED),
    ("delete from account.journal where journal_id = 3", "journal 3 line 1", CHANGED),
    ("delete from account.posting where journal_id = 2 and line = 1", "after journal 1 line 2", "1 postings are missing"),
    ("delete from account.posting where journal_id = 3", "journal 3 line 1", "2 postings are missing"),
    ("insert into account.posting values (2, 3, 'a', 'b', 1, 1)", "journal 2 line 3", "was added to a sealed block"),
    ("update account.posting set journal_id = 9 where journal_id = 1 and line = 1", "journal 1 line 1", "1 postings are missing"),
    ("update account.block set merkle_root = sha256('x') where number = 1", "block 1", "its header is not what it was"),
    ("update account.block set day = day + 1 where number = 2", "block 2", "its header is not what it was"),
    ("update account.block set previous_hash = '' where number = 2", "block 2", "does not name the hash of block 1"),
    ("update account.block set leaves = set_byte(leaves, 70, 1) where number = 1", "block 1", "its digests are not those"),
    ("update account.block set hash = sha256('x') where number = 1", "block 2", "does not name the hash of block 1"),
    ("delete from account.block where number = 1", "block 1", "is missing"),
    ("delete from account.block where number = 2", "root", "cannot be made again"),
    ("update account.day_root set value = replace(convert_from(value, 'utf8'), 'sm3', 'sha256')::bytea", "root",
     "its blocks lead to"),
    ("update account.day_root set root = set_byte(root, 31, get_byte(root, 31) # 1)", "root of", "is kept as"),
    ("update account.day_root set made_at = made_at - interval '1 day'", "root of", "is kept as"),
    ("update account.day_root set first_block = first_block - 1", "root of", "is kept as"),
    ("delete from account.day_root_announced; delete from account.day_root", "root of", "was published, and is not in the books"),
]  # fmt: skip


async def test_what_a_superuser_changes_is_found_and_named(settings: Settings, owner: asyncpg.Connection) -> None:
    for number in ("C1", "C2", "C3"):
        await book(owner, number)
        if number != "C1":
            await seal(settings, root_now=number == "C3")
    assert (await check(settings, owner)).faults == []
    for table in ("journal", "posting", "block", "day_root", "day_root_announced"):
        await owner.execute(f"alter table account.{table} disable trigger user")
    await owner.execute("alter table account.block drop constraint block_chain")
    for tampering, name, what in TAMPERING:
        undone = owner.transaction()
        await undone.start()
        await owner.execute(tampering)
        found = (await check(settings, owner)).faults
        assert any(name in fault.name and what in fault.what for fault in found), (tampering, found)
        await undone.rollback()
    assert (await check(settings, owner)).faults == []


async def test_a_day_between_others_whose_root_is_gone_is_named(settings: Settings, owner: asyncpg.Connection) -> None:
    for number in range(3):
        await book(owner, f"C{number}", booked_at=LONG_AGO + timedelta(days=number))
    await seal(settings)
    for table in ("day_root", "day_root_announced"):
        await owner.execute(f"alter table account.{table} disable trigger user")
    await owner.execute("delete from account.day_root_announced where day = '2024-03-02'")
    await owner.execute("delete from account.day_root where day = '2024-03-02'")
    async with owner.transaction():
        [fault] = (await seal_check.check(owner)).faults
    assert (fault.name, fault.what) == ("root of 2024-03-02", "is missing, and a later day is closed")


async def test_one_posting_changed_is_one_posting_named(settings: Settings, owner: asyncpg.Connection) -> None:
    for number in range(50):
        await book(owner, f"C{number}")
    await seal(settings)
    await owner.execute("alter table account.posting disable trigger user")
    await owner.execute("update account.posting set amount = amount + 1 where journal_id = 17 and line = 2")
    found = (await check(settings, owner)).faults
    assert [(fault.name, fault.what) for fault in found] == [
        ("journal 17 line 2 (H1/C16 claim)", "is not what was sealed (block 1)")
    ]


async def test_no_member_is_named_by_a_check(settings: Settings, owner: asyncpg.Connection) -> None:
    await book(owner, "K1", [("contributions", "personal:M1", 5)], issuer="M1", kind="credit")
    await seal(settings)
    await owner.execute("alter table account.posting disable trigger user; update account.posting set amount = 6")
    [fault] = (await check(settings, owner)).faults
    assert fault.name == "journal 1 line 1 (credit)"


GUARDED = ("journal", "posting", "block", "day_root", "day_root_announced", "payment_run", "payment_item", "payment",
           "retention_release", "window_payment", "repayment")  # fmt: skip


async def test_the_service_may_not_and_the_owner_cannot_change_what_is_written(owner: asyncpg.Connection) -> None:
    columns = "select attname from pg_attribute where attrelid = 'account.{}'::regclass and attnum = 1"
    for table in GUARDED:
        column = await owner.fetchval(columns.format(table))
        for change in ("update account.{0} set {1} = {1}", "delete from account.{0}", "truncate account.{0} cascade"):
            with pytest.raises(asyncpg.RestrictViolationError, match="append-only"):
                await owner.execute(change.format(table, column))
            await owner.execute("set role gongji_service")
            with pytest.raises(asyncpg.InsufficientPrivilegeError):
                await owner.execute(change.format(table, column))
            await owner.execute("reset role")


async def test_a_kill_in_the_middle_of_sealing_leaves_nothing_half_done(settings: Settings, owner: asyncpg.Connection) -> None:
    for number in range(20):  # one block
        await book(owner, f"C{number}", [*SOME] * 40)
    blocker = await asyncpg.connect(settings.postgres)
    for table in ("block", "day_root", "day_root_announced"):
        async with blocker.transaction():
            await blocker.execute(f"lock table account.{table} in share mode")  # it reads, and waits before it writes
            killed = await asyncio.create_subprocess_exec(sys.executable, "-m", "services", "ledger", "seal")
            await wait_for_lock(owner, table)
            killed.send_signal(signal.SIGKILL)
            await killed.wait()
            await owner.execute(
                "select pg_terminate_backend(pid) from pg_stat_activity where application_name = 'gongji-sealer'"
                " and datname = current_database()"
            )
    assert (await seal_store.tail(owner)).number == 1  # by the second and third, which got further
    await seal(settings, root_now=True)
    found = await check(settings, owner)
    assert (found.faults, found.postings, found.waiting) == ([], 20 * 80, 0)
    assert len(sealer.published(settings.home / "roots")) == 1
    await blocker.close()


async def test_a_line_torn_by_a_crash_is_nobodys_root(settings: Settings, tmp_path: Path) -> None:
    sealer.write(tmp_path, "2024-03-01", b'{"a":1}')
    with (tmp_path / "2024-03-01.jsonl").open("ab") as stream:
        stream.write(b'{"a":')
    sealer.write(tmp_path, "2024-03-01", b'{"a":2}')
    sealer.write(tmp_path, "2024-03-01", b'{"a":2}')
    assert (tmp_path / "2024-03-01.jsonl").read_bytes().splitlines() == [b'{"a":1}', b'{"a":', b'{"a":2}']
    assert json.loads(sealer.published(tmp_path)[-1]) == {"a": 2}
    assert settings.seal == "sm3"
