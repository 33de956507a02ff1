"""``gongji audit``: every invariant of the books: the checks of ops, and those that need a service's own code."""

import asyncio
import json
from typing import Annotated

import typer
from rich.console import Console

from services.audit_grounds import GROUNDS
from services.audit_seal import SEAL
from services.ops.audit.report import as_json as report_as_json
from services.ops.audit.report import show
from services.ops.audit.run import audit as run_audit
from shared.runtime.settings import Settings


def audit(
    *,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
    topics: Annotated[
        bool | None,
        typer.Option("--topics/--no-topics", help="Read the topics through, or not; unless given: when they are not too long."),
    ] = None,
) -> None:
    """Check every invariant of the books on what is stored; exit 1 on any breach."""
    report = asyncio.run(run_audit(Settings.load(), (GROUNDS, SEAL), topics=topics))
    show(report, Console(stderr=True))
    if as_json:
        typer.echo(json.dumps(report_as_json(report), ensure_ascii=False))
    if not report.ok:
        raise typer.Exit(1)
