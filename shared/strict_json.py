"""Strict JSON: one object in UTF-8, no duplicate key at any level, no NaN or infinity, no bottomless nesting.

Pure. Numbers that the contract never asks for (fractions, exponents, very long integers) are kept as
``Numeral``, so that 1e400 is a wrong value in a named field and not an infinity.
"""

import json
import re
from typing import Any, Final, NoReturn

import msgspec

from shared.errors import Unreadable

MAX_DEPTH: Final = 300  # the same on every machine, whatever its stack: below the interpreter's own limit
_LONGEST_INTEGER: Final = 18

_MARKS_A_FIELD: Final = 4  # quotation marks: two round the name, two round the text

UNREADABLE: Final = (msgspec.MsgspecError, UnicodeDecodeError, RecursionError)
"""What msgspec raises for bytes that are not what was asked for: even a field that is skipped may be nested too deeply."""

_STRING = re.compile(r'"(?:[^"\\]|\\.)*"', re.DOTALL)
_BRACKET = re.compile(r"[\[\]{}]")
_FIELD = re.compile(r"[a-z_]{1,40}", re.ASCII)


class Numeral(msgspec.Struct, frozen=True):
    """A number as it was written."""

    text: str


def _integer(text: str) -> int | Numeral:
    return int(text) if len(text) <= _LONGEST_INTEGER else Numeral(text)


def _constant(name: str) -> NoReturn:
    raise Unreadable(f"not JSON: {name} is no JSON number")


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    if len(members) != len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        # A key that is no field's name may be anything, an identity too.
        raise Unreadable("an object names a key twice" + (f": {twice}" if _FIELD.fullmatch(twice) else ""))
    return members


_decoder = json.JSONDecoder(object_pairs_hook=_unique, parse_float=Numeral, parse_int=_integer, parse_constant=_constant)


def _depth(text: str) -> int:
    depth = deepest = 0
    for bracket in _BRACKET.findall(_STRING.sub("", text)):
        if bracket in "[{":
            depth += 1
            deepest = max(deepest, depth)
        else:
            depth -= 1
    return deepest


_read_texts = msgspec.json.Decoder(dict[str, str]).decode


def _texts(value: bytes) -> dict[str, Any] | None:
    """An object of nothing but texts without an escape, which most records of the register are, in one pass; else None.

    Of a name that stands there twice the decoder says nothing, but then there are more quotation marks.
    """
    if b"\\" in value:
        return None
    try:
        texts: dict[str, Any] = _read_texts(value)
    except UNREADABLE:
        return None
    return texts if value.count(b'"') == _MARKS_A_FIELD * len(texts) else None


def read_object(value: bytes | None) -> dict[str, Any]:
    """Reads one JSON object. Raises Unreadable, whose text quotes nothing of the record but a field's name."""
    if not value:
        raise Unreadable("the record is empty")
    texts = _texts(value)
    if texts is not None:
        return texts
    try:
        text = value.decode("utf-8")
    except UnicodeDecodeError as error:
        raise Unreadable(f"not UTF-8: byte {error.start}") from None
    if text.count("[") + text.count("{") > MAX_DEPTH and _depth(text) > MAX_DEPTH:
        raise Unreadable(f"nested deeper than {MAX_DEPTH} levels")
    try:
        document = _decoder.decode(text)
    except json.JSONDecodeError as error:
        raise Unreadable(f"not JSON: {error.msg.removesuffix(' at')} at character {error.pos}") from None
    except RecursionError:
        raise Unreadable("nested too deeply") from None
    if not isinstance(document, dict):
        raise Unreadable("not a JSON object")
    return document


def canonical(document: dict[str, Any]) -> bytes:
    """One text for equal documents, whatever the order of their keys; for digests only."""
    return json.dumps(document, sort_keys=True, separators=(",", ":"), default=lambda numeral: {"": numeral.text}).encode()
