"""A check, what it found, and the SQL form that most checks have."""
# ruff: noqa: S608 - SQL put together from this package's own names

import re
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import asyncpg

from services.ops.audit.view import View

# What rows, tables and grants can cause, whatever state somebody left them in: a breach, not a crash.
UNREADABLE = (
    asyncpg.DataError, asyncpg.UndefinedTableError, asyncpg.UndefinedColumnError, asyncpg.InsufficientPrivilegeError
)  # fmt: skip
SHOWN = 20  # breaches listed; all are counted


class Check(NamedTuple):
    """One statement that must hold. ``reads``: tables, topics or keys it rests on."""

    invariant: str  # I1 ... I20, as in the reliability notes
    name: str
    zh: str
    en: str
    reads: tuple[str, ...]


class Breach(NamedTuple):
    """Where it does not hold: the key of the row (or topic, lease, grant), and what is wrong there."""

    key: str
    what: str


@dataclass(slots=True)
class Finding:
    """What a check came to. ``in_flight``: rows that are still on their way, and so neither right nor wrong yet."""

    check: Check
    rows: int = 0
    total: int = 0
    in_flight: int = 0
    breaches: list[Breach] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def breach(self, key: str, what: str) -> None:
        """Notes a breach; the first few are listed."""
        self.total += 1
        if len(self.breaches) < SHOWN:
            self.breaches.append(Breach(key, what))


Family = Callable[[View], Awaitable[Sequence[Finding]]]
"""Checks that look together: over one query, one pass, one topic."""


class Query(NamedTuple):
    """A check as SQL that gives its breaches: (key, what), or (key, what, due) where rows may still be on their way.

    ``{parts}`` in the text stands for the number of partitions; ``arguments`` gives $1, $2 and so on.
    """

    check: Check
    sql: str
    arguments: Callable[[View], tuple[object, ...]] = lambda _: ()


async def ask(view: View, query: Query) -> Finding:
    """Runs one query. What it cannot even read is a breach of its own."""
    tables = [name for name in query.check.reads if "." in name]
    finding = Finding(query.check, rows=await view.rows(tables))
    text = query.sql.replace("{parts}", str(view.partitions))
    due = "" if re.search(r"\bas due\b", text) else ", true as due"
    try:
        async with view.connection.transaction():  # a savepoint: the next check still looks
            found = await view.connection.fetch(
                "select key, what, due, count(*) filter (where due) over () as breaches,"
                f" count(*) filter (where not due) over () as in_flight from (select *{due} from ({text}) as found) as judged"
                f' order by due desc, key collate "C" limit {SHOWN}',
                *query.arguments(view),
            )
    except UNREADABLE as unreadable:
        finding.breach(query.check.name, f"cannot be read: {unreadable}")
        return finding
    for row in found:
        finding.total, finding.in_flight = row["breaches"], row["in_flight"]
        if row["due"]:
            finding.breaches.append(Breach(row["key"], row["what"]))
    return finding


def family(*queries: Query) -> Family:
    """Queries as a family."""

    async def look(view: View) -> list[Finding]:
        return [await ask(view, query) for query in queries]

    return look


def key_of(alias: str, *, revision: bool = True) -> str:
    """SQL for the key by which a claim's row is named: ``institution/number kind``, ``#n`` for a revision other than 0."""
    tail = f" || case when {alias}.revision > 0 then '#' || {alias}.revision else '' end" if revision else ""
    return f"({alias}.institution_id || '/' || {alias}.claim_no || ' ' || {alias}.kind{tail})"
