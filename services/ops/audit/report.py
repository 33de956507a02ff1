"""An audit's report: one JSON object for machines, a table for people."""

from itertools import groupby

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from services.ops.audit.check import Finding
from services.ops.audit.run import ELSEWHERE, Report
from shared.calendar import stamp


def as_json(report: Report) -> dict[str, object]:
    """The whole report."""
    return {
        "ok": report.ok,
        "at": stamp(report.at),
        "seconds": round(report.seconds, 3),
        "quiescent": report.quiescent,
        "in_flight": report.in_flight,
        "topics_read": report.topics_read,
        "since": report.since and stamp(report.since),
        "checks": [_check(finding) for finding in report.findings],
        "not_checked": [{"id": invariant, "why": why} for invariant, why in ELSEWHERE.items()],
        "looked_up_to": [
            {"service": service, "topic": topic, "partition": partition, "next_offset": next_offset}
            for service, topic, partition, next_offset in report.leases
        ],
    }


def _check(finding: Finding) -> dict[str, object]:
    check = finding.check
    return {
        "id": check.invariant,
        "name": check.name,
        "zh": check.zh,
        "en": check.en,
        "read": list(check.reads),
        "rows": finding.rows,
        "total": finding.total,
        "in_flight": finding.in_flight,
        "breaches": [breach._asdict() for breach in finding.breaches],
        "notes": finding.notes,
    }


def show(report: Report, console: Console) -> None:
    """The table, then each breach."""
    table = Table(title="Audit 审计", title_justify="left")
    for heading, justify in (("", "left"), ("check 检查", "left"), ("rows 行", "right"), ("breaches 违反", "right")):
        table.add_column(heading, justify=justify)  # type: ignore[arg-type]
    for invariant, group in groupby(report.findings, key=lambda finding: finding.check.invariant):
        for n, finding in enumerate(group):
            text = escape(f"{finding.check.zh} {finding.check.en}")
            style = "bold red" if finding.total else ""
            table.add_row("" if n else invariant, text, f"{finding.rows:,}", f"{finding.total:,}", style=style)
    console.print(table)
    for finding in report.findings:
        for note in finding.notes:
            console.print(f"{finding.check.invariant} {finding.check.name}: {note}", markup=False, highlight=False)
    for finding in report.findings:
        for breach in finding.breaches:
            console.print(
                f"{finding.check.invariant} {finding.check.name}: {breach.key}: {breach.what}", markup=False, style="red"
            )
        if finding.total > len(finding.breaches):
            console.print(
                f"{finding.check.invariant} {finding.check.name}: and {finding.total - len(finding.breaches)} more", markup=False
            )
    if not report.topics_read:
        console.print("Topics were not read through (--topics does, however long they are). 未读取主题。")
    console.print(f"Looked up to 截至: {_up_to(report)}.", markup=False, highlight=False)
    moving = (
        ""
        if report.quiescent
        else f" The system was at work: {report.in_flight} rows were in flight, and not judged. 系统运行中。"
    )
    verdict = "No breach. 未发现违反。" if report.ok else f"{sum(f.total for f in report.findings)} breaches. 发现违反。"
    console.print(
        f"{verdict} {len(report.findings)} checks in {report.seconds:.1f} s.{moving}", style="green" if report.ok else "bold red"
    )


def _up_to(report: Report) -> str:
    """How far each step was on the claims' way in the snapshot; partition by partition it is in the JSON."""
    ways = groupby((lease for lease in report.leases if lease[1].startswith("claims.")), key=lambda lease: lease[:2])
    return "; ".join(f"{service} {topic} {sum(lease[3] for lease in leases):,}" for (service, topic), leases in ways)
