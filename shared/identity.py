"""Who and which: parts, partitions, deterministic event ids, and the form in which identities may be logged."""

import hashlib
import hmac
import zlib
from collections.abc import Mapping
from json.encoder import encode_basestring_ascii as _quoted
from typing import Any

from shared.errors import Unreadable

PARTS = 1024


def part_of(key: str) -> int:
    """The part (0…1023) of a member (or, for what has no member, an institution): fixed for ever, stored with every row."""
    return zlib.crc32(key.encode()) & (PARTS - 1)


def partition_of(part: int, count: int) -> int:
    """The partition that carries a part when a topic has so many partitions: monotone, so the count can grow."""
    return part * count // PARTS


def number_of(document: Mapping[str, Any], kind: str) -> tuple[str, str]:
    """The institution and the number by which a submission is answered. Raises Unreadable where there is nobody to answer."""
    number = document.get("use_no") if kind == "account_use" else None
    number = number if isinstance(number, str) else document.get("claim_no")
    institution_id = document.get("institution_id")
    if not isinstance(institution_id, str) or not isinstance(number, str):
        raise Unreadable("institution_id and claim_no (of an account use: use_no) must be there, as strings")
    try:
        (institution_id + number).encode()
    except UnicodeEncodeError:
        raise Unreadable("institution_id or claim_no holds half a surrogate pair") from None
    return institution_id, number


def claim_key(institution_id: str, claim_no: str) -> str:
    """The natural key of a claim as one string, unambiguous whatever the two contain."""
    return f"{len(institution_id)}:{institution_id}:{claim_no}"


def event_id(kind: str, institution_id: str, claim_no: str, revision: int = 0, content: str = "") -> str:
    """The deterministic id (32 hex digits) of an outcome: the same submission always has the same.

    ``content`` is the digest of the content, given only where one number can have several outcomes
    (a conflict, a record that does not bind its number).
    """
    material = (
        f'["{kind}", {_quoted(institution_id)}, {_quoted(claim_no)}, {revision}, {_quoted(content)}]'  # as json.dumps would
    )
    return hashlib.blake2b(material.encode(), digest_size=16).hexdigest()


def mask(identity: str, secret: bytes) -> str:
    """An identity as it may stand in logs and metrics: a keyed hash (12 hex digits), equal for equal identities."""
    return hmac.new(secret, identity.encode("utf-8", "backslashreplace"), hashlib.sha256).hexdigest()[:12]
