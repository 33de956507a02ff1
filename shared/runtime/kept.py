"""What a replay keeps for each claim, in memory that does not grow with the claims: a temporary file behind a mapping.

Repeats and reversals may come back to any earlier claim, but few do: nearly every look-up is of a key that was never
there. So keys are marked in a bit field of fixed size, which answers that without the file; what is new gathers in
memory and goes out in batches.
"""

import sqlite3
from collections.abc import Callable
from typing import Any, Final, Generic, Protocol, TypeVar

import msgspec

K = TypeVar("K")
K_contra = TypeVar("K_contra", contravariant=True)
V = TypeVar("V")

_GATHER: Final = 2_000
_BITS: Final = 1 << 24  # 2 MB a mapping: of a million keys' look-ups in vain, one in seventy reads the file
_PRAGMAS: Final = ("journal_mode=off", "synchronous=off", "locking_mode=exclusive", "temp_store=file", "cache_size=-8000")


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
        self.connection = sqlite3.connect("", isolation_level=None)
        for pragma in _PRAGMAS:
            self.connection.execute(f"pragma {pragma}")
        self._tables = 0

    def of(self, value_type: type[V]) -> "Spilled[Any, V]":
        """A mapping from keys of strings and numbers to values of a type."""
        if value_type is bytes:
            return Spilled(self, _as_it_is, _as_it_is)
        return Spilled(self, msgspec.msgpack.Encoder().encode, msgspec.msgpack.Decoder(value_type).decode)

    def table(self) -> str:
        """The name of a new table."""
        self._tables += 1
        name = f"kept_{self._tables}"
        self.connection.execute(f"create table {name} (key blob primary key, value blob)")
        return name


class Spilled(Generic[K, V]):
    """``Kept`` over a spill."""

    def __init__(self, spill: Spill, encode: Callable[[V], bytes], decode: Callable[[bytes], V]) -> None:
        name = spill.table()
        self._connection = spill.connection
        self._gather = spill.gather
        self._put = f"insert or replace into {name} values (?, ?)"  # noqa: S608
        self._get = f"select value from {name} where key = ?"  # noqa: S608 - the name is this module's own
        self._encode = encode
        self._decode = decode
        self._recent: dict[K, V] = {}
        self._marked = bytearray(_BITS // 8)

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
        if len(self._recent) >= self._gather:
            self._flush()

    def _find(self, key: K) -> bytes | None:
        """What the file holds under a key. Two bits of the key's hash say whether to look at all."""
        marked, at = self._marked, hash(key)
        one, other = at % _BITS, (at >> 32) % _BITS
        if not (marked[one >> 3] >> (one & 7) & 1 and marked[other >> 3] >> (other & 7) & 1):
            return None
        row = self._connection.execute(self._get, (_key(key),)).fetchone()
        return None if row is None else row[0]

    def _flush(self) -> None:
        marked, encode = self._marked, self._encode
        rows = []
        for key, value in self._recent.items():
            at = hash(key)
            one, other = at % _BITS, (at >> 32) % _BITS
            marked[one >> 3] |= 1 << (one & 7)
            marked[other >> 3] |= 1 << (other & 7)
            rows.append((_key(key), encode(value)))
        self._connection.execute("begin")
        self._connection.executemany(self._put, rows)
        self._connection.execute("commit")
        self._recent.clear()


_key = msgspec.msgpack.Encoder().encode


def _as_it_is(value: Any) -> Any:
    return value
