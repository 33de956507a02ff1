"""Where feed lines go, and that register and claims never overtake each other."""

import json
import re
from collections.abc import Iterable, Sequence
from typing import Any, cast

import pytest

from services import pipeline
from services.ops import barrier
from services.ops.barrier import Barrier, Ends
from services.ops.send import MAX_LINE_BYTES, Feeder, Numbered, Outward, Sending, Sent, route
from shared.identity import part_of

MEMBER = {
    "type": "member", "member_id": "M1", "region": "130900", "status": "active",
    "employment": "employee", "sector": "enterprise", "valid_from": "2022-01-01",
}  # fmt: skip
CLAIM = {"type": "claim", "institution_id": "I1", "claim_no": "C1"}

ROUTES: list[tuple[bytes, str, str | None]] = [
    (json.dumps(MEMBER).encode(), "register.member", "M1"),
    (b'{"type": "family_link", "holder_id": "H"}', "register.family_link", "H"),
    (b'{"type": "catalogue_item", "code": "X1"}', "register.catalogue_item", "X1"),
    (b'{"type": "account_credit", "member_id": 7}', "register.account_credit", None),
    (json.dumps(CLAIM).encode(), "claims.submitted", "I1"),
    (b'{"type": "reversal", "institution_id": "I1"}', "claims.submitted", "I1"),
    (b'{"type": ["member"], "institution_id": "I1"}', "claims.submitted", "I1"),
    (b'{"type": "weather"}', "claims.submitted", None),
    (b'{"institution_id": "\\ud800"}', "claims.submitted", "?"),
    (b"\xff\xfe", "claims.submitted", None),
    (b"[[[[", "claims.submitted", None),
]


@pytest.mark.parametrize(("line", "topic", "key"), ROUTES)
def test_each_line_goes_to_its_topic_by_its_key_with_its_own_bytes(line: bytes, topic: str, key: str | None) -> None:
    outward = route(line)
    assert (outward.topic, outward.key, outward.value) == (topic, key.encode() if key else None, line)
    assert 0 <= outward.part < 1024
    if key:
        assert outward.part == part_of(key)


def test_what_nobody_can_take_is_sent_and_told() -> None:
    assert route(json.dumps(MEMBER).encode()).fault == ""
    assert "valid_from" in route(json.dumps({**MEMBER, "valid_from": "soon"}).encode()).fault
    assert "not JSON" in route(b"{").fault


@pytest.mark.parametrize(
    ("line", "fault"),
    [
        ({"type": "claim"}, "institution_id and claim_no"),
        ({"type": "claim", "institution_id": "I1", "claim_no": 7}, "as strings"),
        ({"type": "claim", "institution_id": "I1", "claim_no": "\ud800"}, "half a surrogate pair"),
        ({"type": "account_use", "institution_id": "I1", "use_no": "U1"}, ""),
        ({"type": "memeber", "institution_id": "I1", "claim_no": "C1"}, "type must be one of claim, .*account_credit"),
        ({"institution_id": "I1", "claim_no": "C1"}, "type must be one of"),
    ],
)
def test_a_submission_that_nobody_could_answer_is_sent_and_told(line: dict[str, Any], fault: str) -> None:
    outward = route(json.dumps(line).encode())
    assert outward.topic == "claims.submitted"
    assert re.search(fault, outward.fault)
    assert bool(fault) == bool(outward.fault)


class Deployment:
    """A feeder and a barrier in one, which keep a diary."""

    def __init__(self) -> None:
        self.diary: list[str] = []
        self._open: dict[str, int] = {}

    async def send(self, outward: Sequence[Outward]) -> None:
        topics = {one.topic for one in outward}
        self.diary.append(f"{len(outward)} {' '.join(sorted(topics))}")
        for topic in topics:
            self._open[topic] = self._open.get(topic, 0) + 1

    def take_ends(self, topics: str) -> Ends:
        return {(topic, 0): self._open.pop(topic) for topic in list(self._open) if topic.startswith(topics)}

    async def applied(self, ends: Ends) -> None:
        if ends:
            self.diary.append("applied " + " ".join(sorted(topic for topic, _ in ends)))

    async def answered(self, ends: Ends) -> None:
        if ends:
            self.diary.append("answered")


async def send(lines: Iterable[bytes], *, wait: bool = False, rate: float | None = None) -> tuple[list[str], Sent]:
    deployment = Deployment()
    sending = Sending(cast("Feeder", deployment), cast("Barrier", deployment), rate=rate, advance=lambda _: None)
    numbered: list[Numbered] = [("feed", number, line) for number, line in enumerate(lines, 1)]
    sent = await sending.run(numbered, wait=wait)
    return deployment.diary, sent


def lines(word: str) -> list[bytes]:
    """m: a member; c: a claim; x: what nobody can read."""
    kinds: dict[str, Any] = {"m": json.dumps(MEMBER).encode(), "c": json.dumps(CLAIM).encode(), "x": b"{"}
    return [kinds[letter] for letter in word]


DIARIES = [
    ("", False, []),
    ("mm", False, ["2 register.member", "applied register.member"]),
    ("mmcc", False, ["2 register.member", "applied register.member", "2 claims.submitted"]),
    ("mxcc", True, ["1 register.member", "applied register.member", "3 claims.submitted", "answered"]),
    (
        "mcmc",
        True,
        ["1 register.member", "applied register.member", "1 claims.submitted", "answered"] * 2,
    ),
    ("c" * 2500, False, ["1000 claims.submitted", "1000 claims.submitted", "500 claims.submitted"]),
]


@pytest.mark.parametrize(("word", "wait", "diary"), DIARIES)
async def test_register_and_claims_wait_for_each_other(word: str, wait: bool, diary: list[str]) -> None:
    assert (await send(lines(word), wait=wait))[0] == diary


async def test_every_line_is_counted_and_every_fault_has_its_place() -> None:
    huge = b'{"x": "' + b"a" * MAX_LINE_BYTES + b'"}'
    _, sent = await send([*lines("mc"), b"", b" \r\n", b"{\n", huge])
    assert (sent.register, sent.submitted, sent.too_large) == (1, 2, 1)
    assert [place for place, _ in sent.faults] == ["feed:5", "feed:6"]


async def test_a_rate_sends_small_chunks() -> None:
    diary, _ = await send(lines("c" * 60), rate=400)
    assert diary == ["20 claims.submitted"] * 3


def test_the_barrier_waits_for_exactly_those_who_read_the_topics() -> None:
    readers: dict[str, set[str]] = {}
    for place in pipeline.PATH:
        for topic in place.topics:
            readers.setdefault(topic, set()).add(place.service)
    register = {topic: set(services) for topic, services in barrier.APPLIED_BY.items()}
    assert register == {topic: services for topic, services in readers.items() if topic.startswith("register.")}
    path = [(place.service, topic) for place in pipeline.PATH for topic in place.topics if topic.startswith("claims.")]
    assert list(barrier.PATH) == [step for step in path if step[0] != "crossregion"]
