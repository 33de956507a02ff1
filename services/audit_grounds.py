"""The audit's checks that need adjudication's own pure code: I3, I13 and I16 on the stored grounds of every decision.

The accumulators are rebuilt from the decisions, member by member, at every prefix; and decisions are run again, under the pack
stored with them, on what they were given.
"""

import zlib
from collections.abc import Iterable, Sequence
from typing import Final

from services.adjudication import engine
from services.adjudication.counters import VISIT_FIRST, VISITS, CounterKey, Counters
from services.adjudication.decision import differing
from services.ops.audit.check import Check, Family, Finding
from services.ops.audit.decisions import Decided, Kept, Past, decisions
from services.ops.audit.view import View
from shared.events import Decision, Event
from shared.policy import Version

RUN_AGAIN: Final = 20_000  # decisions; of more, the members are sampled

_Standing = tuple[Decided, tuple[CounterKey, ...]]  # with the accumulators that it moved
_READS: Final = ("adjudication.decision", "adjudication.counter")
_CHAIN: Final = Check(
    "I3",
    "accumulators_form_a_chain",
    "累计值逐笔衔接",
    "each decision begins with the accumulators the one before left, from zero on",
    _READS,
)
_REBUILT: Final = Check(
    "I3", "accumulators_rebuilt", "累计值可由决定重建", "the accumulators rebuilt from the decisions are those kept", _READS
)
_STANDING: Final = Check(
    "I3",
    "accumulators_are_what_stands",
    "累计值等于有效结算之和",
    "what was used is what the claims that stand take, as they were last worked out",
    _READS,
)
_CEILING: Final = Check(
    "I3",
    "no_claim_exceeds_its_ceiling",
    "任何时点累计不超限额",
    "no claim raises an accumulator above the ceiling that holds for it",
    ("adjudication.decision", "adjudication.pack", "adjudication.counter"),
)
_GIVEN_BACK: Final = Check(
    "I13",
    "reversal_gives_back",
    "撤销退回累计值",
    "a reversal gives back exactly what its claim took",
    ("adjudication.decision",),
)
_AGAIN: Final = Check(
    "I16",
    "decision_again_is_the_same",
    "按留存依据重算结果一致",
    "each decision, run again on its stored grounds, gives the stored result",
    ("adjudication.decision", "adjudication.pack"),
)


class Rebuilt:
    """I3 and I13: what the decisions say of the accumulators, against each other and against the table."""

    def __init__(self, rows: int) -> None:
        checks = (_CHAIN, _REBUILT, _STANDING, _GIVEN_BACK)
        self.findings: Sequence[Finding] = [Finding(check, rows=rows) for check in checks]
        self._chain, self._rebuilt, self._standing, self._given_back = self.findings

    def see(self, past: Past) -> None:
        """Walks through a member's decisions in order."""
        used: dict[CounterKey, int] = {}
        writes: dict[CounterKey, int] = {}
        claims: dict[tuple[str, str], Decision] = {}
        standing: dict[tuple[str, str], _Standing] = {}
        for one in past.decisions:
            event, decision = one.event, one.decision
            number = (event.institution_id, event.claim_no)
            if event.rework is not None:  # a year worked out again: says what moved, and is held against what stands
                _move(event, used, writes)
            if event.claim is None:
                continue
            keys = engine.reversal_keys(event.claim, decision)
            if event.kind == "claim":
                standing[number] = (one, keys)
                claims[number] = decision
            if event.revision:  # decided at its old place in the year, not here
                continue
            for key in keys:
                before, after = decision.before.get(key.name, 0), decision.after[key.name]
                if before != used.get(key, 0):
                    self._chain.breach(
                        one.name, f"{key.name} of {key.period} began with {before}, the one before left {used.get(key, 0)}"
                    )
                if after < 0:
                    self._chain.breach(one.name, f"{key.name} of {key.period} falls to {after}")
                used[key] = after
                writes[key] = writes.get(key, 0) + (after != before)
            if decision.outcome == "reversed":
                standing.pop(number, None)
                self._compare(one, claims.get(number))
        self._against_standing(past.member_id, used, standing.values())
        self._against_table(past, used, writes)

    def _against_standing(self, member_id: str, used: dict[CounterKey, int], standing: Iterable[_Standing]) -> None:
        """Visits are counted by other rules: one is given back with the last of its claims."""
        taken: dict[CounterKey, int] = {}
        for one, keys in standing:
            for key in keys:
                took = one.decision.after[key.name] - one.decision.before.get(key.name, 0)
                taken[key] = taken.get(key, 0) + took
        for key in {**taken, **used}:
            if key.name not in {VISITS, VISIT_FIRST} and taken.get(key, 0) != used.get(key, 0):
                name = f"{member_id} {key.period} {key.name}"
                self._standing.breach(name, f"the claims that stand take {taken.get(key, 0)}, {used.get(key, 0)} is used")

    def _compare(self, reversal: Decided, claim: Decision | None) -> None:
        if claim is None:
            self._given_back.breach(reversal.name, "nothing was decided that it could take back")
            return
        for name in claim.after:
            if name in {VISITS, VISIT_FIRST}:  # a visit is given back with the last of its claims
                continue
            took = claim.after[name] - claim.before.get(name, 0)
            back = reversal.decision.before.get(name, 0) - reversal.decision.after.get(name, 0)
            if took != back:
                self._given_back.breach(reversal.name, f"{name}: the claim took {took}, the reversal gives back {back}")

    def _against_table(self, past: Past, used: dict[CounterKey, int], writes: dict[CounterKey, int]) -> None:
        kept = {CounterKey(past.member_id, *key): value for key, value in past.counters.items()}
        for key in {**used, **kept}:  # in one order, whatever the process
            table = kept.get(key, Kept(0, None, 0))
            name = f"{key.member_id} {key.period} {key.name}"
            if table.used != used.get(key, 0):
                self._rebuilt.breach(name, f"the table has {table.used}, the decisions come to {used.get(key, 0)}")
            elif table.version != writes.get(key, 0):
                self._rebuilt.breach(
                    name, f"the table was written {table.version} times, the decisions moved it {writes.get(key, 0)}"
                )


def _move(command: Event, used: dict[CounterKey, int], writes: dict[CounterKey, int]) -> None:
    """Books what a year worked out again moved."""
    assert command.rework is not None
    for period, name, now in command.rework.used:
        key = CounterKey(command.member_id, period, name)
        writes[key] = writes.get(key, 0) + (used.get(key, 0) != now)
        used[key] = now


class Again:
    """I16, and the ceilings of I3: decisions run again under the pack stored with them."""

    def __init__(self, packs: dict[str, Version | None], rows: int) -> None:
        self._packs = packs
        self._every = -(-rows // RUN_AGAIN) or 1
        self._again, self._ceiling = Finding(_AGAIN), Finding(_CEILING)
        self.findings: Sequence[Finding] = (self._again, self._ceiling)
        if self._every > 1:
            self._again.notes.append(f"the decisions of one member in {self._every}")

    def see(self, past: Past) -> None:
        """Runs a member's decisions again."""
        for (period, name), kept in past.counters.items():
            self._ceiling.rows += 1
            if kept.ceiling is not None and kept.used > kept.ceiling:
                self._ceiling.breach(f"{past.member_id} {period} {name}", f"{kept.used} were used of {kept.ceiling}")
        if zlib.crc32(past.member_id.encode()) % self._every:
            return
        claims: dict[tuple[str, str], Decided] = {}
        for one in past.decisions:
            if one.event.kind == "claim":
                claims[one.event.institution_id, one.event.claim_no] = one
            if one.event.claim is None:
                continue
            self._again.rows += 1
            try:
                wrong = self._run(one, claims)
            except (ValueError, LookupError, TypeError, AttributeError, AssertionError) as failure:
                wrong = f"it cannot be run again: {type(failure).__name__}: {failure}"
            if wrong:
                self._again.breach(one.name, wrong)

    def _run(self, one: Decided, claims: dict[tuple[str, str], Decided]) -> str | None:
        event, stored = one.event, one.decision
        claim = event.claim
        assert claim is not None
        counters = engine.counters_before(claim, stored)
        if event.kind == "reversal":
            original = claims.get((event.institution_id, event.claim_no))
            if original is None or original.event.claim is None:
                return "the claim it reverses was never decided"
            return _difference(stored, engine.reverse(original.event.claim, original.decision, counters))
        if event.verdict is None:
            return "its grounds hold no verdict"
        version = None
        if stored.policy is not None:
            version = self._packs.get(stored.policy.hash)
            if version is None:
                return f"its pack {stored.policy.hash} is not stored, or is no pack"
        again = engine.decide(claim, event.verdict, version, counters)
        self._look_at_ceilings(one, counters)
        return _difference(stored, again)

    def _look_at_ceilings(self, one: Decided, counters: Counters) -> None:
        for key, counter in counters.take_changes():
            before = one.decision.before.get(key.name, 0)
            after = one.decision.after.get(key.name, before)
            if counter.ceiling is not None and after > max(counter.ceiling, before):
                self._ceiling.breach(one.name, f"{key.name} rises to {after} over its ceiling {counter.ceiling}")


def _difference(stored: Decision, again: Decision) -> str | None:
    for name, was, comes_to in differing(stored, again):
        return f"{name} is stored as {was}, and comes to {comes_to}"
    return None


async def _grounds(view: View) -> Sequence[Finding]:
    packs: dict[str, Version | None] = {}
    for row in await view.connection.fetch("select hash, content from adjudication.pack"):
        try:
            packs[row["hash"]] = Version.restore(row["content"])
        except (ValueError, KeyError, TypeError):
            packs[row["hash"]] = None
    return await decisions(Rebuilt, lambda rows: Again(packs, rows))(view)


GROUNDS: Family = _grounds
