"""What came of a day on a deployment, compared with what an undisturbed run makes of it."""

import json
from collections.abc import Sequence
from typing import Any, NamedTuple

from deployment import Deployment, Line, claims_of


def undisturbed(running: Deployment, lines: Sequence[Line], **extra: str) -> dict[str, Any]:
    """What one process without servers makes of the day. ``extra``: of its environment."""
    feed = running.servers.home / "feed.ndjson"
    feed.write_text("".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines))
    done = running.command("replay", str(feed), **extra)
    assert done.returncode == 0, done.stderr[-2000:]
    return {outcome["event_id"]: outcome for outcome in map(json.loads, done.stdout.splitlines())}


class Verdict(NamedTuple):
    """How the outcomes of a day differ from those of an undisturbed run."""

    expected: int
    lost: list[str]
    doubled: list[Any]
    wrong: dict[str, tuple[Any, Any]]

    @property
    def clean(self) -> bool:
        return not (self.lost or self.doubled or self.wrong)

    def __str__(self) -> str:
        sizes = f"lost {len(self.lost)}, doubled {len(self.doubled)}, wrong {len(self.wrong)} of {self.expected}"
        return f"{sizes}: {self.lost[:2]}, {self.doubled[:2]}, {next(iter(self.wrong.items()), '')}"


def compare(running: Deployment, *days: Sequence[Line]) -> Verdict:
    """Compares every outcome of these days with what an undisturbed run gives."""
    found = running.outcomes()
    verdict = Verdict(0, [], [], {})
    for lines in days:
        expected = undisturbed(running, lines)
        verdict = verdict._replace(expected=verdict.expected + len(expected))
        verdict.lost.extend(name for name in expected if name not in found)
        verdict.wrong.update({n: (found[n], o) for n, o in expected.items() if n in found and found[n] != o})
        numbers = {_number(line) for line in claims_of(lines)}
        verdict.doubled.extend(o for name, o in found.items() if name not in expected and _number(o) in numbers)
    return verdict


def _number(line: Line) -> tuple[str, str]:
    return (line["institution_id"], line.get("claim_no") or line.get("use_no", ""))


def check(running: Deployment, *days: Sequence[Line]) -> None:
    """Every outcome of these days is what an undisturbed run gives, nothing more is on the wire, and the books are clean."""
    verdict = compare(running, *days)
    assert verdict.clean, verdict
    running.audit()
