"""The summary of a day: as tables for people, as one object for machines."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

from services.demo.day import Ran
from services.demo.summary import Owed, Summary
from shared.money import yuan
from shared.reasons import TEXTS

Names = Mapping[str, tuple[str, str]]  # region -> (zh, en)

_FUNDS: Final = {
    "total": "费用 cost",
    "pooled": "统筹 pooled",
    "large_expense": "大额 large",
    "civil_servant": "公务员 civil",
    "veterans": "优抚 veterans",
    "account": "账户 account",
    "family_account": "共济 family",
    "cash": "现金 cash",
}


def tables(console: Console, summary: Summary, ran: Ran, audit: Mapping[str, Any], names: Names) -> None:
    """Prints the day for people."""
    console.print(_outcomes(summary))
    console.print(_money(summary, names))
    if summary.owed:
        console.print(_between(summary.owed, names))
    for text in _sentences(summary, ran):
        console.print(text, soft_wrap=True, markup=False)
    _verdict(console, audit)


def _sentences(summary: Summary, ran: Ran) -> Iterator[str]:
    records = summary.records
    kinds = f"{records.outcomes} outcomes + {records.repeats} repeats answered + {records.dead} dead letters"
    yield f"\n记录 records: {ran.submitted} sent = {kinds}{'' if records.add_up else '  DOES NOT ADD UP'}"
    for dead in summary.dead:
        yield f"死信 dead letters: {dead.count} set aside by {dead.service}: {dead.reason}"
    rate, seconds = claims_a_second(summary, ran), ran.drained_seconds
    yield f"吞吐 drain: {rate:.0f} claims/s through five services ({seconds:.1f} s from first sent to last applied)"
    p50, p95, p99 = summary.latency_ms
    yield f"时延 accepted → settled: p50 {p50:.0f} ms, p95 {p95:.0f} ms, p99 {p99:.0f} ms (with the queues of the burst)"


def claims_a_second(summary: Summary, ran: Ran) -> float:
    """Distinct outcomes a second; repeats and dead letters went through as well, but are not counted."""
    return summary.records.outcomes / max(ran.drained_seconds, 0.001)


def _outcomes(summary: Summary) -> Table:
    table = _table("结果 Outcomes", "结果\noutcome")
    table.add_column("笔数\ncount", justify="right")
    table.add_column("原因\nreason")
    for row in summary.reasons:
        if row.code == "*":
            table.add_row(row.outcome, f"{row.count}", "合计 all", style="bold")
        else:
            table.add_row(row.outcome, f"{row.count}", f"{' '.join(TEXTS[row.code])} ({row.code})" if row.code else "–")
    return table


def _money(summary: Summary, names: Names) -> Table:
    """A row a fund, a column a city: with seven-digit sums it still fits eighty columns."""
    table = _table("资金（元） Money (yuan)", "参保地\ncity")
    for paid in summary.paid:
        table.add_column("\n".join(names.get(paid.region, (paid.region, ""))), justify="right", no_wrap=True)
    table.add_column("合计\nall", justify="right", no_wrap=True, style="bold")
    for fund, title in _FUNDS.items():
        sums = [int(getattr(paid, fund)) for paid in summary.paid]
        table.add_row(title, *map(yuan, sums), yuan(sum(sums)))
    return table


def _between(owed: Sequence[Owed], names: Names) -> Table:
    table = _table("异地清算（元） Between regions (yuan)", "地区\nregion")
    for title in ("应收\nreceives", "应付\npays", "净额\nnet"):
        table.add_column(title, justify="right", no_wrap=True)
    for region, (receives, pays) in positions(owed).items():
        table.add_row(f"{region} {' '.join(names.get(region, ()))}", yuan(receives), yuan(pays), yuan(receives - pays))
    return table


def _table(title: str, first: str) -> Table:
    return Table(
        first, title=f"\n{title}", title_justify="left", title_style="bold", box=SIMPLE_HEAD, show_edge=False, pad_edge=False
    )


def positions(owed: Sequence[Owed]) -> dict[str, tuple[int, int]]:
    """What each region receives and pays (fen). All nets add up to nothing."""
    regions = sorted({region for one in owed for region in (one.debtor, one.creditor)})
    return {
        region: (
            sum(one.amount for one in owed if one.creditor == region),
            sum(one.amount for one in owed if one.debtor == region),
        )
        for region in regions
    }


def _verdict(console: Console, audit: Mapping[str, Any]) -> None:
    if audit["ok"]:
        console.print(f"审计 audit: [bold green]clean[/], {len(audit['checks'])} checks")
        return
    console.print("审计 audit: [bold red]NOT CLEAN[/]; `gongji audit` shows every breach")
    for check in audit["checks"]:
        if check["total"]:
            console.print(
                f"  {check['id']} {check['name']}: {check['total']} breaches: {check['en']}", soft_wrap=True, markup=False
            )
    if said := audit.get("said"):
        console.print(said, markup=False)


def document(summary: Summary, ran: Ran, audit: Mapping[str, Any], names: Names) -> dict[str, Any]:
    """The day for machines; money as decimal strings in yuan."""
    records = summary.records
    return {
        "register": ran.register,
        "submitted": ran.submitted,
        "records": {name: getattr(records, name) for name in (*records.__struct_fields__, "outcomes", "add_up")},
        "outcomes": {word: summary.count(word) for word in ("settled", "rejected", "reversed")},
        "reasons": [
            {"outcome": row.outcome, "code": row.code, "zh": TEXTS[row.code][0], "en": TEXTS[row.code][1], "count": row.count}
            for row in summary.reasons
            if row.code is not None and row.code != "*"
        ],
        "paid": [
            {"region": paid.region, "name": names.get(paid.region), **{fund: yuan(getattr(paid, fund)) for fund in _FUNDS}}
            for paid in summary.paid
        ],
        "owed": [
            {"debtor": one.debtor, "creditor": one.creditor, "amount": yuan(one.amount), "claims": one.claims}
            for one in summary.owed
        ],
        "net": {region: yuan(receives - pays) for region, (receives, pays) in positions(summary.owed).items()},
        "dead_letters": [{"service": dead.service, "reason": dead.reason, "count": dead.count} for dead in summary.dead],
        "latency_ms": dict(zip(("p50", "p95", "p99"), summary.latency_ms, strict=True)),
        "drain": {"seconds": round(ran.drained_seconds, 2), "claims_per_second": round(claims_a_second(summary, ran), 1)},
        "kills": [kill._asdict() for kill in ran.kills],
        "audit": dict(audit),
    }
