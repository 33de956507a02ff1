"""Reads every block again and compares it with the postings as they are now, with the chain, and with what was published."""

from collections.abc import Iterable
from typing import NamedTuple

import msgspec

from services.account import seal, seal_store
from services.account.seal import Root, Tail
from services.account.seal_store import Tx
from shared.runtime.database import by_keys
from shared.strict_json import UNREADABLE


class Fault(NamedTuple):
    """Where the ledger is not what was sealed: the posting, block or root, and what is wrong."""

    name: str
    what: str


class Checked(NamedTuple):
    """What a check came to. ``waiting``: postings that are not sealed yet."""

    faults: list[Fault]
    blocks: int
    postings: int
    waiting: int


async def check(tx: Tx, published: Iterable[bytes] = ()) -> Checked:
    """Looks through one snapshot, in a transaction, a block at a time.

    ``published``: roots as they were seen outside, one JSON object each.
    """
    async with by_keys(tx):
        return await _check(tx, published)


async def _check(tx: Tx, published: Iterable[bytes]) -> Checked:
    faults: list[Fault] = []
    tail, postings, hashes = Tail(), 0, {}
    end = await seal_store.tail(tx)
    for number in range(1, end.number + 1):
        kept = await seal_store.block(tx, number)
        if kept is None:
            faults.append(Fault(f"block {number}", "is missing"))
            continue
        block = kept.block
        faults += [Fault(f"block {number}", what) for what in seal.broken(block, kept.hash, kept.leaves, tail)]
        now = await seal_store.between(tx, tail, block)
        try:
            faults += [Fault(name, f"{what} (block {number})") for name, what in seal.differences(block, kept.leaves, now)]
        except ValueError as error:  # an algorithm nobody knows: said above
            faults.append(Fault(f"block {number}", str(error)))
        hashes[number] = (block.day, kept.hash)
        postings += len(now)
        tail = Tail(number, block.day, block.last_journal, block.last_line, kept.hash)
    roots = await seal_store.kept_roots(tx)
    faults += _roots(roots, hashes)
    faults += _published(published, [value for _, value in roots])
    return Checked(faults, end.number, postings, await seal_store.waiting(tx, end))


def _roots(roots: Iterable[tuple[Root, bytes]], hashes: dict[int, tuple[str, bytes]]) -> Iterable[Fault]:
    """Each root again, from the blocks it stands over; its columns, by which it is found; and days between others without one."""
    roots = list(roots)
    closed = {columns.day for columns, _ in roots if columns.closes}
    for day in sorted({day for day, _ in hashes.values()} - closed):
        if day < max(closed, default=""):  # days are closed in their order
            yield Fault(f"root of {day}", "is missing, and a later day is closed")
    for columns, value in roots:
        try:
            made = msgspec.json.decode(value, type=Root)
            blocks = [(number, hashes[number][1]) for number in range(made.first_block, made.last_block + 1)]
            again = seal.root_of(blocks, made.day, made.algorithm, made.made_at, closes=made.closes)
            days = {hashes[number][0] for number, _ in blocks}
        except (*UNREADABLE, KeyError, ValueError, IndexError) as error:
            yield Fault("root", f"cannot be made again: {type(error).__name__}: {error}: {value.decode('utf-8', 'replace')}")
            continue
        if again != made or days != {made.day}:
            yield Fault(f"root of {made.day}", f"its blocks lead to {again.root}, published was {made.root}")
        if columns != made:
            yield Fault(f"root of {made.day}", f"is kept as {columns}, published was {made}")


def _published(published: Iterable[bytes], values: Iterable[bytes]) -> Iterable[Fault]:
    """What was published and is not in the books any more."""
    kept = set(values)
    for value in published:
        if value in kept:
            continue
        try:
            made = msgspec.json.decode(value, type=Root)
        except UNREADABLE:  # a line torn by a crash; the root after it is whole
            continue
        yield Fault(f"root of {made.day}", f"{made.root} was published, and is not in the books")
