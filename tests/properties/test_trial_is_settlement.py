"""A trial says to the fen what settlement then pays, over thousands of made-up claims of all five cities; and what came between.

The trial's own code over the books of a replay, so that thousands of them pass in seconds.
"""

import asyncio
import json
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from itertools import islice
from random import Random
from typing import Any

from services.intake.submission import read
from services.ops.generate import generate
from services.ops.population import Line
from services.replay import CHUNK, Replay, chunks, item_of
from services.trial import Trials
from shared.events import REGISTER_TYPES, Event
from shared.money import fen
from shared.outcome import encode
from shared.policy import Policies
from shared.quote import FUNDS
from shared.runtime.settings import policies_directory

REGIONS = ("130900", "440800", "511900", "653100", "420300")
CLAIMS = 3_000
MEMBERS = 700  # few, so that each has a history: deductibles filled, caps reached, accounts emptied
NOT_YET = {"event_id", "revision", "type", "quote", "stale"}  # what only one of the two has


class OneHistory:
    """Books in memory, a trial that reads them, and settlement that writes them."""

    def __init__(self) -> None:
        policies = Policies.load(policies_directory(), None)
        self._replay = Replay(policies)
        steps: list[Any] = [stage.step for stage in self._replay._path[3:]]
        register, accumulators, accounts = (step._store for step in steps)
        self._trials = Trials(policies, register, accumulators, accounts, self._session)
        self._line = 0
        self.sessions = 0
        self.fails_for = ""
        decide = self._trials._adjudication.decide

        def failing(event: Event, facts: Any) -> Any:
            return 1 // 0 if event.claim_no == self.fails_for else decide(event, facts)

        self._trials._adjudication.decide = failing  # type: ignore[method-assign]

    @asynccontextmanager
    async def _session(self) -> AsyncIterator[None]:
        self.sessions += 1
        yield None

    async def settle(self, *lines: Line) -> list[dict[str, Any]]:
        """The lines' outcomes."""
        items = []
        for line in lines:
            self._line += 1
            items.append(item_of(self._line, json.dumps(line).encode()))
        outcomes = []
        for chunk in chunks(items, CHUNK):
            replayed = await self._replay.settle(chunk)
            assert not replayed.faults
            outcomes += [json.loads(item.value) for item in replayed.outcomes]
        return outcomes

    async def try_(self, claim: Line) -> tuple[dict[str, Any], str | None]:
        """What the counter would say."""
        outcome, quote = await self._trials(read(json.dumps(claim).encode()))
        return json.loads(encode(outcome)), quote


def day(bills: int = CLAIMS) -> tuple[list[Line], Iterator[Line]]:
    """The register, with something on every account; and claims that are well formed, each number once."""
    lines = [line for line in generate(bills, MEMBERS, REGIONS, 8) if isinstance(line, dict)]
    register = [line for line in lines if line["type"] in REGISTER_TYPES]
    seen: set[tuple[str, str]] = set()

    def claims() -> Iterator[Line]:
        for line in lines:
            if line["type"] == "claim" and not read(json.dumps(line).encode()).faults:
                number = (line["institution_id"], line["claim_no"])
                if number not in seen:
                    seen.add(number)
                    yield line

    return register, claims()


def between(chance: Random, claim: Line, number: int) -> Line:
    """Something of the same member that comes between trial and settlement."""
    what = chance.choice(("claim", "use", "credit"))
    if what == "claim":
        return claim | {"claim_no": f"B{number}"}
    if what == "credit":
        named = {"credit_no": f"B{number}", "member_id": claim["member_id"], "month": claim["submitted_at"][:7], "reason": "x"}
        return {"type": "account_credit", "amount": "90.00"} | named
    return {
        "type": "account_use", "use_no": f"B{number}", "institution_id": claim["institution_id"], "member_id": claim["member_id"],
        "purpose": "drugs", "amount": f"{chance.randrange(1, 200)}.00", "used_at": claim["submitted_at"],
    }  # fmt: skip


async def test_a_trial_is_the_settlement_unless_something_came_between() -> None:
    chance = Random(8)
    register, claims = day()
    books = OneHistory()
    await books.settle(*register)
    became: Counter[str] = Counter()
    for number, claim in enumerate(claims):
        trial, quote = await books.try_(claim)
        if undisturbed := chance.random() < 0.8:
            came: list[dict[str, Any]] = []
        else:
            came = await books.settle(between(chance, claim, number))
        now, _ = await books.try_(claim)
        [settled] = await books.settle(claim | ({"quote": quote} if quote else {}))
        if undisturbed or (came and came[0]["outcome"] == "rejected"):
            assert without(settled) == without(trial) == without(now)
            became[f"undisturbed {settled['outcome']}"] += 1
        elif settled["outcome"] == "rejected" and quote is not None:
            assert [why["code"] for why in settled["reasons"]] == ["quote_stale"]
            assert settled["stale"]["quoted"] == {name: trial[name] for name in FUNDS}
            assert settled["stale"]["current"] == {name: now[name] for name in FUNDS}
            assert funds(now) != funds(trial), "a quote that would hold is honoured"
            became["stale"] += 1
        else:
            assert funds(settled) == funds(now) == funds(trial)
            assert all(fen(settled[name]) <= fen(trial[name]) for name in ("account", "family_account"))
            less = fen(settled["account"]) < fen(trial["account"])
            more = fen(settled["account"]) < fen(now["account"])
            became["less from the account" if less else "no more than quoted" if more else "the same after all"] += 1
    assert became["undisturbed settled"] > 1_800, became
    assert (
        min(
            became[name]
            for name in ("undisturbed rejected", "stale", "less from the account", "no more than quoted", "the same after all")
        )
        > 5
    ), became


def funds(outcome: dict[str, Any]) -> list[str]:
    return [outcome[name] for name in FUNDS]


def without(outcome: dict[str, Any]) -> dict[str, Any]:
    """An outcome without what only a trial or only a settlement has."""
    return {name: value for name, value in outcome.items() if name not in NOT_YET}


async def test_trials_that_wait_together_are_what_each_is_alone() -> None:
    register, claims = day(400)
    books = OneHistory()
    await books.settle(*register)
    asked = list(islice(claims, 300))
    together = await asyncio.gather(*(books.try_(claim) for claim in asked))
    assert together == [await books.try_(claim) for claim in asked]
    assert books.sessions < 2 * len(asked), "many went together"


async def test_a_claim_that_cannot_be_tried_spoils_no_other() -> None:
    register, claims = day(400)
    books = OneHistory()
    await books.settle(*register)
    asked = list(islice(claims, 8))
    alone = [await books.try_(claim) for claim in asked]
    books.fails_for = asked[3]["claim_no"]
    together = await asyncio.gather(*(books.try_(claim) for claim in asked), return_exceptions=True)
    assert isinstance(together[3], ZeroDivisionError)
    assert [*together[:3], *together[4:]] == [*alone[:3], *alone[4:]]
