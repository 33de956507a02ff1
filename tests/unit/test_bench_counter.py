"""The window's benchmark: which claims it takes, from when latency counts, and where the time went."""

import asyncio
import json

from services.bench.counter import Asked, Requests, hops, make_day
from services.bench.counter_load import Call, run
from services.bench.day import WARM_UP_SECONDS
from services.bench.figures import Seen
from services.intake.submission import read

ASKED = Asked(rate=10, feed=40, minutes=0.1, members=100, seed=3)


def number(line: dict[str, str]) -> tuple[str, str]:
    return line["institution_id"], line.get("claim_no") or line["use_no"]


def test_every_number_of_the_day_is_in_one_lane_and_the_window_takes_what_is_well_formed() -> None:
    day = make_day(ASKED)
    assert len(day.window) == ASKED.rate * (2 * ASKED.seconds + WARM_UP_SECONDS)
    assert len(day.feed) == ASKED.feed * (ASKED.seconds + WARM_UP_SECONDS)
    at_window = {number(line) for line in day.window}
    assert len(at_window) == len(day.window)
    assert not at_window & {number(line) for line in day.feed if isinstance(line, dict)}
    assert all(read(json.dumps(line).encode()).claim is not None for line in day.window)


def test_a_trial_is_due_before_its_claim_and_all_in_order() -> None:
    claims = make_day(ASKED).window[:3]
    calls = Requests({line["institution_id"]: "key" for line in claims}).calls(claims, 10)
    assert [call.what for call in calls] == ["trials", "claims"] * 3
    assert [call.due for call in calls] == sorted(call.due for call in calls)


async def test_latency_counts_from_when_a_request_was_due_and_a_cut_is_no_answer() -> None:
    inside = asyncio.Lock()
    served: list[asyncio.Task[None] | None] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One at a time, 50 ms each; hangs up on who asks it to."""
        served.append(asyncio.current_task())
        while request := await reader.readline():
            if b"leave" in request:
                break
            async with inside:
                await asyncio.sleep(0.05)
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}")
        writer.close()
        await writer.wait_closed()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    calls = [Call("claims", 0.0, b"ask\n")] * 10 + [Call("trials", 0.0, b"leave\n")]
    answers = await run("127.0.0.1", server.sockets[0].getsockname()[1], calls)
    server.close()
    await asyncio.gather(*filter(None, served))
    assert [answer.status for answer in answers] == [200] * 10 + [0]
    assert max(answer.ms for answer in answers if answer.status) > 450, "the last waited for the nine before it"


def test_the_time_from_topic_to_topic_is_of_the_windows_claims_alone() -> None:
    def seen(at: int, claim_no: str, kind: str = "claim") -> Seen:
        return Seen(at, json.dumps({"kind": kind, "institution_id": "I", "claim_no": claim_no}).encode())

    path = [[seen(100 + 10 * hop, "A"), seen(0, "B"), seen(0, "A", "reversal")] for hop in range(5)]
    shown = hops(path, [{"institution_id": "I", "claim_no": "A"}])
    assert list(shown) == ["claims.accepted", "claims.eligible", "claims.adjudicated", "claims.settled"]
    assert {figure for one in shown.values() for figure in one.values()} == {10.0}
