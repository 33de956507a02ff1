"""A proof that a claim's postings are under a published root: made from the books, checked with nothing but itself and the root.

Made by whoever has the books; checked by anybody, offline. The checks are pure.
"""

from collections.abc import Collection, Iterable, Sequence
from typing import Any, Final

import msgspec

from services.account import merkle, seal, seal_store
from services.account.seal import Block, Posted, Root
from services.account.seal_store import Tx
from shared.errors import Stop
from shared.strict_json import UNREADABLE

_VERSION: Final = 1


class NotYet(Stop):
    """The claim is booked, and not under a published root yet."""


class ProvenPosting(msgspec.Struct, frozen=True, kw_only=True):
    """A posting (the array that is hashed) and its way to its block's root."""

    posting: tuple[Any, ...]
    block: int
    index: int
    path: tuple[str, ...]


class ProvenBlock(msgspec.Struct, frozen=True, kw_only=True):
    """A block's header (the array that is hashed) and its way to a day's root."""

    header: tuple[Any, ...]
    path: tuple[str, ...]


class Proof(msgspec.Struct, frozen=True, kw_only=True, tag_field="type", tag="ledger_proof"):
    """What ``gongji ledger prove`` writes."""

    version: int = _VERSION
    institution_id: str
    claim_no: str
    postings: tuple[ProvenPosting, ...]
    blocks: tuple[ProvenBlock, ...]
    roots: tuple[Root, ...]


async def prove(tx: Tx, claim_no: str, institution_id: str | None) -> Proof:
    """The proof of all postings of a claim. Raises Stop, naming what is not there, or not yet."""
    postings = await seal_store.of_claim(tx, claim_no, institution_id)
    issuers = sorted({str(posting.issuer) for posting in postings})
    if not postings:
        raise Stop(f"nothing is booked under {claim_no}: no fund and no account paid, or there is no such claim")
    if len(issuers) > 1:
        raise Stop(f"{claim_no} was used by {', '.join(issuers)}; say which with --institution")
    numbers = {posting: await seal_store.block_over(tx, posting) for posting in postings}
    blocks: dict[int, seal_store.Kept] = {}
    for posting, number in numbers.items():
        kept = blocks.get(number or 0) or (await seal_store.block(tx, number) if number else None)
        if kept is None:
            raise NotYet(f"{posting.name} is not sealed yet; `gongji ledger seal` does it now")
        blocks[kept.block.number] = kept
    under = {number: await _root_over(tx, number) for number in blocks}
    return Proof(
        institution_id=issuers[0],
        claim_no=claim_no,
        postings=tuple(_posting(posting, blocks[number or 0]) for posting, number in numbers.items()),
        blocks=tuple([await _block(tx, kept, under[number]) for number, kept in sorted(blocks.items())]),
        roots=tuple({made.root: made for made in under.values()}.values()),
    )


async def _root_over(tx: Tx, number: int) -> Root:
    value = await seal_store.covering(tx, number)
    if value is None:
        raise NotYet(f"there is no root over block {number} yet; `gongji ledger seal` publishes one now")
    return msgspec.json.decode(value, type=Root)


def _posting(posting: Posted, kept: seal_store.Kept) -> ProvenPosting:
    digest = merkle.hasher(kept.block.algorithm)
    mine = merkle.leaf(digest, seal.array(posting))
    if mine not in kept.leaves:
        raise Stop(f"{posting.name} is not what was sealed in block {kept.block.number}; run `gongji ledger check`")
    index = kept.leaves.index(mine)
    path = tuple(node.hex() for node in merkle.path(digest, kept.leaves, index))
    return ProvenPosting(posting=tuple(posting), block=kept.block.number, index=index, path=path)


async def _block(tx: Tx, kept: seal_store.Kept, made: Root) -> ProvenBlock:
    hashes = [block_hash for number, block_hash in await seal_store.blocks_of(tx, made.day) if number <= made.last_block]
    leaves = seal.day_leaves(made.algorithm, hashes)
    path = merkle.path(merkle.hasher(made.algorithm), leaves, kept.block.number - made.first_block)
    return ProvenBlock(header=tuple(kept.block), path=tuple(node.hex() for node in path))


def faults(proof: Proof, published: Collection[str]) -> list[str]:
    """What is wrong with a proof, given the roots (hex) that were published; nothing, if it holds."""
    try:
        return [*_unfounded(proof, published), *_broken_blocks(proof), *_broken_postings(proof)]
    except (ValueError, TypeError, IndexError) as error:
        return [f"it cannot be followed: {error}"]


def _unfounded(proof: Proof, published: Collection[str]) -> Iterable[str]:
    if proof.version != _VERSION:
        yield f"it is of version {proof.version}, this program reads {_VERSION}"
    if not proof.postings:
        yield "it proves nothing: no posting is in it"
    for made in proof.roots:
        if made.root not in published:
            yield f"the root {made.root} of {made.day} is not among those published"


def _broken_blocks(proof: Proof) -> Iterable[str]:
    for proven in proof.blocks:
        block = Block(*proven.header)
        made = next((one for one in proof.roots if one.first_block <= block.number <= one.last_block), None)
        if made is None:
            yield f"block {block.number} is under no root"
            continue
        digest = merkle.hasher(made.algorithm)
        index, size = block.number - made.first_block, made.last_block - made.first_block + 1
        top = merkle.climb(digest, merkle.leaf(digest, block.hash), index, size, _nodes(proven.path))
        if top.hex() != made.root or block.day != made.day:
            yield f"block {block.number} does not lead to the root of {made.day}"


def _broken_postings(proof: Proof) -> Iterable[str]:
    blocks = {Block(*proven.header).number: Block(*proven.header) for proven in proof.blocks}
    for proven in proof.postings:
        posting = Posted(*proven.posting)
        if (posting.issuer, posting.number) != (proof.institution_id, proof.claim_no):
            yield f"{posting.name} belongs to another claim"
        block = blocks.get(proven.block)
        if block is None:
            yield f"{posting.name} is in block {proven.block}, which is not in the proof"
            continue
        digest = merkle.hasher(block.algorithm)
        start = merkle.leaf(digest, seal.array(posting))
        if merkle.climb(digest, start, proven.index, block.postings, _nodes(proven.path)).hex() != block.merkle_root:
            yield f"{posting.name} is not what was sealed in block {block.number}"


def _nodes(path: Sequence[str]) -> list[bytes]:
    return [bytes.fromhex(node) for node in path]


def read(content: bytes) -> Proof:
    """Reads a proof. Raises ValueError, saying what is wrong with it."""
    try:
        return msgspec.json.decode(content, type=Proof)
    except UNREADABLE as error:
        raise ValueError(str(error)) from error


def roots_in(content: bytes) -> set[str]:
    """The roots in what was published: one JSON object a line. A line that a crash tore is nobody's root."""
    found = set()
    for line in content.splitlines():
        try:
            found.add(msgspec.json.decode(line, type=Root).root)
        except UNREADABLE:
            continue
    return found
