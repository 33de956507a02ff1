"""``gongji audit``: every invariant of the books: the checks of ops, and those that need a service's own code."""

import asyncio
import json
from datetime import datetime
from typing import Annotated

import typer
import uvloop
from rich.console import Console

from services.audit_grounds import GROUNDS
from services.audit_seal import SEAL
from services.ops.audit.report import as_json as report_as_json
from services.ops.audit.report import show
from services.ops.audit.run import audit as run_audit
from shared.calendar import read_since
from shared.errors import UsageError
from shared.runtime.settings import Settings


def audit(
    *,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
    topics: Annotated[
        bool | None,
        typer.Option("--topics/--no-topics", help="Read the topics through, or not; unless given: when they are not too long."),
    ] = None,
    since: Annotated[
        str | None,
        typer.Option(metavar="INSTANT", help="Go through outcomes and decisions only where something was settled since."),
    ] = None,
) -> None:
    """Check every invariant of the books on what is stored; exit 1 on any breach.

    With --since, what is said of whole books (sums, uniqueness, seals, counts, payments) is still checked whole; topics are read
    only with --topics.
    """
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        report = runner.run(run_audit(Settings.load(), (GROUNDS, SEAL), topics=topics, since=_instant(since)))
    show(report, Console(stderr=True))
    if as_json:
        typer.echo(json.dumps(report_as_json(report), ensure_ascii=False))
    if not report.ok:
        raise typer.Exit(1)


def _instant(text: str | None) -> datetime | None:
    """An RFC 3339 instant, or a day or time of Shanghai's. Raises UsageError."""
    if text is None:
        return None
    try:
        return read_since(text)
    except ValueError as wrong:
        raise UsageError(f"--since {text!r}: give an instant like 2026-11-24T08:00:00+08:00, or a day") from wrong
