"""What a change of the rules moves: the same feed settled by one version, and by the other on the same days."""

from collections import Counter
from pathlib import Path
from typing import Any

import msgspec

from services.replay import Replay, chunks, item_of
from shared.money import fen, yuan
from shared.policy import Policies
from shared.policy.pack import Pack, PackVersion

_AMOUNTS = ("pooled", "civil_servant", "large_expense", "veterans", "account", "family_account", "cash")


async def movement(pack: Pack, before: PackVersion, after: PackVersion, feed: Path) -> list[str]:
    """How many outcomes differ, and by how much each payer's sum does, in words."""
    same_days = after.model_copy(update={"from_": before.from_, "to": before.to})
    old = await _settled(pack.model_copy(update={"versions": (before,)}), feed)
    new = await _settled(pack.model_copy(update={"versions": (same_days,)}), feed)
    moved: Counter[str] = Counter()
    claims = 0
    for key, one in old.items():
        other = new[key]
        differences = {name: _fen(other[name]) - _fen(one[name]) for name in _AMOUNTS}
        claims += any(differences.values()) or one["outcome"] != other["outcome"]
        moved.update(differences)
    said = [f"{claims} of {len(old)} outcomes differ"]
    said += [f"{name}: {'+' if moved[name] > 0 else ''}{yuan(moved[name])}" for name in _AMOUNTS if moved[name]]
    return said


async def _settled(pack: Pack, feed: Path) -> dict[str, dict[str, Any]]:
    """The outcomes of a feed by their event ids."""
    replay = Replay(Policies({pack.region: pack}, {}))
    outcomes = {}
    with feed.open("rb") as stream:
        for chunk in chunks(item_of(number, line) for number, line in enumerate(stream) if line.strip()):
            for item in (await replay.settle(chunk)).outcomes:
                outcome = msgspec.json.decode(item.value)
                outcomes[outcome["event_id"]] = outcome
    return outcomes


def _fen(amount: str) -> int:
    """Reads an outcome's amount, which a reversal gives as a negative."""
    return -fen(amount[1:]) if amount.startswith("-") else fen(amount)
