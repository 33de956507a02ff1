"""A benchmark's figures as one page: against the goals, each second's latency drawn, the figures beside it as JSON."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final, NamedTuple

_WIDTH: Final = 900
_HEIGHT: Final = 260
_LEFT: Final = 60
_BOTTOM: Final = 30
_PARTS: Final = 8  # of a process are told at most
_FIGURES: Final[tuple[str, ...]] = (
    "steady_rate", "p50_ms", "p95_ms", "p99_ms", "p99_9_ms", "p99_99_ms", "p100_ms", "backlog_left", "drain_rate",
    "drain_by_tenth", "audited", "audit_s",
    "canned_rate", "pipes_rate", "ratio_canned", "ratio_pipes", "audit_ok",
)  # fmt: skip


FEED: Final = (
    "The load: a made-up day of five cities in its order of arrival (an outpatient day has two peaks), sent evenly. Each "
    "share of it (levels, benefits, repeats, reversals, mistakes) stands in `services/ops/generate.py` and "
    "`services/ops/population.py`: estimates of our own, of the order that yearbooks report, taken over from none of them. How "
    "often each member and institution is met follows Zipf's law."
)


class Goal(NamedTuple):
    """What issue and architecture ask for (architecture.md, section 5)."""

    figure: str
    asked: float
    at_most: bool = False

    def verdict(self, value: float) -> str:
        """Met, or by how much missed."""
        if value <= self.asked if self.at_most else value >= self.asked:
            return "met"
        return f"missed by {abs(value / self.asked - 1):.0%}"


GOALS: Final = (
    Goal("steady_rate", 1_600 * 0.995),  # the last outcomes come after the last record: the rate of a run is a little below
    Goal("p99_ms", 250, at_most=True),
    Goal("drain_rate", 4_000),
    Goal("ratio_canned", 0.85),
    Goal("ratio_pipes", 0.4),
)


def rows(result: dict[str, Any]) -> list[tuple[str, str]]:
    """Every figure with its name."""
    found = [(name, str(result[name])) for name in _FIGURES if name in result]
    found += [(f"cpu µs a claim: {name}", str(value)) for name, value in result["cpu_us"].items()]
    found.append(("cpu µs a claim: all", str(round(sum(result["cpu_us"].values()), 1))))
    found += [(f"a claim, steady: {name}", str(value)) for name, value in result["a_claim"].items()]
    found += [(f"a claim, drained: {name}", str(value)) for name, value in result["a_drained_claim"].items()]
    if profile := result.get("profile"):
        found += [(f"a claim, watched: {name}", str(profile[name])) for name in ("statements", "statements_us")]
        found.append((f"statements of {profile['slow_ms']} ms and more", str(profile["slow_times"])))
    return found + about(result)


def about(result: dict[str, Any]) -> list[tuple[str, str]]:
    """What it ran on."""
    found = [(f"machine: {name}", str(value)) for name, value in result["machine"].items()]
    found += [(f"version: {name}", value) for name, value in result.get("versions", {}).items()]
    return found + [(f"calibrate ms: {name}", str(value)) for name, value in result["calibrate_ms"].items()]


def markdown(result: dict[str, Any], drawing: str) -> str:
    """The page. ``drawing``: the name of the file with the latencies."""
    asked = ", ".join(f"{name} {value}" for name, value in (result["asked"] | result["settings"]).items())
    lines = [f"# Benchmark, {result['at']}", "", f"Asked: {asked}. Durability on, defaults; the audit passed.", "", FEED, ""]
    lines += ["| goal | asked | measured | |", "|---|---|---|---|"]
    lines += [
        f"| {goal.figure} | {'≤' if goal.at_most else '≥'} {goal.asked:g} | {result[goal.figure]} | "
        f"{goal.verdict(result[goal.figure])} |"
        for goal in GOALS
        if goal.figure in result
    ]
    lines += ["", f"![latency by second]({drawing})", "", "| figure | value |", "|---|---|"]
    lines += [f"| {name} | {value} |" for name, value in rows(result)]
    return "\n".join([*lines, "", *_profile(result.get("profile"))]) + "\n"


def _profile(profile: dict[str, Any] | None) -> list[str]:
    """Where the time goes: in the workers, the broker, Postgres."""
    lines = ["## Where the time goes", ""]
    if profile is None:
        return [*lines, "Not profiled: `--no-profile`, or a Postgres without pg_stat_statements and auto_explain."]
    lines += [f"Profiled after all that is above, with {profile['claims']:,} submissions at the same rate.", ""]
    lines += ["| process | µs of processor a claim, by what was at work |", "|---|---|"]
    for name, parts in [*profile["workers_us"].items(), ("kafka, by thread", profile["broker_us"])]:
        lines.append(f"| {name} | {', '.join(f'{part} {us}' for part, us in list(parts.items())[:_PARTS])} |")
    return [*lines, "", *_postgres(profile)]


def _postgres(profile: dict[str, Any]) -> list[str]:
    """Its statements, waits, plans of what was slow."""
    spent = f"{profile['statements']} statements a claim, {profile['statements_us']} µs a claim executing"
    lines = [f"Postgres: {spent} (`pg_stat_statements`).", ""]
    lines += ["| µs a claim | calls | statement |", "|---|---|---|"]
    lines += [f"| {one['us']} | {one['calls']} | {_code(one['query'])} |" for one in profile["most"]]
    lines += ["", "What sessions with a transaction open were doing, of so many looks at them:", ""]
    lines += ["| share | waiting for |", "|---|---|"]
    lines += [f"| {share:.1%} | {name} |" for name, share in profile["waits"].items()]
    lines.append("")
    if not profile["slow"]:
        return [*lines, f"No statement with a plan took {profile['slow_ms']} ms or more (`auto_explain`; COPY has none)."]
    lines.append(
        f"The slowest of those of {profile['slow_ms']} ms and more, with their plans (`auto_explain`; rows as expected):"
    )
    for one in profile["slow"]:
        lines += ["", f"{one['ms']} ms at the longest of {one['times']}: {_code(one['query'])}", "", "```", *one["plan"], "```"]
    return lines


def _code(query: str) -> str:
    return f"`{query.replace('|', chr(92) + '|')}`"


def write(result: dict[str, Any], page: Path) -> None:
    """Writes the page, its drawing (.svg) and the figures (.json) side by side."""
    page.parent.mkdir(parents=True, exist_ok=True)
    page.write_text(markdown(result, page.with_suffix(".svg").name), encoding="utf-8")
    page.with_suffix(".svg").write_text(drawn(result["by_second"]), encoding="utf-8")
    page.with_suffix(".json").write_text(json.dumps(result, ensure_ascii=False) + "\n", encoding="utf-8")


def drawn(by_second: Sequence[tuple[float, float]]) -> str:
    """p50 and p99 (ms) of each second of the steady load, as SVG."""
    top = max((high for _, high in by_second), default=0.0) or 1.0
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {_HEIGHT}" font-family="sans-serif" font-size="12">',
        f'<rect width="{_WIDTH}" height="{_HEIGHT}" fill="white"/>',
    ]
    for step in range(5):
        height = _y(top * step / 4, top)
        lines.append(f'<line x1="{_LEFT}" x2="{_WIDTH}" y1="{height:.1f}" y2="{height:.1f}" stroke="#ddd"/>')
        lines.append(f'<text x="{_LEFT - 6}" y="{height + 4:.1f}" text-anchor="end">{top * step / 4:.0f} ms</text>')
    for which, colour, name in ((0, "#1f77b4", "p50"), (1, "#d62728", "p99")):
        across = (_WIDTH - _LEFT) / max(1, len(by_second) - 1)
        points = " ".join(f"{_LEFT + across * n:.1f},{_y(pair[which], top):.1f}" for n, pair in enumerate(by_second))
        lines.append(f'<polyline points="{points}" fill="none" stroke="{colour}" stroke-width="1.5"/>')
        lines.append(f'<text x="{_LEFT + 10 + 40 * which}" y="14" fill="{colour}">{name}</text>')
    lines.append(f'<text x="{_WIDTH}" y="{_HEIGHT - 8}" text-anchor="end">second {max(0, len(by_second) - 1)} of the load</text>')
    return "\n".join([*lines, "</svg>"]) + "\n"


def _y(ms: float, top: float) -> float:
    return (_HEIGHT - _BOTTOM) - (_HEIGHT - _BOTTOM - 20) * ms / top
