"""The *diary*: a small step of the tests' own, with a table of its own. It notes every claim once.

What a record wants done stands in it: ``do`` is settle, reject, quiet (nothing to announce), fail (``decide`` raises),
forbid (a constraint of its table refuses it), crash_load (``load`` raises), big (a long announcement).
"""

import json
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple

import asyncpg

from shared.errors import Unreadable
from shared.events import REJECTED
from shared.identity import part_of
from shared.runtime.step import Filed, Message, Record

SERVICE = "diary"
SQL = """
create schema diary;
create table diary.entry (
    claim text not null, note text not null, part int not null,
    source_topic text not null, source_partition int not null, source_offset bigint not null,
    seq bigint, target text, key bytea, value bytea,
    constraint entry_pk primary key (claim),
    constraint entry_allowed check (note <> 'forbid'),
    constraint entry_seq unique (source_topic, source_partition, seq)
);
grant usage on schema diary to gongji_service;
grant select, insert on diary.entry to gongji_service;
"""


class Note(NamedTuple):
    """One thing to do for one claim."""

    claim: str
    do: str
    size: int = 0


def line(claim: str, do: str = "settle", size: int = 0) -> bytes:
    """A record for the diary."""
    return json.dumps({"claim": claim, "do": do, "size": size}).encode()


def claims(count: int, name: str = "C") -> list[str]:
    """So many names of claims."""
    return [f"{name}{number}" for number in range(count)]


@dataclass
class Diary:
    """Satisfies ``Step``. ``during`` runs inside the transaction, after the rows were written."""

    topics: tuple[str, ...]
    target: str
    during: Callable[[asyncpg.Connection, Sequence[Filed[Note]]], Awaitable[None]] | None = None
    outbox: str | None = "diary.entry"
    service: ClassVar[str] = SERVICE

    def decode(self, record: Record) -> Note:
        try:
            return Note(**json.loads(record.value))
        except (ValueError, TypeError) as wrong:
            raise Unreadable(str(wrong)) from wrong

    def key(self, event: Note) -> str | None:
        return event.claim

    async def load(self, tx: Any, events: Sequence[Note]) -> set[str]:
        if any(event.do == "crash_load" for event in events):
            raise ValueError("load stumbles over a record")
        rows = await tx.fetch("select claim from diary.entry where claim = any($1::text[])", [event.claim for event in events])
        return {row["claim"] for row in rows}

    def decide(self, event: Note, facts: set[str]) -> Note | None:
        if event.do == "fail":
            raise ValueError(f"decide stumbles over {event.claim}")
        if event.claim in facts:
            return None
        facts.add(event.claim)
        return event

    def announce(self, decision: Note) -> Message | None:
        if decision.do == "quiet":
            return None
        target = REJECTED if decision.do == "reject" else self.target
        value = decision.claim.encode() + b"." * decision.size
        return Message(target, part_of(decision.claim), decision.claim.encode(), value)

    async def record(self, tx: Any, filed: Sequence[Filed[Note]]) -> None:
        if self.outbox is not None:
            await tx.executemany(
                "insert into diary.entry values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)",
                [
                    (
                        one.decision.claim, one.decision.do, part_of(one.decision.claim),
                        one.topic, one.partition, one.offset, one.seq,
                        *((one.message.topic, one.message.key, one.message.value) if one.message else (None, None, None)),
                    )
                    for one in filed
                ],
            )  # fmt: skip
        if self.during is not None:
            await self.during(tx, filed)
