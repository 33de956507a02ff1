"""How cost grows: the benchmark again with one thing changed at a time, each on servers of its own, against the first run."""

import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final, NamedTuple

from services.bench.day import Asked
from services.bench.run import Tell, run
from services.bench.stage import environment
from shared.errors import UsageError


class Variation(NamedTuple):
    """What is changed: fields of ``Asked``, settings of the program."""

    name: str
    change: Mapping[str, Any] = {}
    settings: Mapping[str, str] = {}


AS_IT_IS: Final = Variation("as it is: 8 partitions, 1 worker a service, batches of at most 500")
GROUPS: Final[Mapping[str, tuple[Variation, ...]]] = {
    "partitions": tuple(Variation(f"{n} partitions", settings={"GONGJI_PARTITIONS": f"{n}"}) for n in (24, 96)),
    "workers": tuple(Variation(f"{n} workers a service", {"workers": n}) for n in (2, 4)),
    "institution": (Variation("one institution sends 60 %", {"crowd": "institution"}),),
    "member": (Variation("one member has 5,000 claims", {"crowd": "member"}),),
    "batches": tuple(Variation(f"batches of at most {n:,}", settings={"GONGJI_BATCH_MAX": f"{n}"}) for n in (50, 2_000)),
    "members": (Variation("1,000,000 members", {"members": 1_000_000}),),
    "stored": (Variation("1,000,000 claims stored before", {"stored": 1_000_000}),),
}
# More than "all": more than an hour, and so much room.
LARGE: Final[Mapping[str, tuple[Variation, ...]]] = {
    "ten-million": (
        Variation("10,000,000 claims stored before, of 1,000,000 members", {"stored": 10_000_000, "members": 1_000_000}),
    ),
}
_STORED_BYTES: Final = 6_200  # of disk for a claim stored: 5,500 in Postgres, 400 in Kafka, and what an audit joins on disk
_BESIDE: Final = 14_000_000_000  # write-ahead log, what topics keep that forget, what an audit sorts at a time
ALL: Final = "all"
_FIGURES: Final = ("steady_rate", "p50_ms", "p99_ms", "others_p99_ms", "drain_rate", "cpu_us", "audit_s")


def run_all(asked: Asked, groups: Sequence[str], home: Path, tell: Tell) -> list[dict[str, Any]]:
    """Runs the benchmark as it is and then each variation of the groups. Raises Stop where an audit does not pass."""
    wanted = [AS_IT_IS, *(one for name, group in GROUPS.items() if name in groups or ALL in groups for one in group)]
    wanted += [one for name, group in LARGE.items() if name in groups for one in group]
    _check_room(max(one.change.get("stored", 0) for one in wanted), home)
    results = []
    for variation in wanted:
        tell(f"-- {variation.name}")
        with environment(variation.settings):
            results.append({"variation": variation.name} | run(asked._replace(**variation.change), home, tell))
    return results


def _check_room(stored: int, home: Path) -> None:
    home.parent.mkdir(parents=True, exist_ok=True)
    needed, free = stored * _STORED_BYTES + (_BESIDE if stored else 0), shutil.disk_usage(home.parent).free
    if needed > free:
        raise UsageError(
            f"{stored:,} claims stored take some {needed / 1e9:.0f} GB below {home.parent}, and {free / 1e9:.0f} are free: "
            "name another directory in GONGJI_HOME"
        )


def rows(results: Sequence[dict[str, Any]]) -> list[tuple[str, ...]]:
    """A heading and a row for each run, with what p99 (without a crowd's own) and drain are of the first run's."""
    found: list[tuple[str, ...]] = [("variation", *_FIGURES, "others' p99 of the first", "drain of the first")]
    for result in results:
        figures = result | {"cpu_us": round(sum(result["cpu_us"].values()))}
        compared = (f"{result[name] / results[0][name]:.2f}" for name in ("others_p99_ms", "drain_rate"))
        found.append((result["variation"], *(str(figures[name]) for name in _FIGURES), *compared))
    return found


def markdown(results: Sequence[dict[str, Any]]) -> str:
    """The rows as a table of a page."""
    heading, *others = rows(results)
    return "".join(f"| {' | '.join(row)} |\n" for row in (heading, ["---"] * len(heading), *others))
