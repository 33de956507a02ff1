"""Submissions of every degree of wrongness, by the million and the same for the same seed.

Structured first (a claim of contract.md, section 1, with fields dropped, doubled, renamed, retyped, stretched), then bytes
(flipped, cut, doubled, spliced). ``identity`` says, by other code than intake's, which of them must be answered.
"""

import json
from collections.abc import Callable, Iterator, Sequence
from random import Random
from typing import Any, Final

INSTITUTIONS: Final = ("H130900001", "H130900002")
MEMBERS: Final = tuple(f"M13090000{number}" for number in range(1, 9))

Document = dict[str, Any]

# What stands where something else should: of every type, and the strings that look right.
VALUES: Final[tuple[Any, ...]] = (
    None, True, False, 0, -1, 1, 1.5, 10**30, "", " ", "0", "0.00", "-0.00", "-1.00", "+1.00", "1.001", "1e3", "1,000.00",
    "٣.٠٠", "１.００", "9" * 40, "NaN", "Infinity", "1.0.0", "\u0000", "\ud800", "\u202e", "a\u0000b", "😀" * 50, "x" * 5_000, [],
    {}, {"a": {}}, "2023-02-29", "2023-05-01", "0000-01-01T00:00:00Z", "9999-12-31T23:59:59+14:00", "2023-05-01T09:30:00",
    "2023-05-01T24:00:00+08:00", "2016-12-31T23:59:60Z", "2023-05-01T09:30:00.123456789+08:00", "chronic:", "chronic:" + "9" * 99,
    "special_drug:\n", "direct", "internet", "manual", "130900", "999999", "13090", "M130900001", "H130900001", [None], ["1.00"],
)  # fmt: skip
_BYTES: Final = (
    b"", b"\x00", b"\xff", b"\xc3\x28", b"\xed\xa0\x80", b"\xef\xbb\xbf", b"{", b"}", b'"', b",",
    b"\\u0000", b"\\ud800", b"1e999", b"NaN",
)  # fmt: skip
_OPTIONAL: Final = (
    "quote",
    "excluded_as",
    "family_payer",
    "insured_region",
    "doctor_id",
    "prescribed_by",
    "\u0000",
    "",
    "a" * 99,
)


def register() -> list[Document]:
    """Two hospitals and eight members, so that good records have somewhere to go."""
    hospitals = [
        {
            "type": "institution", "institution_id": name, "region": "130900", "kind": "hospital", "level": "2",
            "designated_from": "2020-01-01", "pooled_outpatient": True, "networked": True,
        }
        for name in INSTITUTIONS
    ]  # fmt: skip
    members = [
        {
            "type": "member", "member_id": name, "region": "130900", "status": "active", "employment": "employee",
            "sector": "enterprise", "valid_from": "2020-01-01",
        }
        for name in MEMBERS
    ]  # fmt: skip
    return [*hospitals, *members]


def records(count: int, seed: int) -> Iterator[bytes]:
    """So many submissions."""
    random = Random(seed)
    for number in range(count):
        document = _good(random, number)
        kind = random.random()
        if kind < 0.25:
            yield _encoded(document)
        elif kind < 0.65:
            yield _encoded(_spoiled(random, document))
        elif kind < 0.72:
            yield _doubled(random, document)
        elif kind < 0.95:
            yield _torn(random, _encoded(document))
        else:
            yield _encoded(random.choice(VALUES)) if random.random() < 0.5 else _nested(random, document)


def identity(value: bytes) -> tuple[str, str] | None:
    """(institution, number) of a record that must be answered; None for one that must be a dead letter."""
    try:
        document = json.loads(value.decode("utf-8"), object_pairs_hook=_unique, parse_constant=_refuse)
    except (ValueError, RecursionError):
        return None
    if not isinstance(document, dict):
        return None
    number = document.get("use_no") if document.get("type") == "account_use" else document.get("claim_no")
    institution = document.get("institution_id")
    if not (isinstance(institution, str) and isinstance(number, str)):
        return None
    if any("\ud800" <= sign <= "\udfff" for sign in institution + number):
        return None  # half a character: no text that could be answered in UTF-8
    return institution, number


def _good(random: Random, number: int) -> Document:
    """A claim, a reversal or an account use that nothing is wrong with."""
    named = {"institution_id": random.choice(INSTITUTIONS)}
    member = {"member_id": random.choice(MEMBERS)}
    kind = random.random()
    if kind < 0.08:
        of = f"F{random.randrange(number + 1)}" if number else "F0"
        return {"type": "reversal", "claim_no": of, "reversed_at": "2023-05-03T10:00:00+08:00", "reason": "录入有误"} | named
    if kind < 0.15:
        at = {"used_at": f"2023-05-{random.randrange(1, 29):02}T11:00:00+08:00"}
        return {"type": "account_use", "use_no": f"U{number}", "purpose": "drugs", "amount": "1.00"} | named | member | at
    claim = {
        "type": "claim", "claim_no": f"F{number}", "benefit": "ordinary", "channel": "direct", "emergency": False,
        "use_account": random.random() < 0.5, "submitted_at": "2023-06-01T10:00:00+08:00",
        "visited_at": f"2023-05-{random.randrange(1, 29):02}T09:30:00+08:00",
    }  # fmt: skip
    fen = random.randrange(1, 500_00)
    total = f"{fen // 100}.{fen % 100:02}"
    if random.random() < 0.7:
        bill: Document = {"total": total, "own_paid": "0.00", "over_limit": "0.00", "pre_self_pay": "0.00", "in_scope": total}
    else:
        bill = {"total": total, "lines": [{"line_no": 1, "code": "X", "quantity": "1", "unit_price": total, "amount": total}]}
    return claim | named | member | bill


def _spoiled(random: Random, document: Document) -> Document:
    spoiled = dict(document)
    for _ in range(random.choice((1, 1, 1, 2, 4))):
        name = random.choice(
            [*spoiled, "quote", "excluded_as", "family_payer", "insured_region", "doctor_id", "\u0000", "", "a" * 300]
        )
        how = random.random()
        if how < 0.65:
            spoiled[name] = random.choice(VALUES)
        elif how < 0.8:
            spoiled.pop(name, None)
        elif isinstance(spoiled.get("lines"), list):
            line = dict(spoiled["lines"][0]) if spoiled["lines"] and isinstance(spoiled["lines"][0], dict) else {}
            line[random.choice(["line_no", "code", "quantity", "unit_price", "amount", "x"])] = random.choice(VALUES)
            spoiled["lines"] = [line] * random.choice((1, 2, 200))
        else:
            spoiled[str(random.choice(VALUES))] = spoiled.pop(name, None)
        if not spoiled:
            break
    return spoiled


def _doubled(random: Random, document: Document) -> bytes:
    """The same name twice."""
    name = random.choice(list(document))
    return _encoded(document)[:-1] + b", " + _encoded({name: random.choice((document[name], None, "1.00"))})[1:]


def _nested(random: Random, document: Document) -> bytes:
    depth = random.choice((50, 2_000, 100_000))
    opening, closing = random.choice(((b"[", b"]"), (b'{"a":', b"}")))
    return _encoded(document)[:-1] + b', "quote": ' + opening * depth + b"1" + closing * depth + b"}"


def _torn(random: Random, value: bytes) -> bytes:
    torn = bytearray(value)
    changes: Sequence[Callable[[int], None]] = (
        lambda at: torn.__setitem__(slice(at, at + 1), random.choice(_BYTES)),
        lambda at: torn.__setitem__(slice(at, at + 1), bytes([torn[at] ^ (1 << random.randrange(8))])),
        lambda at: torn.__delitem__(slice(at, at + random.choice((1, 2, 20, 10_000)))),
        lambda at: torn.__setitem__(slice(at, at), torn[at : at + random.choice((1, 5, 50))]),
    )
    for _ in range(random.choice((1, 1, 2, 8))):
        if torn:
            random.choice(changes)(random.randrange(len(torn)))
    return bytes(torn)


def _encoded(document: Any) -> bytes:
    return json.dumps(document).encode()


def _unique(pairs: Sequence[tuple[str, Any]]) -> Document:
    document = dict(pairs)
    if len(document) != len(pairs):
        raise ValueError("a name twice")
    return document


def _refuse(constant: str) -> Any:
    raise ValueError(constant)
