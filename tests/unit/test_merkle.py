"""Merkle trees as RFC 6962 defines them, and paths that lead nowhere else."""

import hashlib
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.account import merkle
from services.account.merkle import Hasher


def by_definition(digest: Hasher, leaves: Sequence[bytes]) -> bytes:
    """RFC 6962, section 2.1, word by word."""
    if len(leaves) == 1:
        return leaves[0]
    k = 1
    while 2 * k < len(leaves):
        k *= 2
    return digest(b"\x01" + by_definition(digest, leaves[:k]) + by_definition(digest, leaves[k:]))


def test_the_digests_are_those_of_the_standards() -> None:
    # GB/T 32905-2016, example 1; FIPS 180-4
    assert merkle.hasher("sm3")(b"abc").hex() == "66c7f0f462eeedd9d1f2d46bdc10e4e24167c4875cf2f7a2297da02b8f4ba8e0"
    assert merkle.hasher("sha256")(b"abc") == hashlib.sha256(b"abc").digest()
    with pytest.raises(ValueError, match="md5"):
        merkle.hasher("md5")


@pytest.mark.parametrize("algorithm", merkle.ALGORITHMS)
@pytest.mark.parametrize("size", [1, 2, 3, 4, 5, 7, 8, 9, 31, 33])
def test_the_root_is_that_of_the_rfc_and_every_path_leads_to_it(algorithm: str, size: int) -> None:
    digest = merkle.hasher(algorithm)
    leaves = [merkle.leaf(digest, bytes([n])) for n in range(size)]
    root = by_definition(digest, leaves)
    assert merkle.root(digest, leaves) == root
    for n, leaf in enumerate(leaves):
        assert merkle.climb(digest, leaf, n, size, merkle.path(digest, leaves, n)) == root


@given(st.integers(2, 40), st.data())
def test_another_leaf_place_or_neighbour_leads_elsewhere(size: int, data: st.DataObject) -> None:
    digest = merkle.hasher("sha256")
    leaves = [merkle.leaf(digest, bytes([n])) for n in range(size)]
    n = data.draw(st.integers(0, size - 1))
    path = merkle.path(digest, leaves, n)
    root = merkle.root(digest, leaves)

    def leads_home(start: bytes, index: int, neighbours: Sequence[bytes]) -> bool:
        try:
            return merkle.climb(digest, start, index, size, neighbours) == root
        except ValueError:
            return False

    assert leads_home(leaves[n], n, path)
    other = data.draw(st.integers(0, size - 1).filter(lambda m: m != n))
    assert not leads_home(leaves[other], n, path)
    assert not leads_home(leaves[n], other, path)
    at = data.draw(st.integers(0, len(path) - 1))
    changed = bytes([path[at][0] ^ 1]) + path[at][1:]
    assert not leads_home(leaves[n], n, (*path[:at], changed, *path[at + 1 :]))
    assert not leads_home(leaves[n], n, path[:-1])
    assert not leads_home(leaves[n], n, (*path, path[0]))


def test_a_node_can_never_be_passed_off_as_a_leaf() -> None:
    digest = merkle.hasher("sm3")
    leaves = [merkle.leaf(digest, b"a"), merkle.leaf(digest, b"b")]
    assert merkle.leaf(digest, leaves[0] + leaves[1]) != merkle.root(digest, leaves)


def test_a_tree_without_leaves_has_no_root() -> None:
    with pytest.raises(ValueError, match="at least one"):
        merkle.root(merkle.hasher("sm3"), [])
