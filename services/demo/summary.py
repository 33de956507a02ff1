"""What came of a day, read from the books under the read-only role. Money is fen until it is shown.

A day's rows are those numbered above the leases' ``out_seq`` from before it, so that earlier days in the same books
are left out. Every figure comes from rows, none from what the sender believes.
"""

from collections.abc import Sequence
from typing import Any, Final

import asyncpg
import msgspec

from services.demo.watch import Standing
from shared.events import ACCEPTED, ADJUDICATED, REJECTED, SETTLED, SUBMITTED

_FUNDS: Final = ("total", "pooled", "large_expense", "civil_servant", "veterans", "account", "family_account", "cash")


class Reasoned(msgspec.Struct, frozen=True):
    """So many outcomes of this word give this reason; no code: they need none."""

    outcome: str
    code: str | None
    count: int


class Paid(msgspec.Struct, frozen=True):
    """What a city's claims came to, reversals taken off (fen)."""

    region: str
    total: int
    pooled: int
    large_expense: int
    civil_servant: int
    veterans: int
    account: int
    family_account: int
    cash: int


class Owed(msgspec.Struct, frozen=True):
    """What one region owes another (fen), and the number of obligations it is made of."""

    debtor: str
    creditor: str
    amount: int
    claims: int


class Dead(msgspec.Struct, frozen=True):
    """Records set aside by a service for a reason."""

    service: str
    reason: str
    count: int


class Records(msgspec.Struct, frozen=True, kw_only=True):
    """What became of the records on ``claims.submitted``."""

    taken: int  # by intake
    accepted: int  # to be answered by account
    rejected: int  # by intake itself: distinct outcomes
    answered: int  # of the accepted: distinct outcomes
    repeats: int  # of earlier ones: answered with the first outcome
    dead: int  # no identity to answer

    @property
    def outcomes(self) -> int:
        """Distinct outcomes."""
        return self.answered + self.rejected

    @property
    def add_up(self) -> bool:
        """Whether each record is an outcome, a repeat or a dead letter, and each accepted one is answered."""
        return self.taken == self.accepted + self.rejected + self.repeats + self.dead and self.accepted == self.answered


class Summary(msgspec.Struct, frozen=True, kw_only=True):
    """A day as the books have it. ``latency_ms``: p50, p95, p99 from accepted to settled."""

    records: Records
    reasons: tuple[Reasoned, ...]
    paid: tuple[Paid, ...]
    owed: tuple[Owed, ...]
    dead: tuple[Dead, ...]
    latency_ms: tuple[float, float, float]

    def count(self, outcome: str) -> int:
        """Distinct outcomes of a word; one with two reasons counts in each of its rows, so the rows are not added up."""
        return next((row.count for row in self.reasons if (row.outcome, row.code) == (outcome, "*")), 0)


# Rows of this run in a table with the outbox's columns, by the numbers of the leases from before it.
_SINCE = """
join unnest($1::text[], $2::int[], $3::bigint[]) as since(topic, partition, seq)
    on since.topic = row.source_topic and since.partition = row.source_partition and row.seq > since.seq
"""

# Rejections of intake: the first announcement of each is an outcome, further ones are answers to repeats.
_REJECTED = f"""
    select distinct on (event_id) event_id, value from intake.outgoing row {_SINCE}
    where target = '{REJECTED}' and not exists (
        select from intake.outgoing earlier join unnest($1::text[], $2::int[], $3::bigint[]) as since(topic, partition, seq)
            on since.topic = earlier.source_topic and since.partition = earlier.source_partition and earlier.seq <= since.seq
        where earlier.event_id = row.event_id and earlier.target = '{REJECTED}')
    order by event_id
"""  # noqa: S608 - put together from constants

_INTAKE = f"""
with first as ({_REJECTED})
select count(*) filter (where target = '{ACCEPTED}' and convert_from(value, 'UTF8')::json ->> 'kind' <> 'question') as accepted,
       (select count(*) from first) as rejected, count(*) as announced
from intake.outgoing row {_SINCE}
"""  # noqa: S608

_ANSWERED = f"select count(*) from account.outcome row {_SINCE} where kind <> 'answer'"  # noqa: S608

# $4.. are the numbers of account's leases.
_REASONS = f"""
with rejected as ({_REJECTED}), given as (
    select 'rejected' as outcome, value from rejected
    union all
    select outcome, value from account.outcome row
    join unnest($4::text[], $5::int[], $6::bigint[]) as theirs(topic, partition, seq)
        on theirs.topic = row.source_topic and theirs.partition = row.source_partition and row.seq > theirs.seq
    where kind <> 'answer'
), reasoned as (
    select outcome, case when json_array_length(why) = 0 then '[null]' else why end as why
    from (select outcome, convert_from(value, 'UTF8')::json -> 'reasons' as why from given) as texts
)
select outcome, reason ->> 'code' as code, count(*) from reasoned, json_array_elements(why) as reason group by 1, 2
union all
select outcome, '*', count(*) from reasoned group by 1
order by 1, 3 desc, 2
"""  # noqa: S608

_PAID = f"""
select insured_region, {", ".join(f"sum({fund})::bigint" for fund in _FUNDS)} from account.outcome row {_SINCE}
where kind <> 'answer' group by 1 having bool_or(total <> 0) order by 1
"""  # noqa: S608

# Bills and purchases; a reversal names no instant of its own in intake's books.
_LATENCY = f"""
select percentile_cont(array[0.5, 0.95, 0.99]) within group (order by 1000 * extract(epoch from settled_at - accepted_at))
from account.outcome row {_SINCE}
join intake.submission using (institution_id, claim_no) where row.kind in ('claim', 'account_use')
"""  # noqa: S608

_OWED = f"""
select debtor, creditor, sum(amount)::bigint, count(*) from crossregion.obligation row {_SINCE} group by 1, 2 order by 1, 2
"""  # noqa: S608

_DEAD = """
select service, reason, count(*) from runtime.quarantine row
left join unnest($1::text[], $2::text[], $3::int[], $4::bigint[]) as since(service, topic, partition, seq)
    using (service, topic, partition)
where row.seq > coalesce(since.seq, 0) group by 1, 2 order by 1, 2
"""

Since = tuple[list[str], list[int], list[int]]


async def read(connection: asyncpg.Connection, before: Standing, after: Standing) -> Summary:
    """The day between two standings of the leases."""
    intake, account = _since(before, after, "intake", SUBMITTED), _since(before, after, "account", ADJUDICATED)
    crossregion = _since(before, after, "crossregion", SETTLED)
    row = await connection.fetchrow(_INTAKE, *intake)
    assert row is not None
    dead = await connection.fetch(_DEAD, *_columns([(*place, mark.out_seq) for place, mark in before.items()], 4))
    latency = await connection.fetchval(_LATENCY, *account)
    reasons = await connection.fetch(_REASONS, *intake, *account)
    return Summary(
        records=Records(
            taken=after.count("intake", "records") - before.count("intake", "records"),
            accepted=row["accepted"],
            rejected=row["rejected"],
            answered=await connection.fetchval(_ANSWERED, *account),
            repeats=row["announced"] - row["accepted"] - row["rejected"],
            dead=after.count("intake", "quarantined") - before.count("intake", "quarantined"),
        ),
        reasons=tuple(Reasoned(*one) for one in reasons),
        paid=tuple(Paid(*one) for one in await connection.fetch(_PAID, *account)),
        owed=tuple(Owed(*one) for one in await connection.fetch(_OWED, *crossregion)),
        dead=tuple(Dead(*one) for one in dead),
        latency_ms=tuple(round(float(at), 1) for at in latency or (0, 0, 0)),  # type: ignore[arg-type]
    )


def _since(before: Standing, after: Standing, service: str, topic: str) -> Since:
    """Where each of a service's partitions stood: 0 for one that nobody had worked on."""
    places = [(place, before.get(place)) for place in after if place[:2] == (service, topic)]
    topics, partitions, numbers = _columns([(*place[1:], mark.out_seq if mark else 0) for place, mark in places], 3)
    return topics, partitions, numbers


def _columns(rows: Sequence[tuple[Any, ...]], count: int) -> list[list[Any]]:
    return [[row[i] for row in rows] for i in range(count)]
