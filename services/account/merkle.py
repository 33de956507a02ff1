"""Digests and Merkle trees (RFC 6962, section 2.1): what a seal is made of, and what an outsider checks it with. Pure."""

from collections.abc import Callable, Iterator, Sequence

from cryptography.hazmat.primitives import hashes

ALGORITHMS = ("sm3", "sha256")
_HASHES = {"sm3": hashes.SM3(), "sha256": hashes.SHA256()}

Hasher = Callable[[bytes], bytes]


def hasher(algorithm: str) -> Hasher:
    """The digest function of this name (GB/T 32905 SM3, or SHA-256). Raises ValueError for any other name."""
    if algorithm not in _HASHES:
        raise ValueError(f"{algorithm!r} is none of {', '.join(ALGORITHMS)}")
    fresh = hashes.Hash(_HASHES[algorithm])  # copied: to look the algorithm up again takes half as long again as to digest

    def digest(content: bytes) -> bytes:
        running = fresh.copy()
        running.update(content)
        return running.finalize()

    return digest


def leaf(digest: Hasher, content: bytes) -> bytes:
    """The digest of a leaf; never that of an inner node, whatever the content."""
    return digest(b"\x00" + content)


def root(digest: Hasher, leaves: Sequence[bytes]) -> bytes:
    """The root over digests of leaves. Raises ValueError for none."""
    if not leaves:
        raise ValueError("a tree has at least one leaf")
    *_, top = _levels(digest, leaves)
    return top[0]


def path(digest: Hasher, leaves: Sequence[bytes], index: int) -> tuple[bytes, ...]:
    """The neighbours on the way from a leaf to the root: what ``climb`` needs. Raises IndexError."""
    if not 0 <= index < len(leaves):
        raise IndexError(index)
    found = []
    for level in _levels(digest, leaves):
        if index ^ 1 < len(level):
            found.append(level[index ^ 1])
        index //= 2
    return tuple(found)


def climb(digest: Hasher, start: bytes, index: int, size: int, neighbours: Sequence[bytes]) -> bytes:
    """The root that a leaf (its digest) leads to, as the index-th of so many. Raises ValueError for a path that does not fit."""
    if not 0 <= index < size:
        raise ValueError(f"there is no leaf {index} of {size}")
    left = list(neighbours)
    while size > 1:
        if index ^ 1 < size:
            if not left:
                raise ValueError("the path is too short")
            neighbour = left.pop(0)
            start = digest(b"\x01" + (neighbour + start if index % 2 else start + neighbour))
        index, size = index // 2, (size + 1) // 2
    if left:
        raise ValueError("the path is too long")
    return start


def _levels(digest: Hasher, leaves: Sequence[bytes]) -> Iterator[Sequence[bytes]]:
    """The tree from the leaves up; a node without a neighbour goes up as it is, which gives RFC 6962's tree."""
    level = leaves
    yield level
    while len(level) > 1:
        pairs = zip(level[::2], level[1::2], strict=False)
        level = [*(digest(b"\x01" + one + other) for one, other in pairs), *level[len(level) & ~1 :]]
        yield level
