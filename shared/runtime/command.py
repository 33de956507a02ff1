"""What an operator commands leaves a row: who, when, why, from what to what (invariant I19)."""

import getpass
import json
import socket
from collections.abc import Mapping
from typing import Any

from shared.errors import UsageError
from shared.runtime.step import Tx

_LOG = """
    insert into runtime.command_log (who, command, reason, before, after) values ($1, $2, $3, $4::jsonb, $5::jsonb)
    returning id
"""


def who() -> str:
    """The operator, as this machine knows him."""
    return f"{getpass.getuser()}@{socket.gethostname()}"


def stated(why: str) -> str:
    """The reason an operator gives. Raises UsageError for none."""
    if not why.strip():
        raise UsageError("--reason: say why; it is kept with who and when")
    return why.strip()


async def log_command(tx: Tx, command: str, why: str, before: Mapping[str, Any], after: Mapping[str, Any]) -> int:
    """Writes it down, in the transaction of what is commanded. Returns the row's number."""
    texts = (json.dumps(before, ensure_ascii=False), json.dumps(after, ensure_ascii=False))
    return int(await tx.fetchval(_LOG, who(), command, why, *texts))


async def add_outcome(tx: Tx, number: int, outcome: Mapping[str, Any]) -> None:
    """Adds to the row of a command what it came to."""
    text = json.dumps(outcome, ensure_ascii=False)
    await tx.execute("update runtime.command_log set after = after || $2::jsonb where id = $1", number, text)
