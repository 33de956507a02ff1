"""What every store of intake promises, in memory and in Postgres."""

import asyncio
import secrets
from collections.abc import AsyncIterator, Iterator
from datetime import UTC, datetime
from typing import cast
from urllib.parse import urlsplit

import asyncpg
import psycopg
import pytest
from psycopg import sql
from simulation import still
from simulation.stores import IntakeStore
from waiting import until_sessions_wait

from deploy import migrations
from deploy.local.servers import Addresses
from services.intake.memory import MemoryStore
from services.intake.number import Number
from services.intake.store import PostgresStore, Ruling, Store
from shared.errors import Retry
from shared.events import Event
from shared.runtime.kept import Spill
from shared.runtime.step import Filed, Message, Tx

NOW = datetime(2023, 5, 3, 1, 2, 3, 456000, tzinfo=UTC)


class Books:
    """A store with a way to run something in a transaction of its own."""

    def __init__(self, store: Store, connection: asyncpg.Connection | None) -> None:
        self.store = store
        self.connection = connection
        self.seq = 0

    async def batch(self, opening: list[Number], rulings: list[Ruling]) -> dict[tuple[str, str], Number]:
        """Opens, records and commits."""
        if self.connection is None:
            return await self._work(None, opening, rulings)
        async with self.connection.transaction():
            return await self._work(self.connection, opening, rulings)

    async def _work(self, tx: Tx, opening: list[Number], rulings: list[Ruling]) -> dict[tuple[str, str], Number]:
        stood = await self.store.open(tx, opening)
        await self.store.record(tx, self.file(rulings))
        return stood

    def file(self, rulings: list[Ruling]) -> list[Filed[Ruling]]:
        filed = []
        for ruling in rulings:
            self.seq += 1
            filed.append(Filed(ruling, "claims.submitted", 3, self.seq, self.seq, ruling.message))
        return filed


class Connections:
    """Connections to a database that has intake's tables, closed after the test."""

    def __init__(self, dsn: str) -> None:
        self.dsn = dsn
        self._opened: list[asyncpg.Connection] = []

    async def one(self) -> asyncpg.Connection:
        self._opened.append(await asyncpg.connect(self.dsn))
        return self._opened[-1]

    async def close(self) -> None:
        for connection in self._opened:
            await connection.close()


@pytest.fixture(scope="session")
def database_template(servers: Addresses) -> Iterator[str]:
    """Each test gets a copy of a migrated database: migrating takes a second, copying a tenth of it."""
    name = f"template_{secrets.token_hex(4)}"
    with psycopg.connect(servers.postgres, autocommit=True) as connection:
        connection.execute(sql.SQL("create database {}").format(sql.Identifier(name)))
        migrations.run(urlsplit(servers.postgres)._replace(path=f"/{name}").geturl())
        yield name
        connection.execute(sql.SQL("drop database {} with (force)").format(sql.Identifier(name)))


@pytest.fixture(params=["memory", "spilled", "simulated", pytest.param("postgres", marks=pytest.mark.servers)])
def place(request: pytest.FixtureRequest) -> str:
    """Where the store under test keeps its tables: a DSN, or memory, spilled to a file or not, or the simulation's books."""
    if request.param == "postgres":
        return str(request.getfixturevalue("fresh_database"))
    return str(request.param)


@pytest.fixture
async def books(place: str) -> AsyncIterator[Books]:
    if place in ("memory", "spilled"):
        spill = Spill(gather=1)
        yield Books(MemoryStore() if place == "memory" else MemoryStore(spill.of(Number), spill.of(bytes)), None)
        spill.close()
        return
    if place == "simulated":
        yield Books(IntakeStore(), cast("asyncpg.Connection", still.connection()))
        return
    connections = Connections(place)
    connection = await connections.one()
    yield Books(PostgresStore(), connection)
    await connections.close()


@pytest.fixture
async def connections(fresh_database: str) -> AsyncIterator[Connections]:
    opened = Connections(fresh_database)
    yield opened
    await opened.close()


def a_number(claim_no: str = "C1", **changes: object) -> Number:
    whole = {
        "institution_id": "I1", "claim_no": claim_no, "part": 5, "kind": "claim",
        "digest": "ab" * 32, "member_id": "M1", "accepted_at": NOW,
    }  # fmt: skip
    return Number(**(whole | changes))  # type: ignore[arg-type]


def a_ruling(number: Number | None = None, *, event_id: str = "e1", rejected: bytes | None = None) -> Ruling:
    if rejected is None:
        passed = Event(
            kind="claim", event_id=event_id, institution_id="I1", claim_no="C1", member_id="M1", digest="", accepted_at=""
        )
        return Ruling(event_id=event_id, part=5, passed=passed, number=number)
    rejection = Message("claims.rejected", 5, b"M1", rejected)
    return Ruling(event_id=event_id, part=5, rejection=rejection, number=number, new_rejection=True, institution_id="I1")


async def test_a_number_nobody_had_is_kept_as_it_was_opened(books: Books) -> None:
    assert await books.batch([a_number()], []) == {}
    assert await books.batch([a_number(digest="cd" * 32)], []) == {("I1", "C1"): a_number()}


async def test_a_number_closed_by_a_reversal_is_kept_without_a_member(books: Books) -> None:
    closed = Number(institution_id="I1", claim_no="C1", part=7, reversed=True, closed=True)
    await books.batch([closed], [])
    assert await books.batch([a_number()], []) == {closed.key: closed}


async def test_the_last_state_of_a_batch_stands(books: Books) -> None:
    await books.batch([a_number()], [])
    once, twice = a_number(questions=1), a_number(questions=2, reversed=True)
    await books.batch([a_number()], [a_ruling(once), a_ruling(), a_ruling(twice)])
    assert await books.batch([a_number()], []) == {twice.key: twice}


async def test_a_number_opened_and_changed_in_one_batch_is_kept_changed(books: Books) -> None:
    await books.batch([a_number()], [a_ruling(), a_ruling(a_number(questions=1))])
    assert (await books.batch([a_number()], []))["I1", "C1"].questions == 1


async def test_numbers_that_stood_are_told_from_those_that_are_new(books: Books) -> None:
    await books.batch([a_number("C2"), a_number("C4")], [])
    stood = await books.batch([a_number(f"C{n}") for n in (5, 4, 3, 2, 1)], [])
    assert stood.keys() == {("I1", "C2"), ("I1", "C4")}


async def test_a_rejection_is_given_back_byte_by_byte(books: Books) -> None:
    value = b'{"claim_no": "C\x00"}\xff'
    await books.batch([], [a_ruling(event_id="e1", rejected=value), a_ruling(event_id="e2", rejected=b"2")])
    assert await books.store.rejections(books.connection, {"e1", "e3"}) == {"e1": value}
    assert await books.store.rejections(books.connection, set()) == {}


async def test_an_empty_batch_is_no_trouble(books: Books) -> None:
    assert await books.batch([], []) == {}


async def test_the_outbox_keeps_each_message_at_its_place(connections: Connections) -> None:
    books = Books(PostgresStore(), await connections.one())
    await books.batch([], [a_ruling(event_id="e1"), a_ruling(event_id="e2", rejected=b"no")])
    assert books.connection is not None
    rows = await books.connection.fetch("select * from intake.outgoing order by seq")
    assert [tuple(row) for row in rows] == [
        ("claims.submitted", 3, 1, *a_ruling(event_id="e1").message, "e1", None),
        ("claims.submitted", 3, 2, "claims.rejected", 5, b"M1", b"no", "e2", "I1"),
    ]


async def test_two_partitions_that_race_for_one_number_come_one_after_the_other(connections: Connections) -> None:
    first, second = await connections.one(), await connections.one()
    store = PostgresStore()
    holding = first.transaction()
    await holding.start()
    assert await store.open(first, [a_number("C1"), a_number("C2")]) == {}

    async def race() -> dict[tuple[str, str], Number]:
        async with second.transaction():
            return await store.open(second, [a_number("C2", digest="cd" * 32), a_number("C0")])

    racing = asyncio.create_task(race())
    await until_sessions_wait(connections.dsn)
    assert not racing.done()
    await holding.commit()
    assert await racing == {("I1", "C2"): a_number("C2")}


async def test_a_rejection_given_meanwhile_by_another_partition_makes_the_batch_begin_again(connections: Connections) -> None:
    books, others = Books(PostgresStore(), await connections.one()), Books(PostgresStore(), await connections.one())
    assert await books.store.rejections(books.connection, {"e1"}) == {}
    others.seq = 100
    await others.batch([], [a_ruling(event_id="e1", rejected=b"theirs")])
    with pytest.raises(Retry):
        await books.batch([], [a_ruling(event_id="e1", rejected=b"ours")])
    assert await books.store.rejections(books.connection, {"e1"}) == {"e1": b"theirs"}


async def test_a_claim_that_another_partition_has_still_to_announce_is_seen(connections: Connections) -> None:
    connection = await connections.one()
    books = Books(PostgresStore(), connection)
    await books.batch([], [a_ruling(event_id="e1"), a_ruling(event_id="e2")])  # from partition 3, as 1 and 2

    async def announced(relayed: int) -> None:
        await connection.execute(
            "insert into runtime.lease (service, topic, partition, cluster_id, out_seq, relayed_seq) "
            "values ('intake', 'claims.submitted', 3, 'k', 2, $1) "
            "on conflict on constraint lease_pk do update set relayed_seq = $1",
            relayed,
        )

    await announced(1)
    assert await books.store.unannounced(connection, [("e1", 0), ("e2", 0)]) == 1
    assert await books.store.unannounced(connection, [("e2", 3)]) == 0  # its own partition announces in order
    await announced(2)
    assert await books.store.unannounced(connection, [("e1", 0), ("e2", 0)]) == 0
