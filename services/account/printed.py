"""Statements on their way out: one JSON object or a table, written entry by entry, so that memory does not grow with them."""

import json
import sys
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from typing import Any

from rich.console import Console
from rich.table import Table

from services.account.statement import PAGE
from shared.money import yuan


async def as_json(head: Mapping[str, Any], opening: int, entries: AsyncIterator[tuple[int, dict[str, Any]]]) -> None:
    """One object on one line, as far as its ``closing``; ``entries``: the balance after each, and what is shown of it.

    The caller ends the object by ``close_json``.
    """
    write = sys.stdout.write
    write(json.dumps(dict(head) | {"opening": yuan(opening)}, ensure_ascii=False, default=str)[:-1] + ', "entries": [')
    balance, between = opening, ""
    async for balance, shown in entries:  # noqa: B007 - the last one is the closing balance
        write(between + json.dumps(shown, ensure_ascii=False, default=str))
        between = ", "
    write(f'], "closing": {json.dumps(yuan(balance))}')


def close_json(tail: Mapping[str, Any]) -> None:
    """What follows the closing balance, and the end of the object."""
    rest = "".join(f", {json.dumps(name)}: {json.dumps(value, ensure_ascii=False, default=str)}" for name, value in tail.items())
    sys.stdout.write(rest + "}\n")


async def as_table(console: Console, table: Callable[[], Table], rows: AsyncIterator[Sequence[str]]) -> None:
    """A table a page of rows: as one where they fit on one."""
    shown, count = table(), 0
    async for row in rows:
        if count and count % PAGE == 0:
            console.print(shown, markup=False)
            shown = table()
        shown.add_row(*row)
        count += 1
    console.print(shown, markup=False)
