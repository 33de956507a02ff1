"""What ``gongji claim explain`` reads: the outcomes of a number, and the grounds each rests on."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import asyncpg
import msgspec

from services.adjudication.store import PostgresStore
from services.explain import Grounds, standing
from services.intake.number import Number
from shared import events
from shared import outcome as outcomes
from shared.errors import Stop
from shared.outcome import Outcome
from shared.policy import Version
from shared.strict_json import UNREADABLE

ClaimKey = tuple[str, str]  # institution, number


class Found(NamedTuple):
    """An outcome with its grounds; None where intake turned the record away: then ``standing`` is its number, if it has one."""

    outcome: Outcome
    grounds: Grounds | None
    standing: Number | None = None


async def institutions(connection: asyncpg.Connection, number: str) -> list[str]:
    """Whose number it is: the institutions that sent it, also where every record was turned away."""
    rows = await connection.fetch(
        "select institution_id from intake.submission where claim_no = $1 order by institution_id", number
    )
    refused = [one.institution_id for one in await _refusals(connection, number)]
    return sorted({row[0] for row in rows} | set(refused))


async def found(connection: asyncpg.Connection, key: ClaimKey) -> list[Found]:
    """Every outcome of a number: what was decided, in its order, then what intake turned away.

    Raises Stop for books that are not what they were: an outcome that cannot be read, a pack that is not there.
    """
    decided = await connection.fetch(_DECISIONS, *key)
    results: list[Found] = []
    stood: list[Outcome] = []  # of the claim or account use: the first outcome, and its revisions so far
    last: events.Event | None = None
    for row in decided:
        event, outcome = _read(row)
        version = await _version(connection, event, outcome)
        first = None if last is None else (last, standing(stood))
        results.append(Found(outcome, Grounds(event, version, first)))
        if event.kind in ("claim", "account_use"):
            stood.append(outcome)
            last = event
    refused = [one for one in await _refusals(connection, key[1]) if one.institution_id == key[0]]
    number = await _number(connection, key) if refused else None
    return results + [Found(one, None, number) for one in refused]


async def _number(connection: asyncpg.Connection, key: ClaimKey) -> Number | None:
    row = await connection.fetchrow(_NUMBER, *key)
    return None if row is None else Number(**dict(row))


async def undecided(connection: asyncpg.Connection, key: ClaimKey) -> bool:
    """Whether a record of the number is accepted and still on its way."""
    row = await connection.fetchval(_ON_ITS_WAY, *key)
    return bool(row)


def _read(row: Any) -> tuple[events.Event, Outcome]:
    try:
        return events.decode(row["grounds"]), outcomes.decode(row["answer"])
    except UNREADABLE as error:
        raise Stop(f"what is stored of {row['kind']} {row['claim_no']} cannot be read: {error}") from error


async def _version(connection: asyncpg.Connection, event: events.Event, outcome: Outcome) -> Version | None:
    """The pack that decided, by the hash the decision names."""
    verdict = event.verdict
    ref = outcome.policy or (None if verdict is None else verdict.policy)
    if ref is None:
        return None
    version = await PostgresStore().pack(connection, ref.hash)
    if version is None:
        raise Stop(f"the pack {ref.hash} of {ref.region}, by which this was decided, is not stored")
    return version


async def _refusals(connection: asyncpg.Connection, number: str) -> Sequence[Outcome]:
    """What intake turned away under a number. Rejections are kept by their id alone, so all are looked through."""
    wanted = b'_no":' + msgspec.json.encode(number) + b","
    rows = await connection.fetch(
        "select value from intake.rejection where position($1::bytea in value) > 0 order by event_id", wanted
    )
    read = [outcomes.decode(row[0]) for row in rows]
    return [one for one in read if number in (one.claim_no, one.use_no)]


_DECISIONS = """
select d.kind, d.claim_no, d.value as grounds, o.value as answer
  from adjudication.decision d
  join account.outcome o using (institution_id, claim_no, kind, revision)
 where d.institution_id = $1 and d.claim_no = $2
 order by d.ordinal
"""
_NUMBER = """
select institution_id, claim_no, part, coalesce(kind, '') as kind, coalesce(encode(digest, 'hex'), '') as digest,
       coalesce(member_id, '') as member_id, reversed, closed
  from intake.submission where institution_id = $1 and claim_no = $2
"""
_ON_ITS_WAY = """
select exists (select from intake.submission s where s.institution_id = $1 and s.claim_no = $2 and s.kind is not null
                  and not s.closed
                  and not exists (select from account.outcome o
                                   where (o.institution_id, o.claim_no, o.kind) = (s.institution_id, s.claim_no, s.kind)))
"""
