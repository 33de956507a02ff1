"""Seals: postings as bytes, blocks that chain them, roots over a day's blocks, and what differs from what was sealed.

A posting is sealed as the JSON array of its fields in UTF-8 without spaces, so that an outsider needs no code of ours. Pure.
"""

from collections.abc import Sequence
from itertools import takewhile
from typing import Any, Final, NamedTuple

import msgspec

from services.account import merkle
from services.account.merkle import Hasher

GENESIS: Final = b""
"""What the first block names as the hash before it."""


_NUMBERED_BY_INSTITUTIONS: Final = frozenset({"claim", "reversal", "account_use"})


class Posted(NamedTuple):
    """A posting with its journal, as it is sealed: the order of the fields is that of the array."""

    journal_id: int
    line: int
    debit: str
    credit: str
    amount: int  # fen
    part: int
    issuer: str | None  # None: there is no such journal
    number: str | None
    kind: str | None
    revision: int | None
    corrects: int | None
    booked_at: str | None  # UTC, microseconds

    @property
    def name(self) -> str:
        """How it is called when it is not what it was; no member is named."""
        whose = f"{self.issuer}/{self.number} " if self.kind in _NUMBERED_BY_INSTITUTIONS else ""
        return f"journal {self.journal_id} line {self.line} ({whose}{self.kind})"


class Tail(NamedTuple):
    """Where the chain ends."""

    number: int = 0
    day: str = ""
    journal_id: int = 0
    line: int = 0
    hash: bytes = GENESIS


class Block(NamedTuple):
    """A block's header in the order in which it is hashed; digests in hex."""

    number: int
    day: str
    algorithm: str
    first_journal: int
    first_line: int
    last_journal: int
    last_line: int
    postings: int
    previous_hash: str
    merkle_root: str
    sealed_at: str

    @property
    def hash(self) -> bytes:
        """What the next block names. Raises ValueError for an unknown algorithm."""
        return merkle.hasher(self.algorithm)(array(self))

    @property
    def tail(self) -> Tail:
        """The chain's end after this block."""
        return Tail(self.number, self.day, self.last_journal, self.last_line, self.hash)


class Root(msgspec.Struct, frozen=True, kw_only=True, tag_field="type", tag="ledger_root"):
    """The Merkle root over the hashes of a day's blocks, as it is published. ``closes``: nothing of the day comes after."""

    day: str
    algorithm: str
    root: str
    first_block: int
    last_block: int
    closes: bool
    made_at: str


def array(fields: Sequence[Any]) -> bytes:
    """Fields as the bytes that are hashed."""
    return msgspec.json.encode(tuple(fields))


def leaves(digest: Hasher, postings: Sequence[Posted]) -> list[bytes]:
    """The digests of postings."""
    return [merkle.leaf(digest, array(posting)) for posting in postings]


def of_one_day(tail: Tail, dated: Sequence[tuple[str, Posted]], first_open_day: str) -> tuple[str, list[Posted]]:
    """The first of these postings that go into one day's block, and its day: that of booking, never before the last."""
    day = max(tail.day, first_open_day, dated[0][0])
    return day, [posting for _, posting in takewhile(lambda one: one[0] <= day, dated)]


def close(tail: Tail, day: str, postings: Sequence[Posted], algorithm: str, sealed_at: str) -> tuple[Block, list[bytes]]:
    """The next block over these postings, and their digests. Raises ValueError."""
    digest = merkle.hasher(algorithm)
    digests = leaves(digest, postings)
    first, last = postings[0], postings[-1]
    block = Block(
        number=tail.number + 1,
        day=day,
        algorithm=algorithm,
        first_journal=first.journal_id,
        first_line=first.line,
        last_journal=last.journal_id,
        last_line=last.line,
        postings=len(postings),
        previous_hash=tail.hash.hex(),
        merkle_root=merkle.root(digest, digests).hex(),
        sealed_at=sealed_at,
    )
    return block, digests


def root_of(blocks: Sequence[tuple[int, bytes]], day: str, algorithm: str, made_at: str, *, closes: bool) -> Root:
    """The root over a day's blocks: (number, hash) in order. Raises ValueError for none."""
    return Root(
        day=day,
        algorithm=algorithm,
        root=merkle.root(merkle.hasher(algorithm), day_leaves(algorithm, [block_hash for _, block_hash in blocks])).hex(),
        first_block=blocks[0][0],
        last_block=blocks[-1][0],
        closes=closes,
        made_at=made_at,
    )


def day_leaves(algorithm: str, hashes: Sequence[bytes]) -> list[bytes]:
    """The leaves of a day's tree."""
    digest = merkle.hasher(algorithm)
    return [merkle.leaf(digest, block_hash) for block_hash in hashes]


def broken(block: Block, stored_hash: bytes, stored_leaves: Sequence[bytes], before: Tail) -> list[str]:
    """What is wrong with a block by itself, and with its link to the one before."""
    found = []
    if block.number != before.number + 1:
        found.append(f"follows block {before.number}: a block is missing")
    if block.previous_hash != before.hash.hex():
        found.append(f"does not name the hash of block {before.number}")
    try:
        if block.hash != stored_hash:
            found.append("its header is not what it was: the hash differs")
        if merkle.root(merkle.hasher(block.algorithm), stored_leaves).hex() != block.merkle_root:
            found.append("its digests are not those it was sealed with")
    except ValueError as error:
        found.append(str(error))
    if block.day < before.day:
        found.append(f"is of {block.day}, the one before of {before.day}")
    return found


def differences(block: Block, stored: Sequence[bytes], postings: Sequence[Posted]) -> list[tuple[str, str]]:
    """Each posting that is not what was sealed: its name, and what happened to it."""
    now = leaves(merkle.hasher(block.algorithm), postings)
    if now == list(stored):
        return []
    sealed, present = set(stored), set(now)
    strange = [posting for posting, digest in zip(postings, now, strict=True) if digest not in sealed]
    gone = sum(digest not in present for digest in stored)
    said = "is not what was sealed"
    if gone < len(strange):
        said = "was added to a sealed block" if gone == 0 else "was added to a sealed block, or changed"
    found = [(posting.name, said) for posting in strange]
    if gone > len(strange):
        found.append((_gap(block, stored, now, postings), f"{gone - len(strange)} postings are missing"))
    return found or [(f"journal {block.first_journal} line {block.first_line}", "the postings are in another order")]


def _gap(block: Block, stored: Sequence[bytes], now: Sequence[bytes], postings: Sequence[Posted]) -> str:
    """Where the first one is missing."""
    known = dict(zip(now, postings, strict=True))
    where = f"journal {block.first_journal} line {block.first_line}"
    for digest in stored:
        if digest not in known:
            break
        where = f"after {known[digest].name}"
    return where
