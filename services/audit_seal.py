"""The audit's check that needs the ledger's own seals: I9, one changed bit of what was sealed is found and named."""

from collections.abc import Sequence
from typing import Final

from services.account import seal_check
from services.ops.audit.check import Check, Family, Finding
from services.ops.audit.view import View

_SEALED: Final = Check(
    "I9",
    "sealed_is_unchanged",
    "已封存分录未被改动，封存链完整",
    "every sealed posting is as it was sealed; the chain of blocks and the roots of days are whole",
    ("account.block", "account.day_root", "account.posting"),
)


async def _seal(view: View) -> Sequence[Finding]:
    found = await seal_check.check(view.connection)
    finding = Finding(_SEALED, rows=found.postings)
    for fault in found.faults:
        finding.breach(fault.name, fault.what)
    finding.notes.append(f"{found.blocks} blocks; {found.waiting} postings wait for theirs")
    return [finding]


SEAL: Family = _seal
