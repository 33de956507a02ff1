"""What ``gongji replay --trace`` adds to each outcome: how its amounts came about, worked out anew from its grounds."""

from collections.abc import Sequence
from datetime import date

import msgspec

from services.explain import Grounds, work_out
from services.replay import Replay
from shared import outcome as outcomes
from shared.events import Event
from shared.outcome import Outcome
from shared.policy import Policies, Version
from shared.runtime.kept import Kept, Spill


class Tracer:
    """Remembers what it gave: a repeat gets the same bytes again, and a reversal shows what it takes back."""

    def __init__(self, policies: Policies) -> None:
        self._policies = policies
        self._given: Kept[str, bytes] = Spill().of(bytes)

    def trace(self, replaying: Replay, value: bytes, decided: Event | None) -> tuple[bytes, Sequence[str]]:
        """The outcome with its trace, and where working it out anew gave something else.

        Without an event (intake turned the record away) there is nothing to work out.
        """
        outcome = outcomes.decode(value)
        given = self._given.get(outcome.event_id)
        if given is not None or decided is None or decided.decision is None:
            return given or value, ()
        working = work_out(outcome, Grounds(decided, self._version(decided), self._first(replaying, decided)))
        traced = outcomes.encode(msgspec.structs.replace(outcome, trace=working.trace))
        self._given[outcome.event_id] = traced
        return traced, working.differences

    def _first(self, replaying: Replay, decided: Event) -> tuple[Event, Outcome] | None:
        if decided.kind != "reversal":
            return None
        event = replaying.first(decided.institution_id, decided.claim_no)
        value = None if event is None else self._given.get(event.event_id)
        return None if event is None or value is None else (event, outcomes.decode(value))

    def _version(self, decided: Event) -> Version | None:
        day = _day(decided)
        return None if day is None or decided.verdict is None else self._policies.on(decided.verdict.region, day)


def _day(decided: Event) -> date | None:
    if decided.claim is not None:
        return decided.claim.visited_on
    return None if decided.use is None else decided.use.used_on
