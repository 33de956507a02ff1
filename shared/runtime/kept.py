"""What a replay keeps for each claim, in memory that does not grow with the claims: a temporary file behind a mapping.

Repeats and reversals may come back to any earlier claim, but few do: nearly every look-up is of a key that was never
there. So keys are marked in a bit field of fixed size, which answers that without the file. What is new gathers in memory
and is appended to the file in batches: a record names the one before it whose key falls in the same of a fixed number of
chains, and so a look-up that does go to the file follows one chain backwards and meets the newest value first.
"""

import os
import struct
import tempfile
import weakref
from array import array
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final, Generic, Protocol, TypeVar

import msgspec

K = TypeVar("K")
K_contra = TypeVar("K_contra", contravariant=True)
V = TypeVar("V")

_GATHER: Final = 2_000
_BITS: Final = 1 << 24  # 2 MB a mapping: of a million keys' look-ups in vain, one in seventy reads the file
_CHAINS: Final = 1 << 18  # 2 MB a mapping: of a million keys, four to a chain
_HEAD: Final = struct.Struct("<QII")  # where the chain goes on (0: nowhere), length of the key, length of the value


class Kept(Protocol[K_contra, V]):
    """What the in-memory stores need of a mapping; a ``dict`` is one."""

    def __contains__(self, key: Any, /) -> bool: ...
    def get(self, key: K_contra, /) -> V | None: ...
    def __setitem__(self, key: K_contra, value: V, /) -> None: ...


class Spill:
    """A private temporary file (in $TMPDIR) that vanishes with the process: nothing in it is meant to last.

    ``gather``: so many entries of a mapping are in memory before they go to the file together.
    """

    def __init__(self, gather: int = _GATHER) -> None:
        self.gather = gather
        self._file, name = tempfile.mkstemp(prefix="gongji-")
        Path(name).unlink()  # it lives as long as it is open
        self._close = weakref.finalize(self, os.close, self._file)
        self.end = 1  # where the next record begins; 0 is nowhere

    def of(self, value_type: type[V]) -> "Spilled[Any, V]":
        """A mapping from keys of strings and numbers to values of a type."""
        if value_type is bytes:
            return Spilled(self, _as_it_is, _as_it_is)
        return Spilled(self, msgspec.msgpack.Encoder().encode, msgspec.msgpack.Decoder(value_type).decode)

    def close(self) -> None:
        """Gives the disk back; nothing can be looked up any more."""
        self._close()

    def append(self, records: bytes) -> None:
        """Writes records at the end. Raises OSError where the disk is full."""
        left = memoryview(records)
        while left:
            written = os.pwrite(self._file, left, self.end)
            left, self.end = left[written:], self.end + written

    def read(self, at: int, length: int) -> bytes:
        """What stands there."""
        return os.pread(self._file, length, at)


class Spilled(Generic[K, V]):
    """``Kept`` over a spill."""

    def __init__(self, spill: Spill, encode: Callable[[V], bytes], decode: Callable[[bytes], V]) -> None:
        self._spill = spill
        self._encode = encode
        self._decode = decode
        self._recent: dict[K, V] = {}
        self._marked = bytearray(_BITS // 8)
        self._chains = array("Q", bytes(8 * _CHAINS))  # where each chain's newest record begins

    def __contains__(self, key: Any) -> bool:
        return key in self._recent or self._find(key) is not None

    def get(self, key: K, /) -> V | None:
        value = self._recent.get(key)
        if value is not None:
            return value
        found = self._find(key)
        return None if found is None else self._decode(found)

    def __setitem__(self, key: K, value: V) -> None:
        self._recent[key] = value
        if len(self._recent) >= self._spill.gather:
            self._flush()

    def _find(self, key: K) -> bytes | None:
        """What the file holds under a key. Two bits of the key's hash say whether to look at all."""
        marked, mark = self._marked, hash(key)
        one, other = mark % _BITS, (mark >> 32) % _BITS
        if not (marked[one >> 3] >> (one & 7) & 1 and marked[other >> 3] >> (other & 7) & 1):
            return None
        read, wanted, at = self._spill.read, _key(key), self._chains[mark % _CHAINS]
        while at:
            before, key_length, length = _HEAD.unpack(read(at, _HEAD.size))
            at += _HEAD.size
            if key_length == len(wanted) and read(at, key_length) == wanted:
                return read(at + key_length, length)
            at = before
        return None

    def _flush(self) -> None:
        marked, chains, encode, end = self._marked, self._chains, self._encode, self._spill.end
        records: list[bytes] = []
        for key, value in self._recent.items():
            mark = hash(key)
            one, other, chain = mark % _BITS, (mark >> 32) % _BITS, mark % _CHAINS
            marked[one >> 3] |= 1 << (one & 7)
            marked[other >> 3] |= 1 << (other & 7)
            name, content = _key(key), encode(value)
            records += (_HEAD.pack(chains[chain], len(name), len(content)), name, content)
            chains[chain] = end
            end += _HEAD.size + len(name) + len(content)
        self._spill.append(b"".join(records))
        self._recent.clear()


_key = msgspec.msgpack.Encoder().encode


def _as_it_is(value: Any) -> Any:
    return value
