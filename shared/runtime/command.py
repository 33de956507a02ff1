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
"""


def who() -> str:
    """The operator, as this machine knows him."""
    return f"{getpass.getuser()}@{socket.gethostname()}"


def stated(why: str) -> str:
    """The reason an operator gives. Raises UsageError for none."""
    if not why.strip():
        raise UsageError("--reason: say why; it is kept with who and when")
    return why.strip()


async def log_command(tx: Tx, command: str, why: str, before: Mapping[str, Any], after: Mapping[str, Any]) -> None:
    """Writes it down, in the transaction of what is commanded."""
    await tx.execute(_LOG, who(), command, why, json.dumps(before, ensure_ascii=False), json.dumps(after, ensure_ascii=False))
