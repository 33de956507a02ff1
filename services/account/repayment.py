"""An institution pays back what waits of it (医药机构退款): reversals above its claims, which else its next months have to bear.

It pays what these would be lessened by. Under a budget that is no sum of money: reversals are set off there against cost, and
what cost comes to a later month says. So only what is paid by item, or passed on as it is, can be paid back.
"""

from typing import NamedTuple

from services.account import payment, payment_store
from services.account.payment_run import has_budget, in_force, rule_of
from services.account.payment_store import Tx
from services.account.store import write_journals
from shared.errors import Stop
from shared.money import yuan
from shared.policy import Policies
from shared.runtime.command import log_command, who


class Asked(NamedTuple):
    """What was received (fen; None: as much as waits), from whom, and why. ``month``: a paid one, of which it waited."""

    region: str
    month: str
    institution_id: str
    amount: int | None
    why: str


async def repay(tx: Tx, policies: Policies, asked: Asked) -> int:
    """Books what an institution paid back, and says how much (fen); what was booked is said again. Raises Stop."""
    region, month, institution_id, received, why = asked
    version, rule = in_force(policies, region, month)
    await payment_store.alone(tx, region)
    before = await _repaid(tx, asked)
    if before is not None:
        if received not in {None, before}:
            raise Stop(f"{institution_id} paid back {yuan(before)} when {month} was paid, and that stands")
        return before
    if await payment_store.run_of(tx, region, month) is None:
        raise Stop(f"{month} is not paid: what its payment carries forward can be paid back once it is (gongji fund pay)")
    budget = has_budget(version, rule, month)
    shares = ("other",) if budget else ("fund", "other")
    number, waits = await payment_store.take_waiting(tx, rule_of(region, rule), month, institution_id, shares)
    if not waits:
        but = "; reversals of cost under a budget are set off against later cost" if budget else ""
        raise Stop(f"nothing of {institution_id} waits that it could pay back{but}")
    if received not in {None, waits}:
        raise Stop(f"{yuan(waits)} of {institution_id} waits, not {yuan(received or 0)}: all of it is paid back at once")
    await _book(tx, asked, number, waits)
    after = {"region": region, "month": month, "institution_id": institution_id, "amount": waits, "journal": number}
    await log_command(tx, "fund repaid", why, {"region": region, "month": month, "waits": waits}, after)
    return waits


async def _repaid(tx: Tx, asked: Asked) -> int | None:
    amount: int | None = await tx.fetchval(
        "select amount from account.repayment where (region, month, institution_id) = ($1, $2, $3)", *asked[:3]
    )
    return amount


async def _book(tx: Tx, asked: Asked, number: int, amount: int) -> None:
    """Writes the journal, its posting, and the row."""
    region, month, institution_id, _, why = asked
    postings = payment.repaying(region, institution_id, amount)
    await write_journals(tx, [payment_store.journal(number, institution_id, f"{region}/{month}", "repayment", postings)])
    await tx.execute(
        "insert into account.repayment (region, month, institution_id, amount, journal_id, who, reason)"
        " values ($1, $2, $3, $4, $5, $6, $7)",
        *(region, month, institution_id, amount, number, who(), why),
    )
