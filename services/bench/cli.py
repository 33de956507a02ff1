"""``gongji bench``: runs the benchmark and prints its figures; with ``--json`` as one object on stdout.

``--counter`` measures the window over HTTP instead of the stream (``services/bench/counter.py``), ``--bulk`` what is done for a
whole city at once (``services/bench/bulk.py``), ``--growth`` how cost grows (``services/bench/growth.py``).
"""

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from services.bench import bulk as bulk_work
from services.bench import counter as window
from services.bench import growth as growing
from services.bench import report as page
from services.bench.day import ZIPF, Asked
from services.bench.run import run
from services.interruption import interruptible
from shared.errors import UsageError
from shared.runtime.settings import home_directory


def bench(
    rate: Annotated[
        float | None, typer.Option(min=1, help="Submissions a second of the steady load (1,600); of --counter: claims (200).")
    ] = None,
    minutes: Annotated[float, typer.Option(min=0.05, help="How long the steady load lasts.")] = 1.0,
    backlog: Annotated[int, typer.Option(min=1_000, help="Submissions of the drain.")] = 40_000,
    members: Annotated[int, typer.Option(min=100, help="Members in the register.")] = 20_000,
    seed: Annotated[int, typer.Option(min=0, help="Of the made-up day.")] = 1,
    *,
    workers: Annotated[int, typer.Option(min=1, help="Processes of each service.")] = 1,
    zipf: Annotated[float, typer.Option(min=0, max=0.95, help="How uneven the day is: see `gongji feed generate`.")] = ZIPF,
    counter: Annotated[bool, typer.Option("--counter", help="Measure the counter over HTTP, alone and beside a feed.")] = False,
    bulk: Annotated[
        int | None, typer.Option(min=1_000, help="Measure bulk work instead: credits, rebuild of Redis, clearing, a replay.")
    ] = None,
    growth: Annotated[
        list[str] | None,
        typer.Option(
            help=f"Measure how cost grows with {', '.join(growing.GROUPS)}, all of these, or {', '.join(growing.LARGE)} (hours): "
            "each against a run as it is."
        ),
    ] = None,
    feed: Annotated[float, typer.Option(min=0, help="Submissions a second beside the counter; 0: only alone.")] = 800,
    floors: Annotated[bool, typer.Option("--floors/--no-floors", help="Also run the two floors.")] = True,
    profile: Annotated[
        bool,
        typer.Option(
            "--profile/--no-profile", help="Also profile for 15 s, after all that is measured: Postgres, workers, broker."
        ),
    ] = True,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
    report: Annotated[
        Path | None, typer.Option(help="Write the page of a whole run (.md) here, drawing and JSON beside it.")
    ] = None,
) -> None:
    """Measure steady load, latency and drain on real servers of its own; no figure where the audit does not pass."""
    console = Console(stderr=True, highlight=False)
    home, tell = home_directory() / "bench", console.print
    asked = Asked(rate or 1_600, minutes, backlog, members, seed, floors, workers, zipf, profile=profile)
    result: Any
    _check(growth or [], page_of_a_part=report is not None and bool(growth or counter or bulk is not None))
    with interruptible():
        if growth:
            result = growing.run_all(asked._replace(floors=False, profile=False), growth, home, tell)
            console.print(growing.markdown(result), soft_wrap=True, markup=False)
        elif counter:
            result = window.run(window.Asked(rate or 200, feed, minutes, members, seed), home, tell)
            _show(console, [*window.rows(result), *page.about(result)])
        elif bulk is not None:
            result = bulk_work.run(bulk, home, tell)
            _show(console, [*bulk_work.rows(result), *page.about(result)])
        else:
            result = run(asked, home, tell)
            _show(console, page.rows(result))
            if report is not None:
                page.write(result, report)
    if as_json:
        typer.echo(json.dumps(result, ensure_ascii=False))


def _check(growth: list[str], *, page_of_a_part: bool) -> None:
    if page_of_a_part:
        raise UsageError("--report: a page is made of the whole benchmark only; here --json gives the figures")
    if unknown := set(growth) - {*growing.GROUPS, *growing.LARGE, growing.ALL}:
        raise UsageError(f"--growth {min(unknown)}: there are {', '.join((*growing.GROUPS, *growing.LARGE))}, and all")


def _show(console: Console, rows: Iterable[tuple[str, str]]) -> None:
    table = Table("figure", "value", box=None)
    for row in rows:
        table.add_row(*row)
    console.print(table)
