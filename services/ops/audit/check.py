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


# Of what the queries find, all is counted and the first few of each check are fetched.
_FIRST = f"""
    select name, key, what, due, breaches, in_flight from (
        select name, key, what, due, count(*) filter (where due) over named as breaches,
            count(*) filter (where not due) over named as in_flight,
            row_number() over (partition by name order by due desc, key collate "C") as place
        from ({{}}) as judged window named as (partition by name)
    ) as counted where place <= {SHOWN} order by name, place
"""


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


class Joint(NamedTuple):
    """Checks that rest on one join, as one SQL that gives the breaches of all: (name of the check, key, what, due)."""

    checks: tuple[Check, ...]
    sql: str
    arguments: Callable[[View], tuple[object, ...]] = lambda _: ()


async def ask(view: View, query: Query) -> Finding:
    """Runs one query. What it cannot even read is a breach of its own."""
    due = "" if re.search(r"\bas due\b", query.sql) else ", true as due"
    sql = f"select '{query.check.name}' as name, *{due} from ({query.sql}) as found"
    return (await ask_together(view, Joint((query.check,), sql, query.arguments)))[0]


async def ask_together(view: View, joint: Joint) -> list[Finding]:
    """Runs the query of several checks. What it cannot even read is a breach of each."""
    findings = {
        check.name: Finding(check, rows=await view.rows([name for name in check.reads if "." in name])) for check in joint.checks
    }
    try:
        async with view.connection.transaction():  # a savepoint: the next check still looks
            found = await view.connection.fetch(
                _FIRST.format(joint.sql.replace("{parts}", str(view.partitions))), *joint.arguments(view)
            )
    except UNREADABLE as unreadable:
        for name, finding in findings.items():
            finding.breach(name, f"cannot be read: {unreadable}")
        return list(findings.values())
    for row in found:
        finding = findings[row["name"]]
        finding.total, finding.in_flight = row["breaches"], row["in_flight"]
        if row["due"]:
            finding.breaches.append(Breach(row["key"], row["what"]))
    return list(findings.values())


def family(*queries: Query | Joint) -> Family:
    """Queries as a family."""

    async def look(view: View) -> list[Finding]:
        found = []
        for query in queries:
            found += await ask_together(view, query) if isinstance(query, Joint) else [await ask(view, query)]
        return found

    return look


def key_of(alias: str, *, revision: bool = True) -> str:
    """SQL for the key by which a claim's row is named: ``institution/number kind``, ``#n`` for a revision other than 0."""
    tail = f" || case when {alias}.revision > 0 then '#' || {alias}.revision else '' end" if revision else ""
    return f"({alias}.institution_id || '/' || {alias}.claim_no || ' ' || {alias}.kind{tail})"
