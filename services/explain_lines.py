"""How a bill's lines came to its amounts: each line by the catalogue item that was found for it. Pure."""

from collections.abc import Iterator
from decimal import Decimal

from services.adjudication.bill import TraceLine
from services.adjudication.rules import percent
from services.eligibility.pricing import divide, price
from shared.claim import Claim, Line
from shared.events import ItemFacts, Verdict
from shared.money import yuan

_MILLIONTHS = 1_000_000


def bill_lines(claim: Claim, verdict: Verdict) -> Iterator[TraceLine]:
    """A line of the trace for each line of the bill; its result is what of it is in scope."""
    items = _items(verdict)
    for line in claim.lines:
        item = items.get(line.code)
        own, over, first, rest = divide(line, item)
        parts = {"own_paid": yuan(own), "over_limit": yuan(over), "pre_self_pay": yuan(first)}
        inputs = {"code": line.code, "quantity": line.quantity, "amount": yuan(line.amount)} | _of_item(item) | parts
        formula = _own_paid(line, item) if own else _formula(line, item, over, first)
        yield {"step": f"line:{line.line_no}", "article": None, "inputs": inputs, "formula": formula, "result": yuan(rest)}


def priced_otherwise(claim: Claim, verdict: Verdict) -> Iterator[str]:
    """Where pricing the lines anew gives other amounts or reasons than the verdict holds."""
    if not claim.lines or verdict.amounts is None:
        return
    find = _items(verdict).get
    amounts, reasons = price(claim.lines, find)
    if amounts != verdict.amounts:
        yield f"the lines are stored as {verdict.amounts!r}, and come to {amounts!r}"
    each = price(claim.lines, find, named=len(claim.lines))[1]  # as books have it that are older than the limit
    if verdict.line_reasons not in (reasons, each):
        yield f"the reasons by line are stored as {verdict.line_reasons!r}, and come to {reasons!r}"


def _items(verdict: Verdict) -> dict[str, ItemFacts]:
    return {item.code: item for item in verdict.items}


def _of_item(item: ItemFacts | None) -> dict[str, str | None]:
    if item is None:
        return {"category": None, "price_limit": None, "pre_self_pay_ratio": None}
    limit = None if item.price_limit is None else _price(item.price_limit)
    return {"category": item.category, "price_limit": limit, "pre_self_pay_ratio": percent(item.pre_self_pay_ratio)}


def _own_paid(line: Line, item: ItemFacts | None) -> str:
    why = "不在目录 unknown_item" if item is None else f"{item.category} 类自费 category {item.category}"
    return f"{yuan(line.amount)} - {yuan(line.amount)} ({why})"


def _formula(line: Line, item: ItemFacts | None, over: int, first: int) -> str:
    assert item is not None
    said = f"{yuan(line.amount)} - {yuan(over)} - {yuan(first)}"
    if item.price_limit is not None:
        said += f"; {yuan(over)} = max(0, {yuan(line.amount)} - {line.quantity} x {_price(item.price_limit)})"
    if item.pre_self_pay_ratio:
        said += f"; {yuan(first)} = {percent(item.pre_self_pay_ratio)} x ({yuan(line.amount)} - {yuan(over)})"
    return said


def _price(millionths: int) -> str:
    return f"{Decimal(millionths) / _MILLIONTHS:f}"
