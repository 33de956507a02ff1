"""The audit's check that needs the ledger's own seals: I9, one changed bit of what was sealed is found and named."""

from collections.abc import Sequence
from typing import Final

from services.account import seal_check
from services.ops.audit.announced import log, read
from services.ops.audit.check import Check, Family, Finding
from services.ops.audit.view import View
from shared.events import LEDGER_ROOTS

_SEALED: Final = Check(
    "I9",
    "sealed_is_unchanged",
    "已封存分录未被改动，封存链完整",
    "every sealed posting is as it was sealed; the chain of blocks and the roots of days are whole, and as they were published",
    ("account.block", "account.day_root", "account.posting"),
)


async def _seal(view: View) -> Sequence[Finding]:
    found = await seal_check.check(view.connection, await _published(view) if view.topics else ())
    finding = Finding(_SEALED, rows=found.postings)
    for fault in found.faults:
        finding.breach(fault.name, fault.what)
    finding.notes.append(f"{found.blocks} blocks; {found.waiting} postings wait for theirs")
    return [finding]


async def _published(view: View) -> list[bytes]:
    """The roots that were announced before the snapshot was taken."""
    async with log(view.kafka) as consumer:
        return [
            record.value or b""
            async for record in read(view, consumer, LEDGER_ROOTS)
            if record.offset < view.ends_before.get((LEDGER_ROOTS, record.partition), 0)
        ]


SEAL: Family = _seal
