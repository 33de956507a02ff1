"""API keys of institutions: shown once, kept as a hash. A key is ``gongji_<key id>_<secret>``.

The secret has 256 bits of chance, so a plain hash is enough: there is no dictionary to try.
"""

import asyncio
import hashlib
import hmac
import re
import secrets
import time
from collections import OrderedDict
from collections.abc import Collection
from typing import Any, Final, NamedTuple

from services.intake.together import Together
from shared.runtime.command import log_command

_PREFIX: Final = "gongji"
_REMEMBERED_SECONDS: Final = 5.0  # so long a revoked key may still work
_MOST_REMEMBERED: Final = 10_000
_REFUSAL_SECONDS: Final = 0.02  # from a question that refused a key to the next; so long a good one may wait for its own
_KEY_ID: Final = re.compile(r"[0-9a-f]{12}", re.ASCII)

_Key = tuple[str, bytes]  # its id, and the digest of its secret


class NewKey(NamedTuple):
    """A key at its birth: the only moment at which ``text`` is known."""

    key_id: str
    text: str
    digest: bytes


class Owner(NamedTuple):
    """Whose key a request carries."""

    institution_id: str
    key_id: str


def new_key() -> NewKey:
    """Makes a key."""
    key_id, secret = secrets.token_hex(6), secrets.token_urlsafe(32)
    return NewKey(key_id, f"{_PREFIX}_{key_id}_{secret}", _digest(secret))


def _digest(secret: str) -> bytes:
    return hashlib.sha256(secret.encode("utf-8", "replace")).digest()


def parsed(text: str) -> _Key | None:
    """(key id, digest of the secret); None for what is no key."""
    prefix, _, rest = text.partition("_")
    key_id, _, secret = rest.partition("_")
    if prefix != _PREFIX or not _KEY_ID.fullmatch(key_id) or not secret or len(secret) > 64:
        return None
    return key_id, _digest(secret)


class Keys:
    """Says whose a key is. Whose it is, is remembered for some seconds.

    A refusal is not, and costs Postgres next to nothing: keys that are not known go together, one question at a time with a
    pause after each that refuses one. So many a second are asked at most, whatever strangers make up.
    """

    def __init__(self, pool: Any) -> None:
        self._pool = pool
        self._owners = Together(self._find)
        self._remembered: OrderedDict[_Key, tuple[float, Owner]] = OrderedDict()

    async def owner(self, text: str) -> Owner | None:
        """The owner of a key; None for one that is unknown, wrong or revoked. Raises one of database.TROUBLE."""
        key = parsed(text)
        if key is None:
            return None
        now = time.monotonic()
        until, owner = self._remembered.get(key, (0.0, None))
        if owner is not None and until > now:
            return owner
        owner = (await self._owners([key])).get(key)
        if owner is not None:
            self._remembered[key] = (now + _REMEMBERED_SECONDS, owner)
            self._remembered.move_to_end(key)
            if len(self._remembered) > _MOST_REMEMBERED:
                self._remembered.popitem(last=False)
        return owner

    async def _find(self, keys: Collection[_Key]) -> dict[_Key, Owner]:
        rows = await self._pool.fetch(_FIND, [key_id for key_id, _ in keys])
        kept = {row["key_id"]: row for row in rows}
        found = {
            key: Owner(kept[key[0]]["institution_id"], key[0])
            for key in keys
            if key[0] in kept and hmac.compare_digest(kept[key[0]]["digest"], key[1])
        }
        if len(found) < len(keys):
            await asyncio.sleep(_REFUSAL_SECONDS)
        return found


async def keep(connection: Any, institution_id: str, key: NewKey, why: str) -> bool:
    """Stores a new key, and who made it, and why. Returns whether the register knows the institution."""
    async with connection.transaction():
        await connection.execute(
            "insert into intake.api_key (key_id, institution_id, digest) values ($1, $2, $3)",
            *(key.key_id, institution_id, key.digest),
        )
        known = bool(await connection.fetchval(_KNOWN, institution_id))
        after = {"institution_id": institution_id, "key_id": key.key_id, "state": "in force", "registered": known}
        await log_command(connection, "institution key create", why, {}, after)
    return known


async def revoke(connection: Any, key_id: str, why: str) -> bool:
    """Ends a key for good. False if there is none, or it was ended before."""
    async with connection.transaction():
        institution_id = await connection.fetchval(
            "update intake.api_key set revoked_at = now() where key_id = $1 and revoked_at is null returning institution_id",
            key_id,
        )
        if institution_id is None:
            return False
        before = {"institution_id": institution_id, "key_id": key_id, "state": "in force"}
        await log_command(connection, "institution key revoke", why, before, before | {"state": "revoked"})
        return True


_KNOWN = "select exists (select from eligibility.institution where institution_id = $1)"
_FIND = "select key_id, institution_id, digest from intake.api_key where key_id = any($1::text[]) and revoked_at is null"
