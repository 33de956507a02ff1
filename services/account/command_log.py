"""Every privileged command leaves who, when, why, from what to what (invariant I19)."""

import getpass
import json
import socket
from collections.abc import Mapping
from typing import Any

from shared.runtime.step import Tx


def who() -> str:
    """The user of this machine who commands."""
    return f"{getpass.getuser()}@{socket.gethostname()}"


async def write(tx: Tx, command: str, reason: str, before: Mapping[str, Any], after: Mapping[str, Any]) -> int:
    """Writes a command down, in the transaction that does it. Returns the row's number."""
    texts = (json.dumps(before, ensure_ascii=False), json.dumps(after, ensure_ascii=False))
    number = await tx.fetchval(
        "insert into runtime.command_log (who, command, reason, before, after)"
        " values ($1, $2, $3, $4::jsonb, $5::jsonb) returning id",
        who(), command, reason, *texts,
    )  # fmt: skip
    return int(number)


async def add(tx: Tx, number: int, after: Mapping[str, Any]) -> None:
    """Adds to what a command came to."""
    text = json.dumps(after, ensure_ascii=False)
    await tx.execute("update runtime.command_log set after = after || $2::jsonb where id = $1", number, text)
