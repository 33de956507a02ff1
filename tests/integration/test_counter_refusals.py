"""What the counter does not answer with an outcome: questions that are not quite its own, numbers left free, Kafka away."""

import asyncio
import json
import signal
import time
from collections.abc import AsyncIterator, Iterator

import aiohttp
import pytest
from counter_world import FRESH, INSTITUTIONS, MEMBERS, Line, World, claim, got, posted, world
from servers import LocalServers

HERE = INSTITUTIONS[0]
NUMBER = f"/v1/claims/{HERE}/N1"
COUNTERS = f"/v1/members/{MEMBERS[0]}/counters"


@pytest.fixture(scope="module")
def counter(private_servers: LocalServers) -> Iterator[World]:
    with world(private_servers) as made:
        yield made


async def refusal(counter: World, method: str, place: str) -> tuple[int, Line, str | None]:
    """The status, the problem, and the methods that are allowed."""
    data = json.dumps(claim()).encode() if method == "POST" else b""
    async with aiohttp.request(method, counter.url + place, data=data, headers=counter.headers()) as answer:
        return answer.status, json.loads(await answer.read()), answer.headers.get("Allow")


@pytest.mark.parametrize(
    ("method", "place", "field"),
    [
        ("GET", f"{COUNTERS}?on=2023-05-02&on=2023-05-02", "on"),
        ("GET", f"{COUNTERS}?date=2023-05-02", "date"),
        ("GET", f"{COUNTERS}?on=", "on"),
        ("GET", f"{NUMBER}?kind=claim&kind=reversal", "kind"),
        ("GET", "/v1/outcomes?before=x", "before"),
        ("GET", "/health?x=1", "x"),
        ("POST", "/v1/claims?wait=5", "wait"),
        ("POST", "/v1/feed?wait=5", "wait"),
    ],
)
async def test_a_parameter_is_known_and_given_once(counter: World, method: str, place: str, field: str) -> None:
    status, said, _ = await refusal(counter, method, place)
    assert (status, said["code"], said["field"]) == (400, "bad_parameter", field)
    assert field in said["detail"]
    assert field in said["zh"]["detail"]


@pytest.mark.parametrize(
    ("method", "place", "allowed"),
    [
        ("GET", "/v1/claims/trial", {"POST"}),
        ("POST", NUMBER, {"GET", "HEAD"}),
        ("POST", COUNTERS, {"GET", "HEAD"}),
        ("GET", "/v1/claims/", None),
        ("POST", "/v1/claims/", None),
        ("POST", f"/v1/claims/{HERE}", None),
        ("POST", f"/v1/members/{MEMBERS[0]}/other", None),
    ],
)
async def test_what_is_allowed_is_told_of_places_and_of_nothing_else(
    counter: World, method: str, place: str, allowed: set[str] | None
) -> None:
    status, said, allow = await refusal(counter, method, place)
    assert (status, said["code"]) == ((405, "no_such_method") if allowed else (404, "no_such_place"))
    assert (set(allow.split(", ")) if allow else None) == allowed


async def test_a_number_whose_records_were_rejected_for_themselves_is_told_to_be_free(counter: World) -> None:
    asked = claim()
    number = f"/v1/claims/{HERE}/{asked['claim_no']}"

    async def broken() -> AsyncIterator[bytes]:
        for line in (asked | {"total": "1.00"}, asked | {"surprise": 1}):
            yield json.dumps(line).encode()

    async with counter.client() as client, counter.raw() as session:
        rejections = [one async for one in client.feed(broken())]
        status, said = await got(session, number)
        assert (status, said["code"], said["rejection"]) == (404, "not_found", rejections[-1])
        assert "rejected as malformed" in said["detail"]
        assert "free" in said["remedy"]["en"]
        assert (await got(session, f"{number}?kind=reversal"))[1].get("rejection") is None
        shown = await asyncio.to_thread(counter.deployment.command, "claim", "show", asked["claim_no"])
        assert (shown.returncode, "still free" in shown.stderr, "sum_mismatch" in shown.stdout) == (0, True, True), shown.stderr
        assert await client.outcome(HERE, asked["claim_no"]) is None
        settled = await client.settle(asked)
        assert (await got(session, number)) == (200, settled)


@pytest.mark.parametrize("wait", [0, 2])
async def test_nobody_waits_longer_for_kafka_than_was_preferred(counter: World, wait: int) -> None:
    asked = claim()
    counter.deployment.servers.kill("kafka", signal.SIGSTOP)
    try:
        async with counter.raw() as session:
            began = time.monotonic()
            async with session.post("/v1/claims", json=asked, headers={"Prefer": f"wait={wait}"}) as answer:
                assert (answer.status, answer.headers["Retry-After"]) == (503, "1")
            assert time.monotonic() - began < wait + 4
    finally:
        counter.deployment.servers.wake()
    async with counter.client() as client:
        assert (await client.settle(asked))["outcome"] == "settled"
    rows = counter.deployment.rows("select count(*) from account.journal where number = %s", asked["claim_no"])
    assert rows == [(1,)]


@pytest.mark.parametrize(("in_scope", "status"), [("300.00", 200), ("310.00", 409)])
async def test_every_answer_that_was_waited_for_says_which_wait_was_applied(counter: World, in_scope: str, status: int) -> None:
    asked = claim(in_scope="300.00")
    async with counter.raw() as session:
        assert (await posted(session, "/v1/claims", asked, Prefer="wait=60"))[0] == 200
        again = asked | {"total": in_scope, "in_scope": in_scope}
        for preferred, applied in ((["wait=1000000"], "wait=60"), (["wait=07"], "wait=7"), ([], None)):
            async with session.post("/v1/claims", json=again, headers=[("Prefer", one) for one in preferred]) as answer:
                assert (answer.status, answer.headers.get("Preference-Applied")) == (status, applied)


async def test_an_account_use_that_is_not_allowed_is_told_why(counter: World) -> None:
    use = {
        "type": "account_use", "use_no": "U1", "institution_id": HERE, "member_id": MEMBERS[0], "purpose": "fitness",
        "amount": "1.00", "used_at": "2023-05-02T09:30:00+08:00",
    }  # fmt: skip
    for_another = use | {"use_no": "U2", "purpose": "own_share", "for_member": MEMBERS[1]}
    async with counter.raw() as session:
        for record, code, field in (
            (use, "account_use_not_allowed", "purpose"),
            (for_another, "family_link_missing", "for_member"),
        ):
            status, said = await posted(session, "/v1/claims", record, Prefer="wait=30")
            assert (status, said["code"], said["field"]) == (422, code, field), said
            assert said["outcome"]["use_no"] == record["use_no"]
            assert said["remedy"]["zh"]


async def test_a_stream_ends_with_its_key(counter: World) -> None:
    made = counter.deployment.command("institution", "key", "create", HERE, "--reason", "new", "--json")
    key, lines = json.loads(made.stdout), (claim(FRESH, "1.00") for _ in range(60))
    answers: list[Line] = []

    async def trickle() -> AsyncIterator[bytes]:
        for line in lines:
            yield json.dumps(line).encode() + b"\n"
            await asyncio.sleep(0.5)

    async with (
        aiohttp.ClientSession(counter.url, headers={"Authorization": f"Bearer {key['key']}"}) as session,
        session.post("/v1/feed", data=trickle()) as stream,
    ):
        async for raw in stream.content:
            answers.append(json.loads(raw))
            if len(answers) == 1:
                revoke = ("institution", "key", "revoke", key["key_id"], "--reason", "lost")
                assert (await asyncio.to_thread(counter.deployment.command, *revoke)).returncode == 0
    assert (answers[-1]["line"], answers[-1]["problem"]["code"]) == (None, "unauthorized"), answers[-1]
    assert {answer["type"] for answer in answers[:-1]} == {"settlement"}, "what was handed in before is answered"
    assert len(answers) < 40


def test_the_books_are_clean(counter: World) -> None:
    counter.deployment.drain()
    counter.deployment.audit()
