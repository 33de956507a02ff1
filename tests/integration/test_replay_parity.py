"""`gongji replay` and the live services settle a mixed day of all five cities alike: every outcome, every field but its times.

Live, a feed keeps its order per institution up to acceptance and per member from there; between members only the
lock on a shared account decides. So the two are compared where the order is known:

* with one partition a topic everything keeps the order of the feed: any feed must come out the same, family payers and all;
* with eight, at full speed, the replay is given the order in which the members' events were accepted, read from
  `claims.accepted`. Family payers are left out of that day: whose claim reaches the payer's account first is open.
"""

import asyncio
import json
from collections import defaultdict, deque
from collections.abc import Iterator, Sequence
from typing import Any

import deployment as deployments
import pytest
import servers
from deployment import Deployment, Line, deployment
from servers import LocalServers

from services.ops.generate import generate
from services.replay import Item, Replay, chunks, item_of
from shared.events import ACCEPTED, REGISTER_TYPES
from shared.policy import Policies
from shared.runtime.settings import policies_directory

REGIONS = ("130900", "420300", "440800", "511900", "653100")


def run_with(partitions: int) -> Iterator[Deployment]:
    with servers._own_home() as home, pytest.MonkeyPatch.context() as patched:
        patched.setattr(deployments, "PARTITIONS", partitions)
        own = LocalServers(home)
        own.up()
        with deployment(own) as made:
            made.start()
            yield made


@pytest.fixture
def in_order() -> Iterator[Deployment]:
    yield from run_with(1)


@pytest.fixture
def at_speed() -> Iterator[Deployment]:
    yield from run_with(8)


def mixed_day(seed: int) -> list[Line | bytes]:
    """Repeats, conflicts, reversals before and after, mistakes and lines nobody can read; a member for every four claims."""
    return list(generate(1500, 375, REGIONS, seed, broken=True))


def is_register(line: Line | bytes) -> bool:
    return not isinstance(line, bytes) and line["type"] in REGISTER_TYPES


def encoded(line: Line | bytes) -> bytes:
    return line if isinstance(line, bytes) else json.dumps(line, ensure_ascii=False).encode()


def number_of(line: Line) -> tuple[str, str]:
    return line["institution_id"], line.get("claim_no") or line["use_no"]


async def replayed(lines: Sequence[Line | bytes]) -> tuple[list[Item], list[int], set[int]]:
    """Outcomes, the lines without any, and the lines that intake let through; by place in the feed."""
    replaying = Replay(Policies.load(policies_directory()))
    outcomes: list[Item] = []
    faults: list[int] = []
    passed: set[int] = set()
    for chunk in chunks(item_of(place, encoded(line)) for place, line in enumerate(lines)):
        done = await replaying.settle(chunk)
        outcomes += done.outcomes
        faults += [fault.number for fault in done.faults]
        passed |= done.decided.keys()
    return outcomes, faults, passed


def compare(live: Deployment, lines: Sequence[Line | bytes], outcomes: Sequence[Item], faults: Sequence[int]) -> None:
    expected = {shown["event_id"]: shown for shown in (json.loads(outcome.value) for outcome in outcomes)}
    found = live.outcomes()
    assert found.keys() == expected.keys()
    wrong = {name: (found[name], outcome) for name, outcome in expected.items() if found[name] != outcome}
    assert not wrong, f"{len(wrong)} of {len(expected)}; the first (live, replay): {next(iter(wrong.values()))}"
    assert sorted(live.dead_letters()) == sorted(encoded(lines[place]) for place in faults)


def check_it_is_a_mixed_day(outcomes: Sequence[Item]) -> None:
    """Guards against a day in which nothing could go wrong."""
    shown = [json.loads(outcome.value) for outcome in outcomes]
    assert {one["policy"]["region"] for one in shown if one["policy"]} == set(REGIONS)
    assert {one["outcome"] for one in shown} == {"settled", "rejected", "reversed"}
    assert {one["kind"] for one in shown} == {"claim", "reversal", "account_use"}
    assert len({one["event_id"] for one in shown}) < len(shown)
    assert sum(one["account"] != "0.00" for one in shown) > 100


def test_with_one_partition_a_mixed_day_comes_out_as_in_a_replay(in_order: Deployment) -> None:
    lines = mixed_day(seed=21)
    outcomes, faults, _ = asyncio.run(replayed(lines))
    check_it_is_a_mixed_day(outcomes)
    assert any(json.loads(outcome.value)["family_account"] != "0.00" for outcome in outcomes)
    send(in_order, lines)
    compare(in_order, lines, outcomes, faults)


def test_at_full_speed_a_mixed_day_comes_out_as_in_a_replay_in_the_order_of_acceptance(at_speed: Deployment) -> None:
    lines = [
        line if isinstance(line, bytes) else {name: value for name, value in line.items() if name != "family_payer"}
        for line in mixed_day(seed=22)
    ]
    _, _, passed = asyncio.run(replayed(lines))
    send(at_speed, lines)
    accepted = [json.loads(value) for _, _, value in at_speed.wire(ACCEPTED)]
    assert len(accepted) == len(passed)
    ordered = in_order_of_acceptance(lines, passed, accepted)
    outcomes, faults, _ = asyncio.run(replayed(ordered))
    check_it_is_a_mixed_day(outcomes)
    compare(at_speed, ordered, outcomes, faults)


def send(live: Deployment, lines: Sequence[Line | bytes]) -> None:
    """The register, and when it is applied the claims, as fast as they go."""
    live.register([line for line in lines if not isinstance(line, bytes) and is_register(line)])
    live.send([line for line in lines if not is_register(line)])
    live.drain()


def in_order_of_acceptance(
    lines: Sequence[Line | bytes], passed: set[int], accepted: Sequence[dict[str, Any]]
) -> list[Line | bytes]:
    """The same lines: those of one number in the order they had, those of one member in the order of acceptance.

    ``accepted`` is `claims.accepted`, partition after partition, so each member's events come in their order.
    """
    ordered = [line for line in lines if is_register(line)]
    waiting: dict[tuple[str, str], deque[int]] = defaultdict(deque)
    unreadable = []
    for place, line in enumerate(lines):
        if isinstance(line, bytes):
            unreadable.append(line)
        elif not is_register(line):
            waiting[number_of(line)].append(place)
    for event in accepted:
        of_number = waiting[event["institution_id"], event["claim_no"]]
        while (place := of_number.popleft()) not in passed:  # turned away at intake, before this one came
            ordered.append(lines[place])
        ordered.append(lines[place])
    ordered += [lines[place] for of_number in waiting.values() for place in of_number]
    return ordered + unreadable
