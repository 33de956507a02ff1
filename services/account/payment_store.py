"""The SQL of paying institutions: what is open, what was paid, what is kept. Never commits.

What a claim cost is account's outcome; of which month and benefit it is, and where, adjudication's stored grounds say.
"""

import json
from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any, NamedTuple

import asyncpg

from services.account import payment
from services.account.ledger import Journal, Posting
from services.account.payment import Owed, Paid, Released
from services.account.store import PostgresStore, write_journals
from shared.identity import part_of

Tx = asyncpg.Connection


class Rule(NamedTuple):
    """Whose cost is paid how: ``benefits`` of a budget; None: every fund's cost, by item."""

    region: str
    benefits: Sequence[str] | None


# A reversal belongs to the month of what it takes back, and takes back what the institution had: the first outcome's. What
# revisions change is between the funds and the person, and so is a reimbursement by hand (``payee``). Money of personal
# accounts, of other regions' members, and what is outside the budget (other benefits, institutions that are not designated:
# there only emergencies are paid) is ``other``.
_COST = """
    select o.institution_id, o.claim_no, o.kind, o.revision, o.part, d.month, d.designated, o.insured_region,
        coalesce(nullif(o.care_region, ''), o.insured_region) as region,
        f.sign * (f.fund_total + f.account + f.family_account) as amount, o.payee,
        f.sign * case when $2::text[] is null then f.fund_total when d.benefit = any($2) then f.pooled else 0 end as fund,
        case when $2::text[] is null then o.fund_total when d.benefit = any($2) then o.pooled else 0 end as spent
    from account.outcome o
    cross join lateral (
        select case o.kind when 'reversal' then -1 else 1 end as sign, f.fund_total, f.pooled, f.account, f.family_account
        from account.outcome f where (f.institution_id, f.claim_no) = (o.institution_id, o.claim_no) and case o.kind
            when 'reversal' then f.kind in ('claim', 'account_use') and f.revision = 0
            else (f.kind, f.revision) = (o.kind, o.revision) end
    ) as f
    cross join lateral (
        select to_char(coalesce(c.visited_on, (e.event->'use'->>'used_on')::date), 'YYYY-MM') as month,
            coalesce(nullif(e.event->'verdict'->>'benefit', ''), e.event->'claim'->>'benefit', '') as benefit,
            coalesce((e.event->'verdict'->'institution'->>'designated')::boolean, false) as designated
        from adjudication.decision c cross join lateral (select convert_from(c.value, 'utf8')::jsonb as event) as e
        where c.institution_id = o.institution_id and c.claim_no = o.claim_no
            and c.kind in ('claim', 'account_use') and c.revision = 0
    ) as d
    where o.kind <> 'answer' and o.journal_id is not null and $1 in (o.insured_region, o.care_region)
"""
_OPEN = f"""
    select c.institution_id, c.claim_no, c.kind, c.revision, c.part, c.month, s.share, s.amount
    from (select *, case when insured_region = region and ($2::text[] is null or designated) then fund else 0 end as own
          from ({_COST}) as cost where region = $1 and payee = '') as c
    cross join lateral (values ('fund', c.own), ('other', c.amount - c.own)) as s (share, amount)
    where s.amount <> 0 and not exists (
        select from account.payment_item i where i.institution_id = c.institution_id and i.claim_no = c.claim_no
            and i.kind = c.kind and i.revision = c.revision and i.share = s.share)
"""  # noqa: S608 - put together from this module's own text

# Of the month itself, and what came late: for a month that was paid before, or one that had no cost while its year was open and
# cannot be paid now that it is released. Where an institution's reversals exceed its claims, all of them wait for a later month.
_DUE = f"""
    select o.*, sum(o.amount) over (partition by o.institution_id, o.share) as net from ({_OPEN}) as o
    where o.month = $3 or (o.month < $3 and (
        exists (select from account.payment_run r where r.region = $1 and r.month = o.month)
        or exists (select from account.retention_release r where r.region = $1 and r.year::text = left(o.month, 4))))
"""  # noqa: S608
_TAKE = f"""
    with due as materialized ({_DUE}), taken as (
        insert into account.payment_item (institution_id, claim_no, kind, revision, share, part, region, month, amount)
        select institution_id, claim_no, kind, revision, share, part, $1, $3, amount from due where net >= 0
    )
    select institution_id, coalesce(sum(amount) filter (where share = 'fund' and net >= 0), 0)::bigint,
        coalesce(sum(amount) filter (where share = 'other' and net >= 0), 0)::bigint,
        coalesce(sum(amount) filter (where net < 0), 0)::bigint
    from due group by institution_id
"""  # noqa: S608
# What waits of one institution ($4), of these shares ($5): taken by its repayment's journal ($6).
_TAKE_WAITING = f"""
    with due as materialized ({_DUE}), waiting as (
        select * from due where institution_id = $4 and share = any($5) and net < 0
    ), taken as (
        insert into account.payment_item (institution_id, claim_no, kind, revision, share, part, region, month, amount, repaid)
        select institution_id, claim_no, kind, revision, share, part, $1, $3, amount, $6::bigint from waiting
    )
    select coalesce(-sum(amount), 0)::bigint from waiting
"""  # noqa: S608


async def alone(tx: Tx, region: str) -> None:
    """One payment of a region at a time, until the transaction ends."""
    await tx.execute("select pg_advisory_xact_lock(hashtext('fund pay'), hashtext($1))", region)


async def today(tx: Tx) -> str:
    """The day in Asia/Shanghai, by the clock that stamps journals."""
    return str(await tx.fetchval("select ((now() at time zone 'utc') + interval '8 hours')::date::text"))


async def run_of(tx: Tx, region: str, month: str) -> dict[str, Any] | None:
    """The figures by which a month was paid; None when it was not."""
    grounds = await tx.fetchval("select grounds::text from account.payment_run where region = $1 and month = $2", region, month)
    return None if grounds is None else dict(json.loads(grounds))


async def paid(tx: Tx, region: str, month: str) -> list[Paid]:
    """What each institution got for a month."""
    rows = await tx.fetch(
        "select institution_id, incurred, due, paid, retained, other, carried from account.payment"
        ' where region = $1 and month = $2 order by institution_id collate "C"',
        region,
        month,
    )
    return [Paid(*row) for row in rows]


async def begin(tx: Tx, region: str, month: str, *, rule: str, grounds: Mapping[str, Any], by: tuple[str, str]) -> None:
    """Opens a month's payment. Raises asyncpg.UniqueViolationError where there is one."""
    await tx.execute(
        "insert into account.payment_run (region, month, rule, grounds, who, reason) values ($1, $2, $3, $4::jsonb, $5, $6)",
        *(region, month, rule, json.dumps(grounds), *by),
    )


async def take(tx: Tx, rule: Rule, month: str) -> list[Owed]:
    """What each institution is owed in a month's payment; each outcome in it is noted, and never taken again."""
    rows = await tx.fetch(_TAKE, rule.region, rule.benefits, month)
    return sorted(Owed(*row) for row in rows)


async def take_waiting(tx: Tx, rule: Rule, month: str, institution_id: str, shares: Sequence[str]) -> tuple[int, int]:
    """Notes what waits of an institution as repaid, by a journal to be booked. Returns its number, and the sum (fen, >= 0)."""
    [number] = await PostgresStore().journal_ids(tx, 1)
    amount = await tx.fetchval(_TAKE_WAITING, rule.region, rule.benefits, month, institution_id, list(shares), number)
    return number, int(amount)


async def elsewhere(tx: Tx, rule: Rule, year: int) -> int:
    """What was booked for the year's remote, emergency and rescue care of the region's own members."""
    booked = await tx.fetchval(
        f"select coalesce(sum(spent), 0)::bigint from ({_COST}) as cost"  # noqa: S608
        " where insured_region = $1 and (region <> $1 or not designated) and left(month, 4) = $3",
        rule.region,
        rule.benefits,
        str(year),
    )
    return max(0, int(booked))


async def book(tx: Tx, region: str, month: str, payments: Sequence[Paid]) -> None:
    """Writes a month: journals, postings, and a row an institution."""
    numbers = await PostgresStore().journal_ids(tx, len(payments))
    journals = []
    for one in payments:
        postings = payment.payment(region, one)
        number = f"{region}/{month}"
        journals.append(journal(next(numbers), one.institution_id, number, "payment", postings) if postings else None)
    await write_journals(tx, journals)
    rows = [(region, month, *one, made.journal_id if made else None) for one, made in zip(payments, journals, strict=True)]
    columns = ("region", "month", "institution_id", "incurred", "due", "paid", "retained", "other", "carried", "journal_id")
    await tx.copy_records_to_table("payment", schema_name="account", columns=columns, records=rows)


async def retained(tx: Tx, region: str, year: int) -> list[tuple[str, int]]:
    """What is kept of each institution's year and was not released."""
    rows = await tx.fetch(
        "select institution_id, sum(retained)::bigint from account.payment p where region = $1 and left(month, 4) = $2"
        " and not exists (select from account.retention_release r"
        " where r.region = p.region and r.year::text = $2 and r.institution_id = p.institution_id)"
        " group by institution_id having sum(retained) > 0 order by 1",
        region,
        str(year),
    )
    return [(row[0], row[1]) for row in rows]


async def released(tx: Tx, region: str, year: int) -> list[Released]:
    """What was released of a year."""
    rows = await tx.fetch(
        "select institution_id, retained, result, released, forfeited from account.retention_release"
        ' where region = $1 and year = $2 order by institution_id collate "C"',
        region,
        year,
    )
    return [Released(row[0], row[1], Decimal(row[2]), row[3], row[4]) for row in rows]


async def book_release(tx: Tx, region: str, year: int, made: Sequence[Released], *, by: tuple[str, str]) -> None:
    """Writes a release: journals, postings, and a row an institution."""
    numbers = await PostgresStore().journal_ids(tx, len(made))
    journals = [
        journal(next(numbers), one.institution_id, f"{region}/{year}", "release", payment.releasing(region, one)) for one in made
    ]
    await write_journals(tx, journals)
    rows = [(region, year, *one, journal.journal_id, *by) for one, journal in zip(made, journals, strict=True)]
    columns = ("region", "year", "institution_id", "retained", "result", "released", "forfeited", "journal_id", "who", "reason")
    await tx.copy_records_to_table("retention_release", schema_name="account", columns=columns, records=rows)


async def unpaid(tx: Tx, rule: Rule, year: int) -> dict[str, int]:
    """The months of a year that institutions are owed for and were not paid for, and what the region's funds owe of it."""
    rows = await tx.fetch(
        f"select o.month, coalesce(sum(o.amount) filter (where o.share = 'fund'), 0)::bigint from ({_OPEN}) as o"  # noqa: S608
        " where left(o.month, 4) = $3 and not exists (select from account.payment_run r"
        " where r.region = $1 and r.month = o.month) group by o.month order by o.month",
        rule.region,
        rule.benefits,
        str(year),
    )
    return {row[0]: row[1] for row in rows}


async def months(tx: Tx, region: str, year: int) -> dict[str, tuple[int | None, int, int, int, int]]:
    """Of each paid month of a year: the month's money (None by item), incurred, due, paid, retained."""
    rows = await tx.fetch(
        "select r.month, (r.grounds->>'month')::bigint, coalesce(sum(p.incurred), 0)::bigint, coalesce(sum(p.due), 0)::bigint,"
        " coalesce(sum(p.paid), 0)::bigint, coalesce(sum(p.retained), 0)::bigint"
        " from account.payment_run r left join account.payment p using (region, month)"
        " where region = $1 and left(month, 4) = $2 group by r.month, r.grounds",
        region,
        str(year),
    )
    return {row[0]: (row[1], row[2], row[3], row[4], row[5]) for row in rows}


def journal(journal_id: int, issuer: str, number: str, kind: str, postings: tuple[Posting, ...]) -> Journal:
    """The first journal of an issuer's number."""
    return Journal(
        journal_id=journal_id,
        issuer=issuer,
        number=number,
        kind=kind,
        revision=0,
        part=part_of(issuer),
        postings=postings,
    )
