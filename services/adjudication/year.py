"""A member's year worked out again (重新核算): every claim in the order in which it was decided, accumulators from zero. Pure.

After a late change of register or prices: the verdicts are today's, the order is that of history, and a claim that was
cancelled still stood until then. What comes out otherwise than it stands is the claim's next revision; what was refused
stays refused, because its number is used and its cost was settled elsewhere or not at all.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Final, NamedTuple

import msgspec

from services.adjudication import engine
from services.adjudication.counters import Counter, CounterKey, Counters
from services.adjudication.store import ClaimKey
from shared.claim import Claim
from shared.events import Decision, Event, Rework, Verdict
from shared.identity import event_id
from shared.policy import Version

READJUDICATION: Final = "readjudication"
AMOUNTS: Final = (
    *("total", "own_paid", "over_limit", "pre_self_pay", "in_scope", "deductible"),
    *("pooled", "large_expense", "civil_servant", "veterans"),
)
VersionOf = Callable[[Verdict, Claim], Version | None]


class Unworkable(Exception):
    """The year cannot be worked out again: nothing of it is changed. Says which claim, and why."""


class Year(NamedTuple):
    """What came of it: the claims' next revisions, in their order, and the accumulators that moved."""

    revisions: tuple[Event, ...]
    changes: tuple[tuple[CounterKey, Counter], ...]


class _Line(NamedTuple):
    """A claim as it stands, and what it is judged on now."""

    event: Event
    claim: Claim
    verdict: Verdict


@dataclass(slots=True)
class _Again:
    """One pass over the year."""

    afresh: Counters = field(default_factory=Counters)
    decided: dict[ClaimKey, Decision] = field(default_factory=dict)
    touched: set[CounterKey] = field(default_factory=set)


def keys(history: Sequence[Event], rework: Rework, version_of: VersionOf) -> Iterator[CounterKey]:
    """Every accumulator that working the year out again may move."""
    lines = _lines(history, rework)
    for event in history:
        line = lines.get(_key(event))
        if line is not None and event.decision is not None:
            yield from engine.reversal_keys(line.claim, event.decision)
    for line in lines.values():
        yield from engine.counter_keys(line.claim, line.verdict, version_of(line.verdict, line.claim))


def work_out(command: Event, history: Sequence[Event], counters: Counters, version_of: VersionOf) -> Year:
    """Works a year out again, and books the accumulators. ``history``: all that was decided for the member, oldest first.

    Raises Unworkable, with nothing booked, for a claim that could not be settled under today's register.
    """
    rework = command.rework
    if rework is None:
        raise ValueError("the command says which year, and by which verdicts")
    lines = _lines(history, rework)
    reversed_ = {_key(event) for event in history if _takes_back(event)}
    again = _Again()
    for event in history:
        line = lines.get(_key(event))
        if line is None:
            continue
        if event.kind == "claim" and event.revision == 0:
            _decide(line, version_of(line.verdict, line.claim), again, cancelled=_key(event) in reversed_)
        elif _takes_back(event) and _key(event) in again.decided:
            engine.reverse(line.claim, again.decided.pop(_key(event)), again.afresh)
        if event.decision is not None:
            again.touched.update(engine.reversal_keys(line.claim, event.decision))
    revisions = tuple(_revisions(command, lines, again))
    for key in sorted(again.touched):
        _book(key, again.afresh[key], counters)
    return Year(revisions, counters.take_changes())


def _lines(history: Iterable[Event], rework: Rework) -> dict[ClaimKey, _Line]:
    """The settled claims of the year as they stand."""
    verdicts = {(one.institution_id, one.claim_no): one.verdict for one in rework.reviewed}
    lines: dict[ClaimKey, _Line] = {}
    for event in history:
        claim, verdict, decision = event.claim, event.verdict, event.decision
        if event.kind != "claim" or claim is None or verdict is None or decision is None:
            continue
        if decision.outcome == "settled" and claim.visited_on.year == rework.year:
            unquoted = msgspec.structs.replace(claim, quote=None)  # a quote is of the day on which it was given
            lines[_key(event)] = _Line(event, unquoted, verdicts.get(_key(event), verdict))
    return lines


def _decide(line: _Line, version: Version | None, again: _Again, *, cancelled: bool) -> None:
    old, new = line.event.verdict, line.verdict
    assert old is not None
    decision = engine.decide(line.claim, new, version, again.afresh)
    moved = (old.region, old.care_region) != (new.region, new.care_region)
    if decision.outcome != "settled" or moved:
        if cancelled:  # it stood only for a time, and nothing of it is left
            return
        why = "its insured region or place of care is another now" if moved else decision.reasons[0].code
        raise Unworkable(f"{line.event.institution_id}/{line.event.claim_no}: {why}; have it cancelled and sent anew")
    again.decided[_key(line.event)] = decision
    again.touched.update(engine.reversal_keys(line.claim, decision))


def _revisions(command: Event, lines: dict[ClaimKey, _Line], again: _Again) -> Iterator[Event]:
    for key, decision in again.decided.items():
        event, claim, verdict = lines[key]
        assert event.decision is not None
        if not _same(event.decision, decision):
            revision = event.revision + 1
            yield msgspec.structs.replace(
                event,
                event_id=event_id("claim", *key, revision),
                accepted_at=command.accepted_at,
                revision=revision,
                claim=claim,
                verdict=verdict,
                decision=decision,
                replaces=event.decision,
            )


def _same(old: Decision, new: Decision) -> bool:
    """Whether nothing changes for anybody: amounts, reasons, and what the claim takes of each accumulator."""
    if any(getattr(old, name) != getattr(new, name) for name in AMOUNTS):
        return False
    return [one.code for one in old.reasons] == [one.code for one in new.reasons] and taken(old) == taken(new)


def taken(decision: Decision) -> dict[str, int]:
    """What a decision takes of each accumulator."""
    return {name: took for name, after in decision.after.items() if (took := after - decision.before.get(name, 0))}


def _book(key: CounterKey, new: Counter, counters: Counters) -> None:
    old = counters[key]
    if old.used == new.used:
        return
    limited = old.ceiling is not None or new.ceiling is not None
    counters.book(key, new.used, max(new.ceiling or 0, new.used) if limited else None)


def _takes_back(event: Event) -> bool:
    return event.kind == "reversal" and event.decision is not None and event.decision.outcome == "reversed"


def _key(event: Event) -> ClaimKey:
    return event.institution_id, event.claim_no
