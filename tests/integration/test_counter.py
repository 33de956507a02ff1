"""The counter on the real servers and services: what a hospital's program gets, and what it cannot get."""

import asyncio
import html
import itertools
import json
import os
import random
import re
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import aiohttp
import pytest
from counter_world import FRESH, INSTITUTIONS, MEMBERS, Line, World, claim, got, hang_up, logged, posted, reversal, world
from cut_line import cut_line
from servers import LocalServers
from yarl import URL

from services.client import CounterClient, Refused
from services.intake.api_openapi import document
from shared.money import fen

HERE, THERE = INSTITUTIONS
FUNDS = ("pooled", "large_expense", "civil_servant", "veterans", "fund_total")


@pytest.fixture(scope="module")
def counter(private_servers: LocalServers) -> Iterator[World]:
    with world(private_servers) as made:
        yield made


async def sent(lines: list[Line | bytes]) -> AsyncIterator[bytes]:
    for line in lines:
        yield line if isinstance(line, bytes) else json.dumps(line).encode()


# -- one record, one answer -----------------------------------------------------------------------------------------


def examples() -> Iterator[tuple[str, str, str | None]]:
    """Method, place and body of each example of the description."""
    for path, methods in document()["paths"].items():
        for method, operation in methods.items():
            place = path
            for parameter in operation.get("parameters", ()):
                place = place.replace(f"{{{parameter['name']}}}", parameter.get("example", ""))
            contents = operation.get("requestBody", {}).get("content", {}).values()
            body = next((content["example"] for content in contents), None)
            yield method, place, body if isinstance(body, str) or body is None else json.dumps(body)


async def test_the_examples_of_the_description_work_as_they_stand(counter: World) -> None:
    async with counter.raw() as session:
        for method, place, body in examples():
            async with session.request(method, place, data=body, headers={"Prefer": "wait=30"}) as answer:
                assert answer.status == 200, (place, await answer.text())


async def test_the_commands_of_the_page_for_people_work_as_they_stand(counter: World) -> None:
    async with counter.raw() as session, session.get("/") as answer:
        commands = [html.unescape(found) for found in re.findall(r"<pre>(.*?)</pre>", await answer.text(), re.DOTALL)]
    assert len(commands) == sum(len(methods) for methods in document()["paths"].values())
    environment = {"PATH": os.environ["PATH"], "KEY": counter.keys[HERE], "COUNTER": counter.url}
    for command in commands:
        asked = ["bash", "-c", f"{command} -sS --fail-with-body"]
        done = await asyncio.to_thread(subprocess.run, asked, env=environment, capture_output=True, timeout=60, check=False)
        assert done.returncode == 0, (command, done.stdout, done.stderr)


async def test_a_claim_sent_again_gets_the_same_bytes(counter: World) -> None:
    asked = claim()
    async with counter.raw() as session:
        answers = []
        for _ in range(2):
            async with session.post("/v1/claims", json=asked, headers={"Prefer": "wait=30"}) as answer:
                assert answer.headers["Preference-Applied"] == "wait=30"
                answers.append(await answer.read())
        assert answers[0] == answers[1]
        async with session.get(f"/v1/claims/{HERE}/{asked['claim_no']}") as answer:
            assert await answer.read() == answers[0]


async def test_two_at_once_get_equal_answers_and_one_effect(counter: World) -> None:
    asked = claim(MEMBERS[1])
    async with counter.raw() as one, counter.raw() as other:
        (_, first), (_, second) = await asyncio.gather(
            *(posted(via, "/v1/claims", asked, Prefer="wait=60") for via in (one, other))
        )
    assert first == second
    rows = counter.deployment.rows("select count(*) from account.journal where number = %s", asked["claim_no"])
    assert rows == [(1,)]


async def test_two_contents_under_one_number_at_once_are_not_mixed_up(counter: World) -> None:
    pairs = [(one := claim(MEMBERS[2], "310.00"), one | {"total": "320.00", "in_scope": "320.00"}) for _ in range(10)]
    async with counter.raw() as session:
        for pair in pairs:
            answers = await asyncio.gather(*(posted(session, "/v1/claims", asked, Prefer="wait=60") for asked in pair))
            assert sorted(status for status, _ in answers) == [200, 409]
            for asked, (status, said) in zip(pair, answers, strict=True):
                assert said["total"] == asked["total"] if status == 200 else said["code"] == "duplicate_conflict"


async def test_a_reversal_carries_the_negatives_and_has_a_place_of_its_own(counter: World) -> None:
    asked = claim(MEMBERS[3])
    async with counter.client() as client:
        settled = await client.settle(asked)
        back = await client.settle(reversal(asked))
        assert (back["outcome"], back["pooled"]) == ("reversed", f"-{settled['pooled']}")
        assert await client.outcome(HERE, asked["claim_no"]) == settled
        assert await client.outcome(HERE, asked["claim_no"], "reversal") == back


async def test_a_lost_line_is_closed_by_its_reversal(counter: World) -> None:
    lost = claim()
    async with counter.client() as client:
        assert await client.outcome(HERE, lost["claim_no"]) is None
        assert (await client.settle(reversal(lost)))["reasons"][0]["code"] == "claim_not_found"
        assert (await client.settle(lost))["reasons"][0]["code"] == "reversed_before_arrival"
        assert (await client.outcome(HERE, lost["claim_no"]) or {})["outcome"] == "rejected"


async def test_who_does_not_wait_is_told_where_to_ask(counter: World) -> None:
    asked = claim(claim_no="N/0 甲")
    async with counter.raw() as session:
        async with session.post("/v1/claims", json=asked, headers={"Prefer": "wait=0"}) as answer:
            assert (answer.status, answer.headers["Preference-Applied"]) == (202, "wait=0")
            place = answer.headers["Location"]
        async with asyncio.timeout(60):
            while (status := (await got(session, place))[0]) != 200:
                assert status in {202, 404}
                await asyncio.sleep(0.1)


async def test_a_client_on_a_line_that_is_cut_learns_every_outcome_and_nothing_is_settled_twice(counter: World) -> None:
    asked = [claim(MEMBERS[number % 8], "6.00") for number in range(40)]
    day = [claim(MEMBERS[number % 8], "4.00") for number in range(200)]
    async with cut_line(counter.url, random.Random(7)) as (url, line):
        async with CounterClient(url, counter.keys[HERE], patience=300) as client:
            settled = await asyncio.gather(*(client.settle(one) for one in asked))
            cuts_of_requests, line.cuts, line.measure = line.cuts, 0, 60_000
            streamed = [one async for one in client.feed(sent([*day]))]
        assert min(cuts_of_requests, line.cuts) >= 3, "the line was cut in the middle of both"
    assert [one["claim_no"] for one in (*settled, *streamed)] == [one["claim_no"] for one in (*asked, *day)]
    assert {one["outcome"] for one in (*settled, *streamed)} == {"settled"}
    numbers = [one["claim_no"] for one in (*asked, *day)]
    settlements = "select count(*), count(distinct claim_no) from account.outcome where claim_no = any(%s) and kind = 'claim'"
    assert counter.deployment.rows(settlements, numbers) == [(240, 240)]


async def test_a_members_cap_is_filled_and_not_exceeded_by_what_comes_over_both_ways_at_once(counter: World) -> None:
    who = MEMBERS[7]
    at_window = [claim(who, "900.00") for _ in range(30)]
    fed = [claim(who, "900.00", institution=THERE) for _ in range(30)]
    async with counter.client() as here, counter.client(THERE) as there:
        before = ordinary_cap(await here.counters(who, "2023-05-02"))
        feeding = asyncio.create_task(asyncio.to_thread(counter.deployment.send, fed))
        outcomes = await asyncio.gather(*(here.settle(one) for one in at_window))
        await feeding
        outcomes += await asyncio.gather(*(there.settle(one) for one in fed))  # repeats: the first outcome
        after = ordinary_cap(await here.counters(who, "2023-05-02"))
    paid = sum(fen(outcome["pooled"]) for outcome in outcomes)
    assert (paid, after["left"]) == (fen(before["left"]), "0.00")
    steps = sorted((fen(outcome["before"]["ordinary.fund"]), fen(outcome["after"]["ordinary.fund"])) for outcome in outcomes)
    assert all(one[1] == next_[0] for one, next_ in itertools.pairwise(steps)), "each claim stands on the one before"


def ordinary_cap(shown: Line) -> Line:
    """A member's annual cap of ordinary outpatient care."""
    found: list[Line] = [one for one in shown["counters"] if one["name"] == "ordinary.fund" and one["kind"] == "cap"]
    return found[0]


# -- trials ---------------------------------------------------------------------------------------------------------


async def test_a_trial_is_what_settlement_then_pays_and_leaves_no_trace(counter: World) -> None:
    chance = random.Random(5)
    tables = ("intake.submission", "intake.outgoing", "adjudication.counter", "adjudication.decision", "account.outcome")
    sizes = [counter.deployment.rows(f"select count(*) from {table}") for table in tables]
    asked = [claim(chance.choice(MEMBERS), f"{chance.randrange(1, 900)}.{chance.randrange(100):02d}") for _ in range(250)]
    async with counter.client() as client:
        for start in range(0, len(asked), 50):
            await asyncio.gather(*(client.trial(one) for one in asked[start : start + 50]))
        assert [counter.deployment.rows(f"select count(*) from {table}") for table in tables] == sizes
        await asyncio.gather(*(settled_as_tried(client, [one for one in asked if one["member_id"] == who]) for who in MEMBERS))


async def settled_as_tried(client: CounterClient, asked: list[Line]) -> None:
    """Tries and settles one member's claims in turn; other members' are between."""
    for one in asked:
        trial = await client.trial(one)
        settled = await client.settle(one | {"quote": trial["quote"]})
        same = (*FUNDS, "account", "cash", "total", "deductible", "before", "after", "policy", "account_balance")
        assert [settled[name] for name in same] == [trial[name] for name in same]


async def test_a_quote_that_no_longer_holds_is_409_with_both_amounts(counter: World) -> None:
    async with counter.client() as client, counter.raw() as session:
        asked = claim(FRESH, "350.00")
        trial = await client.trial(asked)
        await client.settle(claim(FRESH, "90.00"))
        status, said = await posted(session, "/v1/claims", asked | {"quote": trial["quote"]}, Prefer="wait=60")
        assert (status, said["code"], said["changed"]) == (409, "quote_stale", ["accumulators"])
        assert said["quoted"]["pooled"] == trial["pooled"] != said["current"]["pooled"]
        assert (await client.trial(asked))["pooled"] == said["current"]["pooled"]


async def test_the_accumulators_are_the_same_from_redis_and_from_postgres(counter: World) -> None:
    async with counter.client() as client:
        await client.settle(claim(MEMBERS[4], "200.00"))
        from_redis = await client.counters(MEMBERS[4], "2023-05-02")
        counter.deployment.servers.kill("redis")
        assert await client.counters(MEMBERS[4], "2023-05-02") == from_redis
        assert await client.trial(claim(MEMBERS[4])) is not None
        counter.deployment.servers.up()
        shown = {entry["name"]: entry for entry in from_redis["counters"]}
        assert (shown["ordinary.deductible"]["left"], shown["ordinary.deductible"]["article"]) == ("0.00", "130900:10")
        assert shown["ordinary.fund"]["used"] != "0.00"
        with pytest.raises(Refused, match="unknown_member"):
            await client.counters("nobody", "2023-05-02")


# -- streams --------------------------------------------------------------------------------------------------------


async def test_a_stream_is_answered_line_by_line_in_its_order(counter: World) -> None:
    lines: list[Line | bytes] = []
    for number in range(150):
        lines += [one := claim(MEMBERS[number % 8], f"{number + 1}.00"), one]
    lines += [b"no json", claim(institution=THERE), {"type": "member"}, claim(total="1.00")]
    async with counter.client() as client:
        answers = [answer async for answer in client.feed(sent(lines))]
    assert len(answers) == len(lines)
    for line, answer in zip(lines[:300], answers, strict=False):
        assert isinstance(line, dict)
        assert answer["claim_no"] == line["claim_no"]
    assert answers[:300:2] == answers[1:300:2], "a repeat gets the first outcome"
    assert [answer.get("problem", {}).get("code") for answer in answers[300:]] == [
        "unreadable", "other_institution", "unreadable", None,
    ]  # fmt: skip
    assert answers[-1]["reasons"][0]["code"] == "sum_mismatch"


async def test_who_sends_without_reading_is_not_read_from_for_ever(counter: World) -> None:
    """Back-pressure: the counter takes what can be on its way, and then no more."""
    host, port = counter.url.removeprefix("http://").split(":")
    _, writer = await asyncio.open_connection(host, int(port), limit=1)
    head = (
        f"POST /v1/feed HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {counter.keys[HERE]}\r\nTransfer-Encoding: chunked\r\n\r\n"
    )
    writer.write(head.encode())
    line = json.dumps(claim(MEMBERS[6])).encode() + b"\n"
    enough = 200_000_000 // (len(line) * 100)
    for taken in range(enough):  # noqa: B007 - looked at behind the loop
        writer.write(f"{len(line) * 100:x}\r\n".encode() + line * 100 + b"\r\n")
        try:
            await asyncio.wait_for(writer.drain(), 20)
        except TimeoutError:
            break
    await hang_up(writer)
    assert taken < enough - 1


async def test_an_institutions_outcomes_come_once_each_whatever_is_settled_meanwhile(counter: World) -> None:
    numbers: list[str] = []

    async def settle() -> None:
        lines: list[Line | bytes] = [claim(MEMBERS[number % 8], "5.00", institution=THERE) for number in range(200)]
        lines += [claim(institution=THERE, total="1.00") for _ in range(20)]  # intake refuses these itself
        numbers.extend(line["claim_no"] for line in lines if isinstance(line, dict))
        async with counter.client(THERE) as client:
            assert len([answer async for answer in client.feed(sent(lines))]) == len(lines)

    seen: list[str] = []
    cursor = ""
    async with counter.client(THERE) as client:
        async for _, behind in client.outcomes():  # what other tests have settled
            cursor = behind
        settling = asyncio.create_task(settle())
        over = False
        while not over:
            over = settling.done()  # one look more after the end
            async for page, behind in client.outcomes(cursor):
                seen += [outcome["claim_no"] for outcome in page]
                cursor = behind
        await settling
    assert sorted(seen) == sorted(numbers)


def test_the_command_streams_a_file_and_says_which_lines_were_not_taken(counter: World, tmp_path: Path) -> None:
    day = tmp_path / "day.ndjson"
    lines = [claim(MEMBERS[5], "7.00"), claim(MEMBERS[5], total="1.00"), claim(institution=THERE)]
    day.write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8-sig")  # some editors begin a file so
    command = [sys.executable, "-m", "services", "feed", "send", "--http", counter.url, "--json", str(day)]
    environment = counter.deployment.environment
    done = subprocess.run(
        command, env=environment | {"GONGJI_KEY": counter.keys[HERE]}, capture_output=True, text=True, timeout=120, check=False
    )
    answers = [json.loads(line) for line in done.stdout.splitlines()]
    assert [answer.get("outcome") for answer in answers] == ["settled", "rejected", None]
    assert done.returncode == 1
    assert f"{day}:3" in done.stderr.replace("\n", "")
    assert "2 outcomes, 1 of them rejections" in done.stderr
    assert subprocess.run(command, env=environment, capture_output=True, timeout=120, check=False).returncode == 2, "no key"


# -- who may --------------------------------------------------------------------------------------------------------


async def test_each_refusal_says_what_is_wrong(counter: World) -> None:
    mine, its = claim(), claim(institution=THERE)
    cases: list[tuple[str, str, Line | bytes, dict[str, str], int, str]] = [
        ("POST", "/v1/claims", mine, {"Authorization": ""}, 401, "unauthorized"),
        ("POST", "/v1/claims", mine, {"Authorization": "Bearer gongji_000000000000_x"}, 401, "unauthorized"),
        ("POST", "/v1/claims", mine, {"Authorization": f"Basic {counter.keys[HERE]}"}, 401, "unauthorized"),
        ("POST", "/v1/claims", its, {}, 403, "other_institution"),
        ("POST", "/v1/claims/trial", its, {}, 403, "other_institution"),
        ("POST", "/v1/reversals", reversal(its), {}, 403, "other_institution"),
        ("GET", f"/v1/claims/{THERE}/N1", b"", {}, 403, "other_institution"),
        ("GET", f"/v1/claims/{HERE}/never", b"", {}, 404, "not_found"),
        ("GET", f"/v1/claims/{HERE}/N1?kind=other", b"", {}, 400, "bad_parameter"),
        ("GET", f"/v1/claims/{HERE}/%00", b"", {}, 404, "no_such_place"),
        ("GET", f"/v1/claims/{HERE}/%ff", b"", {}, 404, "no_such_place"),
        ("GET", "/v1/nowhere", b"", {}, 404, "no_such_place"),
        ("DELETE", "/v1/claims", b"", {}, 405, "no_such_method"),
        ("GET", "/v1/outcomes?after=x", b"", {}, 400, "bad_parameter"),
        ("GET", f"/v1/members/{MEMBERS[0]}/counters?on=tomorrow", b"", {}, 400, "bad_parameter"),
        ("POST", "/v1/claims", b"", {}, 400, "unreadable"),
        ("POST", "/v1/claims", b"[]", {}, 400, "unreadable"),
        ("POST", "/v1/claims", b"\xff", {}, 400, "unreadable"),
        ("POST", "/v1/claims", b"[" * 100_000, {}, 400, "unreadable"),
        ("POST", "/v1/claims", reversal(mine), {}, 400, "wrong_type"),
        ("POST", "/v1/reversals", mine, {}, 400, "wrong_type"),
        ("POST", "/v1/claims", mine | {"total": "1.00"}, {}, 422, "sum_mismatch"),
        ("POST", "/v1/claims", mine | {"surprise": 1}, {}, 422, "malformed"),
        ("POST", "/v1/claims", mine | {"visited_at": "2023-06-02T09:30:00+08:00"}, {}, 422, "visit_in_future"),
        ("POST", "/v1/claims/trial", mine | {"member_id": "nobody"}, {}, 422, "unknown_member"),
        ("POST", "/v1/claims", mine | {"member_id": "nobody"}, {"Prefer": "wait=60"}, 422, "unknown_member"),
        ("POST", "/v1/claims", b"x" * 1_000_001, {}, 413, "too_large"),
        ("POST", "/v1/claims", mine, {"Content-Encoding": "gzip"}, 415, "encoding"),
        ("POST", "/v1/feed", b"", {"Content-Encoding": "gzip"}, 415, "encoding"),
    ]  # fmt: skip
    async with counter.raw() as session:
        for method, place, record, headers, status, code in cases:
            data = record if isinstance(record, bytes) else json.dumps(record).encode()
            url = URL(counter.url + place, encoded=True)
            async with aiohttp.request(method, url, data=data, headers=dict(session.headers) | headers) as answer:
                said = json.loads(await answer.read())
                assert (answer.status, said["code"]) == (status, code), (method, place, said)
                assert answer.content_type == "application/problem+json"
                assert said["request_id"] == answer.headers["X-Request-Id"]


def test_a_key_for_an_institution_that_is_not_registered_comes_with_a_warning(counter: World) -> None:
    """Keys are handed over before the institution's line may have come; a slip of the pen looks the same."""
    known = counter.deployment.command("institution", "key", "create", HERE, "--reason", "new", "--json")
    assert (json.loads(known.stdout)["registered"], "warning" in known.stderr) == (True, False)
    made = counter.deployment.command("institution", "key", "create", "H999", "--reason", "new", "--json")
    key = json.loads(made.stdout)
    assert (made.returncode, key["registered"]) == (0, False)
    assert "the register does not know H999 yet" in made.stderr
    assert f"key revoke {key['key_id']}" in made.stderr
    assert counter.deployment.command("institution", "key", "list", "H999").returncode == 0
    nobody = counter.deployment.command("institution", "key", "list", "H998")
    assert (nobody.returncode, "nobody made a key for H998" in nobody.stderr) == (1, True)


async def test_a_revoked_key_opens_nothing(counter: World) -> None:
    made = counter.deployment.command("institution", "key", "create", HERE, "--reason", "new", "--json")
    key = json.loads(made.stdout)
    async with aiohttp.ClientSession(counter.url, headers={"Authorization": f"Bearer {key['key']}"}) as session:
        assert (await got(session, "/v1/outcomes"))[0] == 200
        assert counter.deployment.command("institution", "key", "revoke", key["key_id"], "--reason", "lost").returncode == 0
        assert counter.deployment.command("institution", "key", "revoke", key["key_id"], "--reason", "lost").returncode == 1
        async with asyncio.timeout(20):  # an instance asks again for a key it knows after some seconds
            while (await got(session, "/v1/outcomes"))[0] != 401:  # noqa: ASYNC110 - the instance tells nobody when it forgets a key
                await asyncio.sleep(0.2)
    assert key["key"].split("_")[2] not in str(counter.deployment.rows("select * from intake.api_key"))
    assert counter.deployment.rows("select command from runtime.command_log where command like 'institution key%%'") != []


def test_the_log_names_nobody(counter: World) -> None:
    lines = logged(counter.deployment.of("intake")[0])
    text = json.dumps(lines)
    assert {line["status"] for line in lines} >= {200, 401, 403}
    assert len({line["institution"] for line in lines}) == 3, "both institutions, masked, and nobody"
    for name in (*MEMBERS, *INSTITUTIONS, "MZ2023", *counter.keys.values()):
        assert name not in text


def test_the_books_are_clean(counter: World) -> None:
    counter.deployment.drain()
    counter.deployment.audit()
