"""``make simulate``: many seeds with a summary, or one with its trace; ``--planted`` for the safeties taken out."""

import argparse
import json
import logging
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from multiprocessing import Pool

from simulation.planted import PLANTED, planted
from simulation.run import simulate

_MODULES = ("loop", "batch", "holdings", "takeover", "lease", "relay", "quarantine", "database")
_MEASURED = 200  # seeds under coverage, which slows them down
_Told = tuple[int, tuple[str, ...], int, int, Counter[str]]


def main() -> int:
    """Returns 1 if a seed shows a breach, or a planted fault stays unseen."""
    parser = argparse.ArgumentParser(prog="make simulate", description=__doc__)
    parser.add_argument("--seed", type=int, help="one seed, with its trace")
    parser.add_argument("--seeds", type=int, default=1000, help="so many seeds")
    parser.add_argument("--first", type=int, default=1, help="from this one on")
    parser.add_argument("--jobs", type=int, default=1, help="processes")
    parser.add_argument("--bare", action="store_true", help="without the measurement of branches")
    parser.add_argument("--planted", action="store_true", help="take out each safety and look for the seed that notices")
    given = parser.parse_args()
    logging.disable(logging.CRITICAL)
    if given.seed is not None:
        return _one(given.seed)
    seeds = range(given.first, given.first + given.seeds)
    return _plant(seeds) if given.planted else _many(seeds, given.jobs, bare=given.bare)


def _one(seed: int) -> int:
    run = simulate(seed)
    sys.stdout.write("\n".join(run.chance.trace) + "\n")
    _say(f"seed {seed}: {run.chance.decisions} decisions, {run.applied} records applied, {dict(run.chance.counted)}")
    for breach in run.breaches:
        _say(f"BREACH {breach}")
    return 1 if run.breaches else 0


def _told(seed: int) -> _Told:
    run = simulate(seed)
    return seed, run.breaches, run.chance.decisions, run.applied, run.chance.counted


def _many(seeds: range, jobs: int, *, bare: bool) -> int:
    started = time.monotonic()
    decisions = applied = 0
    faults: Counter[str] = Counter()
    failed: list[int] = []
    for seed, breaches, decided, records, counted in _all(seeds, jobs):
        decisions, applied, faults = decisions + decided, applied + records, faults + counted
        if breaches:
            failed.append(seed)
            _say(f"seed {seed}: {breaches[0]}; replay: make simulate SEED={seed}")
    summary = {
        "seeds": len(seeds), "first": seeds.start, "failed": failed, "interleavings": decisions, "records_applied": applied,
        "faults": dict(faults.most_common()), "seconds": round(time.monotonic() - started),
    }  # fmt: skip
    sys.stdout.write(json.dumps(summary, ensure_ascii=False, indent=2) + "\n")
    _say(f"{len(seeds)} seeds, {decisions} scheduling decisions, {sum(faults.values())} faults; {len(failed)} failed")
    if not bare:
        _branches(seeds)
    return 1 if failed else 0


def _all(seeds: range, jobs: int) -> Iterator[_Told]:
    if jobs == 1:
        yield from map(_told, seeds)
        return
    with Pool(jobs) as pool:
        yield from pool.imap_unordered(_told, seeds, chunksize=20)


def _branches(seeds: range) -> None:
    """Tells which lines and branches of the loop's modules some seeds run; in a process of its own, imports included."""
    modules = ",".join(f"shared/runtime/{one}.py" for one in _MODULES)
    with tempfile.TemporaryDirectory() as directory:
        python = (sys.executable, "-m", "coverage")
        data = f"--data-file={directory}/coverage"
        share = ("--first", str(seeds.start), "--seeds", str(min(len(seeds), _MEASURED)), "--bare")
        ran = subprocess.run(
            (*python, "run", "--branch", f"--include={modules}", data, "-m", "simulation", *share),
            check=False, stdout=subprocess.DEVNULL,
        )  # fmt: skip
        if ran.returncode == 0:
            _say(f"lines and branches of the loop's modules that {min(len(seeds), _MEASURED)} of the seeds run:")
            subprocess.run((*python, "report", data, "--show-missing"), check=True, stdout=sys.stderr)


def _plant(seeds: range) -> int:
    unseen = 0
    for name in PLANTED:
        with planted(name):
            noticed = next((run for seed in seeds if (run := simulate(seed)).breaches), None)
        unseen += noticed is None
        after = f"seed {noticed.seed}: {noticed.breaches[0]}" if noticed else f"UNSEEN in {len(seeds)} seeds"
        sys.stdout.write(f"{name}\t{after}\n")
        sys.stdout.flush()
    return 1 if unseen else 0


def _say(text: str) -> None:
    sys.stderr.write(text + "\n")


if __name__ == "__main__":
    sys.exit(main())
