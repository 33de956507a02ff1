"""Plans of slow statements: read from Postgres's log, where auto_explain writes them as JSON, and told in short. Pure."""

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final, NamedTuple

_NODES: Final = 12  # of a plan are told at most
_QUERY: Final = 200  # characters
_ENTRY: Final = re.compile(r"^[^\t\n].*LOG:  duration: ([\d.]+) ms  plan:\n((?:\t.*\n?)+)", re.MULTILINE)


class Slow(NamedTuple):
    """A statement that took so many ms, and its plan as Postgres gives it."""

    ms: float
    query: str
    plan: Mapping[str, Any]


def read(log: str) -> list[Slow]:
    """Every entry of auto_explain in a server's log; other entries are passed over.

    Raises json.JSONDecodeError for plans that are not written in JSON.
    """
    entries = ((ms, json.loads(text)) for ms, text in _ENTRY.findall(log))
    return [Slow(float(ms), shortened(entry["Query Text"]), entry["Plan"]) for ms, entry in entries]


def slowest(entries: Iterable[Slow], count: int) -> list[dict[str, Any]]:
    """The slowest statements, each told once: its longest ms, how often it was slow, the plan of the longest, a line a node."""
    by_query: dict[str, list[Slow]] = {}
    for entry in entries:
        by_query.setdefault(entry.query, []).append(entry)
    told: list[dict[str, Any]] = []
    for query, same in by_query.items():
        longest = max(same, key=lambda one: one.ms)
        nodes = list(_nodes(longest.plan))
        more = [f"… and {len(nodes) - _NODES} nodes more"] if len(nodes) > _NODES else []
        told.append({"ms": round(longest.ms, 1), "times": len(same), "query": query, "plan": nodes[:_NODES] + more})
    return sorted(told, key=lambda one: one["ms"], reverse=True)[:count]


def shortened(query: str) -> str:
    """A statement on one line, cut where it is long."""
    line = " ".join(query.split())
    return line if len(line) <= _QUERY else f"{line[: _QUERY - 1]}…"


def _nodes(plan: Mapping[str, Any], depth: int = 0) -> Iterator[str]:
    """A line for each node, those below it further to the right. Rows are those that the planner expects."""
    by = f" by {plan['Index Name']}" if "Index Name" in plan else ""
    of = next((f" of {plan[name]}" for name in ("Relation Name", "CTE Name", "Function Name") if name in plan), "")
    yield f"{'  ' * depth}{plan.get('Operation', plan['Node Type'])}{of}{by}, rows: {plan['Plan Rows']}"
    for below in plan.get("Plans", ()):
        yield from _nodes(below, depth + 1)
