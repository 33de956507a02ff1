"""What a change of the rules moves: the same feed settled by one version, and by the other on the same days.

The days are those of either. A figure that holds from the first day of its version (or to its last) holds on all the days
before (or after), when the version is tried there.
"""

from collections import Counter
from datetime import date
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

from services.replay import Replay, chunks, item_of
from shared.errors import UsageError
from shared.feed_file import lines_of
from shared.money import fen, yuan
from shared.policy import Policies
from shared.policy.lint import read_parameters
from shared.policy.pack import Pack, PackVersion
from shared.policy.parameters import Figures
from shared.policy.policies import read_file

_AMOUNTS = ("pooled", "civil_servant", "large_expense", "veterans", "account", "family_account", "cash")


class _Settled(NamedTuple):
    """Outcomes by their event ids; how many lines have none."""

    outcomes: dict[str, dict[str, Any]]
    without: int


async def movement(pack: Pack, before: PackVersion, after: PackVersion, feed: Path, parameters: Path | None) -> list[str]:
    """How many outcomes differ, and by how much each payer's sum does, in words.

    Raises UsageError for a feed that is not there, PackError for figures that neither version needs.
    """
    both = pack.model_copy(update={"versions": (before, after)})
    figures = {} if parameters is None else _figures(both, parameters)
    tried = [pack.model_copy(update={"versions": (one,)}) for one in _on_same_days(before, after)]
    old, new = [await _settled(one, figures, feed) for one in tried]
    moved: Counter[str] = Counter()
    claims = 0
    for key, one in old.outcomes.items():
        other = new.outcomes[key]
        differences = {name: _fen(other[name]) - _fen(one[name]) for name in _AMOUNTS}
        claims += any(differences.values()) or one["outcome"] != other["outcome"]
        moved.update(differences)
    said = [f"{claims} of {len(old.outcomes)} outcomes differ"]
    said += [f"{name}: {'+' if moved[name] > 0 else ''}{yuan(moved[name])}" for name in _AMOUNTS if moved[name]]
    lacking = sum(_lacks_a_figure(one) or _lacks_a_figure(new.outcomes[key]) for key, one in old.outcomes.items())
    said += [f"{lacking} rejected for want of the operator's figures: give them with --parameters"] if lacking else []
    return said + ([f"{old.without} lines without outcome"] if old.without else [])


def _on_same_days(before: PackVersion, after: PackVersion) -> list[PackVersion]:
    start, ends = min(before.from_, after.from_), (before.to, after.to)
    end = None if None in ends else max(day for day in ends if day is not None)
    return [_everywhere(one).model_copy(update={"from_": start, "to": end}) for one in (before, after)]


def _everywhere(version: PackVersion) -> PackVersion:
    """The version without the dates of figures that are no more than its own."""
    rules = version.model_dump(by_alias=True)
    _widen(rules, version.from_, version.to or date.max)
    return PackVersion.model_validate(rules)


def _widen(rules: Any, start: date, end: date) -> None:
    if isinstance(rules, dict):
        if "unit" in rules:
            rules["from"] = None if (rules["from"] or start) <= start else rules["from"]
            rules["to"] = None if (rules["to"] or end) >= end else rules["to"]
        rules = tuple(rules.values())
    if isinstance(rules, tuple):
        for part in rules:
            _widen(part, start, end)


def _figures(pack: Pack, file: Path) -> dict[str, Figures]:
    """The operator's figures for the pack's region, of a file that may have others."""
    given = read_file(file)
    if isinstance(given, dict):
        given = {region: figures for region, figures in given.items() if str(region) == pack.region}
    return read_parameters(given, {pack.region: pack}, file.name)


async def _settled(pack: Pack, figures: dict[str, Figures], feed: Path) -> _Settled:
    replay = Replay(Policies({pack.region: pack}, figures))
    outcomes, without = {}, 0
    try:
        stream = feed.open("rb")
    except OSError as fault:
        raise UsageError(f"{feed}: {fault.strerror}; give an NDJSON file") from fault
    with stream:
        for chunk in chunks(item_of(number, line) for number, line in lines_of(stream) if line.strip()):
            done = await replay.settle(chunk)
            without += len(done.faults)
            for item in done.outcomes:
                outcome = msgspec.json.decode(item.value)
                outcomes[outcome["event_id"]] = outcome
    return _Settled(outcomes, without)


def _lacks_a_figure(outcome: dict[str, Any]) -> bool:
    return any(why["code"] == "benefit_not_configured" for why in outcome["reasons"])


def _fen(amount: str) -> int:
    """Reads an outcome's amount, which a reversal gives as a negative."""
    return -fen(amount[1:]) if amount.startswith("-") else fen(amount)
