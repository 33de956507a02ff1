"""Many at the counter at once: several instances and workers, both ways in, and as much as one institution may have open."""

import asyncio
import json
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import closing, contextmanager
from typing import Any

import aiohttp
import asyncpg
import psycopg
import pytest
import redis.asyncio as redis
from aiokafka import AIOKafkaProducer
from counter_world import INSTITUTIONS, MEMBERS, Line, World, claim, connect, got, hang_up, head_of, posted, world
from deployment import PARTITIONS, until
from servers import LocalServers

from services.client import CounterClient
from services.intake.answers import Answers, Cursor
from services.intake.api_feed import MOST_FEEDS
from services.intake.api_guard import MOST_INSIDE
from shared.events import SUBMITTED
from shared.identity import part_of, partition_of
from shared.money import fen

HERE, THERE = INSTITUTIONS
LATE = MEMBERS[6]


@pytest.fixture(scope="module")
def counter(private_servers: LocalServers) -> Iterator[World]:
    with world(private_servers) as made:
        yield made


async def sent(lines: list[Line]) -> AsyncIterator[bytes]:
    for line in lines:
        yield json.dumps(line).encode()


@contextmanager
def held(counter: World, line: Line) -> Iterator[None]:
    """Keeps intake from taking a number in: somebody else is about to, and never does."""
    taking = """
        insert into intake.submission (institution_id, claim_no, part, reversed, closed, questions)
        values (%s, %s, 0, true, true, 0)
    """
    with closing(psycopg.connect(counter.deployment.servers.addresses.postgres)) as connection:
        connection.execute(taking, (line["institution_id"], line["claim_no"]))
        yield


def submitted(counter: World) -> int:
    """How many submissions Kafka has taken."""
    return sum(counter.deployment.ends(SUBMITTED))


def failures(counter: World) -> list[str]:
    """What our own services call an error, and whatever stack trace stands in their logs."""
    found = []
    for worker in counter.deployment.workers:
        text = worker.log.read_text()
        found += [line for line in text.splitlines() if '"level": "ERROR", "log": "gongji' in line]
        found += [trace[:2_000] for trace in text.split("Traceback (most recent call last)")[1:]]
    return found


# -- what is not known yet ------------------------------------------------------------------------------------------


async def test_a_number_that_was_handed_in_and_not_yet_read_is_in_progress_and_never_unknown(counter: World) -> None:
    asked = claim()
    async with counter.raw() as session:
        place = f"/v1/claims/{HERE}/{asked['claim_no']}"
        assert (await got(session, place))[0] == 404
        with held(counter, asked):
            assert (await posted(session, "/v1/claims", asked, Prefer="wait=0"))[0] == 202
            began = time.monotonic()
            assert (await posted(session, "/v1/claims", asked))[0] == 202
            assert time.monotonic() - began > 5, "unless something else is preferred"
            assert await got(session, place) == (202, {"status": "in_progress"})
        async with counter.client() as client:
            outcome = await client.outcome(HERE, asked["claim_no"])
            assert outcome == await client.settle(asked)
        assert (await got(session, f"/v1/claims/{HERE}/never"))[0] == 404


async def test_a_number_nobody_sent_is_not_found_though_the_log_ends_in_what_is_no_record(counter: World) -> None:
    """What outsiders wrote in a transaction is followed by a mark, and may be aborted: intake reads neither."""
    place = partition_of(part_of(HERE), PARTITIONS)
    kafka = counter.deployment.servers.addresses.kafka
    outsider = AIOKafkaProducer(bootstrap_servers=kafka, transactional_id="outsider")
    asked = claim()
    await outsider.start()
    try:
        async with counter.raw() as session, counter.client() as client:
            for aborted in range(20):  # more than are looked at first
                await outsider.begin_transaction()
                await outsider.send_and_wait(SUBMITTED, json.dumps(claim(claim_no=f"aborted{aborted}")).encode(), partition=place)
                if not aborted:  # open, it may still become a record
                    assert (await got(session, f"/v1/claims/{HERE}/aborted0"))[0] == 202
                await outsider.abort_transaction()
                if aborted in {0, 19}:
                    assert (await got(session, f"/v1/claims/{HERE}/aborted{aborted}"))[0] == 404
            await outsider.begin_transaction()
            await outsider.send_and_wait(SUBMITTED, json.dumps(asked).encode(), partition=place)
            await outsider.commit_transaction()
            assert (await client.settle(asked))["outcome"] == "settled"
            for _ in range(2):  # read from the log, and remembered
                assert (await got(session, f"/v1/claims/{HERE}/never"))[0] == 404
            told = await asyncio.to_thread(counter.deployment.command, "audit", "--json")
            assert json.loads(told.stdout)["quiescent"], "what is at rest is judged as being at rest"
            leases = await asyncio.to_thread(counter.deployment.command, "lease", "list", "--json")
            assert {json.loads(line)["lag"] for line in leases.stdout.splitlines()} == {0}
            await client.settle(claim())
    finally:
        await outsider.stop()


async def test_a_later_revision_changes_nothing_in_what_a_number_answers(counter: World) -> None:
    asked = claim(LATE, "400.00")
    async with counter.client() as client:
        first = await client.settle(asked)
        cursor = [behind async for _, behind in client.outcomes()][-1]
        retired = {
            "type": "member", "member_id": LATE, "region": "130900", "status": "retired", "employment": "employee",
            "sector": "enterprise", "valid_from": "2023-01-01",
        }  # fmt: skip
        await asyncio.to_thread(counter.deployment.register, [retired])
        command = ("claim", "readjudicate", LATE, "--year", "2023", "--reason", "retired since January")
        done = await asyncio.to_thread(counter.deployment.command, *command)
        assert done.returncode == 0, done.stderr
        assert await client.settle(asked) == first
        assert await client.outcome(HERE, asked["claim_no"]) == first
        pages = [page async for page, _ in client.outcomes(cursor)]
    [revision] = [outcome for page in pages for outcome in page if outcome["claim_no"] == asked["claim_no"]]
    assert (revision["revision"], fen(revision["pooled"]) > 0) == (1, True), "a retired member's share is larger"


# -- instances and workers ------------------------------------------------------------------------------------------


async def test_each_instance_hears_what_its_requests_wait_for_and_one_that_dies_is_missed_by_nobody(counter: World) -> None:
    staying = counter.url
    [dying] = counter.start("intake")
    asked = [claim(MEMBERS[number % 8], "3.00") for number in range(40)]
    key = counter.keys[HERE]
    async with CounterClient(staying, key, patience=300) as here:
        async with CounterClient(counter.url, key, patience=300) as there:
            heard = await asyncio.gather(*(client.settle(one) for one in asked for client in (here, there)))
        assert heard[::2] == heard[1::2]

        later = [claim(MEMBERS[number % 8], "3.00") for number in range(20)]
        async with aiohttp.ClientSession(counter.url, headers=counter.headers()) as session:
            with held(counter, later[0]):
                before = await asyncio.to_thread(submitted, counter)
                waiting = [asyncio.create_task(posted(session, "/v1/claims", one, Prefer="wait=60")) for one in later]
                await asyncio.to_thread(until, lambda: submitted(counter) == before + len(later), "all to be handed in")
                await asyncio.to_thread(counter.deployment.kill, dying)
                cut = await asyncio.gather(*waiting, return_exceptions=True)
                assert isinstance(cut[0], aiohttp.ClientError), "its request waited when the instance died"
        counter.url = staying
        outcomes = await asyncio.gather(*(here.settle(one) for one in later))
    assert {outcome["outcome"] for outcome in outcomes} == {"settled"}
    numbers = [one["claim_no"] for one in (*asked, *later)]
    settlements = "select count(*), count(distinct claim_no) from account.outcome where claim_no = any(%s) and kind = 'claim'"
    assert counter.deployment.rows(settlements, numbers) == [(60, 60)]
    counter.deployment.workers.remove(dying)
    assert failures(counter) == []


async def test_pages_of_outcomes_leave_nothing_out_while_several_workers_write_them_and_one_is_killed(counter: World) -> None:
    [dying] = counter.start("account")
    counter.start("account")
    lines = [claim(MEMBERS[number % 8], "2.00", institution=THERE) for number in range(600)]
    lines += [claim(MEMBERS[0], "9.00", institution=THERE, claim_no=one["claim_no"]) for one in lines[::20]]  # conflicts
    seen: list[tuple[str, str]] = []
    cursor = Cursor.start(PARTITIONS)
    sending = asyncio.create_task(asyncio.to_thread(counter.deployment.send, lines))
    pool = await asyncpg.create_pool(counter.deployment.servers.addresses.postgres, min_size=1, max_size=1)
    async with pool, asyncio.timeout(240):
        answers = Answers(pool)
        while len(seen) < len(lines):
            page = await answers.page(THERE, cursor, size=7)
            cursor = Cursor.read(page.next.written(), PARTITIONS)
            assert len(page.outcomes) <= 7
            seen += [(outcome["claim_no"], outcome["outcome"]) for outcome in map(json.loads, page.outcomes)]
            if dying.alive and len(seen) > 100:
                await asyncio.to_thread(counter.deployment.kill, dying)
            if not page.outcomes:
                await asyncio.sleep(0.02)
    await sending
    counter.deployment.workers.remove(dying)
    assert failures(counter) == []
    wanted = [(one["claim_no"], "settled") for one in lines[:600]] + [(one["claim_no"], "rejected") for one in lines[600:]]
    assert sorted(seen) == sorted(wanted)
    assert not dying.alive


# -- both ways at once ----------------------------------------------------------------------------------------------


async def test_a_members_order_holds_in_each_way_while_claims_come_at_the_window_in_a_stream_and_over_kafka(
    counter: World,
) -> None:
    who = MEMBERS[5]
    at_window, streamed = ([claim(who, "40.00") for _ in range(20)] for _ in range(2))
    fed = [claim(who, "40.00", institution=THERE) for _ in range(20)]

    async def one_by_one() -> list[dict[str, Any]]:
        return [await client.settle(one) for one in at_window]

    async def streaming() -> list[dict[str, Any]]:
        return [answer async for answer in client.feed(sent(streamed))]

    async with counter.client() as client, counter.client(THERE) as there:
        used_before = fen((await cap(client, who))["used"])
        feeding = asyncio.create_task(asyncio.to_thread(counter.deployment.send, fed))
        ways = list(await asyncio.gather(one_by_one(), streaming()))
        await feeding
        ways.append(list(await asyncio.gather(*(there.settle(one) for one in fed))))  # repeats: the first outcome
        filled = await cap(client, who)
    for way in ways:
        reached = [fen(outcome["after"]["ordinary.fund"]) for outcome in way]
        assert reached == sorted(reached), "in the order in which they were sent"
    outcomes = [outcome for way in ways for outcome in way]
    used = sorted((fen(one["before"]["ordinary.fund"]), fen(one["after"]["ordinary.fund"])) for one in outcomes)
    assert [before for before, _ in used[1:]] == [after for _, after in used[:-1]], "each stands on the one before"
    paid = sum(fen(outcome["pooled"]) for outcome in outcomes)
    assert used_before + paid == fen(filled["used"]) <= fen(filled["limit"])


async def cap(client: CounterClient, who: str) -> dict[str, Any]:
    """A member's annual cap of ordinary outpatient care."""
    [found] = [one for one in (await client.counters(who, "2023-05-02"))["counters"] if one["name"] == "ordinary.fund"]
    return dict(found)


# -- what Redis forgets ---------------------------------------------------------------------------------------------


async def test_accumulators_come_from_postgres_when_redis_was_emptied_and_redis_has_them_again(counter: World) -> None:
    async with counter.client() as client:
        await client.settle(claim(MEMBERS[4], "200.00"))
        shown = await client.counters(MEMBERS[4], "2023-05-02")
        assert {one["used"] for one in shown["counters"]} != {"0.00"}
        async with redis.from_url(counter.deployment.servers.addresses.redis) as store:
            await store.flushall()
            assert await client.counters(MEMBERS[4], "2023-05-02") == shown
            assert await store.dbsize() > 0
        assert await client.counters(MEMBERS[4], "2023-05-02") == shown


# -- how much one institution may have open --------------------------------------------------------------------------


async def test_one_institutions_streams_are_counted_and_a_place_is_free_when_one_ends(counter: World) -> None:
    head = head_of(counter, "/v1/feed", "Transfer-Encoding: chunked")
    streams = [await connect(counter) for _ in range(MOST_FEEDS)]
    for reader, writer in streams:
        writer.write(head)
        assert (await asyncio.wait_for(reader.readline(), 30)).startswith(b"HTTP/1.1 200 ")
    async with counter.raw() as session:
        async with session.post("/v1/feed", data=b"") as said:
            assert (said.status, said.headers["Retry-After"]) == (429, "5")
        async with counter.raw(THERE) as other, other.post("/v1/feed", data=b"") as said:
            assert said.status == 200, "another one's streams are his own"
        await hang_up(streams[0][1])
        await answered(session, "POST", "/v1/feed", 200)
        on_the_way = claim()
        with held(counter, on_the_way):  # what was handed in keeps no place, though its outcome is still to come
            line = json.dumps(on_the_way).encode() + b"\n"
            before = await asyncio.to_thread(submitted, counter)
            streams[1][1].write(f"{len(line):x}\r\n".encode() + line + b"\r\n")
            await asyncio.to_thread(until, lambda: submitted(counter) > before, "the line to be handed in")
            await hang_up(streams[1][1])
            await answered(session, "POST", "/v1/feed", 200)
    for _, writer in streams:
        await hang_up(writer)


async def test_one_institutions_requests_are_counted_and_there_is_room_when_they_end(counter: World) -> None:
    head = head_of(counter, "/v1/claims", "Content-Length: 9")
    waiting = [await connect(counter) for _ in range(MOST_INSIDE)]
    for _, writer in waiting:
        writer.write(head)
    async with counter.raw() as session, counter.raw(THERE) as other:
        assert await answered(session, "GET", "/v1/outcomes", 429) == "1"
        assert await answered(other, "GET", "/v1/outcomes", 200) is None
        for _, writer in waiting:
            await hang_up(writer)
        await answered(session, "GET", "/v1/outcomes", 200)


# -- servers that are away -----------------------------------------------------------------------------------------


@pytest.mark.matrix
async def test_who_asks_while_the_database_or_the_broker_is_away_is_told_to_come_again_and_then_gets_his_outcome(
    counter: World,
) -> None:
    asked = claim()
    cases = (("postgres", "GET", "/v1/outcomes", None), ("kafka", "POST", "/v1/claims", json.dumps(asked)))
    async with counter.raw() as session:
        for server, method, place, body in cases:
            counter.deployment.servers.kill(server)
            async with session.request(method, place, data=body) as said:
                told = json.loads(await said.read())
                assert (said.status, said.headers["Retry-After"], told["code"]) == (503, "1", "unavailable"), server
            counter.deployment.servers.up()
    async with counter.client(patience=300) as client:
        outcome = await client.settle(asked)
        assert outcome["outcome"] == "settled"
        assert await client.outcome(HERE, asked["claim_no"]) == outcome


async def answered(session: aiohttp.ClientSession, method: str, place: str, status: int) -> str | None:
    """Asks until the answer has this status, less long than a body is waited for. Returns its Retry-After."""
    async with asyncio.timeout(15):
        while True:
            async with session.request(method, place) as said:
                await said.read()
                if said.status == status:
                    return said.headers.get("Retry-After")
            await asyncio.sleep(0.1)


def test_the_books_are_clean(counter: World) -> None:
    counter.deployment.drain()
    counter.deployment.audit()
    assert all(worker.alive for worker in counter.deployment.workers)
