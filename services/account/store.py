"""The books of account in Postgres: one statement a table for a whole batch, in the loop's transaction."""

from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any, Protocol

from services.account.answer import Answer, Key, Settlement
from services.account.credits import Credited, CreditKey
from services.account.leaving import Left
from services.account.ledger import Journal
from services.account.sums import Change, Sums
from shared.errors import Stop
from shared.identity import part_of
from shared.register import AccountCredit
from shared.runtime.step import Filed, Tx


class Store(Protocol):
    """What account remembers. ``services.account.memory`` is the same without a server."""

    async def answers(self, tx: Tx, keys: Collection[Key]) -> dict[Key, Answer]:
        """The outcomes kept under these keys."""
        ...

    async def balances(self, tx: Tx, moving: Collection[str], shown: Collection[str]) -> dict[str, int]:
        """Balances (fen) by member; those of ``moving`` are locked, in order, until the transaction ends."""
        ...

    async def left(self, tx: Tx, members: Collection[str]) -> dict[str, Left]:
        """Which of these members' accounts are closed, or were; asked after they are locked."""
        ...

    async def journal_ids(self, tx: Tx, count: int) -> Iterator[int]:
        """So many new journal numbers; gaps are allowed."""
        ...

    async def credits(self, tx: Tx, keys: Collection[CreditKey]) -> dict[CreditKey, AccountCredit]:
        """The credits booked under these keys."""
        ...

    async def record(self, tx: Tx, filed: Sequence[Filed[Settlement]]) -> None:
        """Writes outcomes, journals, postings, and what moved on the accounts."""
        ...

    async def record_credits(self, tx: Tx, credited: Sequence[Credited]) -> None:
        """Writes credits, their journals and postings, and adds them to the accounts."""
        ...


_AMOUNTS = Sums.__struct_fields__
_OUTCOME = (
    *("institution_id", "claim_no", "kind", "revision", "member_id", "outcome", "target", "value"),
    *("family_payer", "insured_region", "care_region", "settled_at", "journal_id", "payee"),
    *_AMOUNTS,
)
_FILED = ("part", "source_topic", "source_partition", "seq", "key")

_ANSWERS = f"""
    select {", ".join(f"o.{column}" for column in _OUTCOME)}
    from unnest($1::text[], $2::text[], $3::text[], $4::int[]) as k (institution_id, claim_no, kind, revision)
    join account.outcome o using (institution_id, claim_no, kind, revision)
"""  # noqa: S608 - the columns are those of this module

# Sorted, as every lock is: two batches that open the same accounts wait for each other and never in a circle. ``offset 0`` here
# and below: each look-up goes by the key, or a plan made while the table was empty reads all of it for every member.
_OPEN_ACCOUNTS = """
    insert into account.balance (member_id, part)
    select m.member_id, m.part
    from unnest($1::text[], $2::int[]) as m (member_id, part)
    where not exists (select from account.balance b where b.member_id = m.member_id offset 0)
    order by m.member_id
    on conflict do nothing
"""
# With ``= any`` Postgres would read the whole table for a large batch.
_BALANCES = """
    with locked as (
        select b.member_id, b.balance from (select m from unnest($1::text[]) as m order by m) as asked
        cross join lateral (select member_id, balance from account.balance where member_id = m for update) as b
    )
    select member_id, balance from locked
    union all
    select b.member_id, b.balance from unnest($2::text[]) as m
    cross join lateral (select member_id, balance from account.balance where member_id = m offset 0) as b
"""
_LEFT = """
    select m, b.closed, k.number, k.article from unnest($1::text[]) as m
    cross join lateral (select number, article from account.closing where member_id = m order by number desc limit 1) as k
    cross join lateral (select closed from account.balance where member_id = m offset 0) as b
"""
_MOVE = """
    update account.balance b set balance = b.balance + m.amount, version = b.version + 1
    from unnest($1::text[], $2::bigint[]) as m (member_id, amount)
    where b.member_id = m.member_id
"""


class PostgresStore:
    """``Store`` over asyncpg. Never commits; the loop does."""

    async def answers(self, tx: Tx, keys: Collection[Key]) -> dict[Key, Answer]:
        """The outcomes kept under these keys."""
        if not keys:
            return {}
        rows = await tx.fetch(_ANSWERS, *(list(column) for column in zip(*keys, strict=True)))
        return {answer.key: answer for answer in map(_answer, rows)}

    async def balances(self, tx: Tx, moving: Collection[str], shown: Collection[str]) -> dict[str, int]:
        """Balances (fen) by member; those of ``moving`` are opened where missing and locked in order."""
        if moving:
            members = sorted(moving)
            await tx.execute(_OPEN_ACCOUNTS, members, [part_of(member_id) for member_id in members])
        others = [member_id for member_id in shown if member_id not in moving]
        return dict(await tx.fetch(_BALANCES, list(moving), others))

    async def left(self, tx: Tx, members: Collection[str]) -> dict[str, Left]:
        """Which of these members' accounts are closed, or were."""
        if not members:
            return {}
        rows = await tx.fetch(_LEFT, list(members))
        return {row[0]: Left(row[1], row[2], row[3]) for row in rows}

    async def journal_ids(self, tx: Tx, count: int) -> Iterator[int]:
        """So many new journal numbers from the sequence."""
        if not count:
            return iter(())
        rows = await tx.fetch("select nextval('account.journal_number') from generate_series(1, $1)", count)
        return (row[0] for row in rows)

    async def credits(self, tx: Tx, keys: Collection[CreditKey]) -> dict[CreditKey, AccountCredit]:
        """The credits booked under these keys."""
        rows = await tx.fetch(
            "select c.credit_no, c.member_id, c.amount, c.month, c.reason"
            " from unnest($1::text[], $2::text[]) as k (member_id, credit_no)"
            " join account.credit c using (member_id, credit_no)",
            [member_id for member_id, _ in keys],
            [credit_no for _, credit_no in keys],
        )
        return {(row[1], row[0]): AccountCredit(*row) for row in rows}

    async def record(self, tx: Tx, filed: Sequence[Filed[Settlement]]) -> None:
        """Writes outcomes, journals, postings, and what moved on the accounts."""
        await copy_rows(tx, "outcome", (*_OUTCOME, *_FILED), [_outcome_row(one) for one in filed])
        await write_journals(tx, [one.decision.journal for one in filed])
        await write_todo(tx, [row for one in filed for row in _todo_rows(one.decision)])
        moved: dict[str, int] = {}
        for one in filed:
            for member_id, amount in one.decision.moves:
                moved[member_id] = moved.get(member_id, 0) + amount
        await move(tx, moved)

    async def record_credits(self, tx: Tx, credited: Sequence[Credited]) -> None:
        """Writes credits, their journals and postings, and adds them to the accounts."""
        columns = ("member_id", "credit_no", "part", "amount", "month", "reason", "journal_id")
        rows = [
            (c.member_id, c.credit_no, part, c.amount, c.month, c.reason, j.journal_id if j else None) for c, part, j in credited
        ]
        await copy_rows(tx, "credit", columns, rows)
        await write_journals(tx, [journal for _, _, journal in credited])
        moved: dict[str, int] = {}
        for c, _, _ in credited:
            moved[c.member_id] = moved.get(c.member_id, 0) + c.amount
        await move(tx, moved)


def _answer(row: Sequence[Any]) -> Answer:
    key, (member_id, outcome, target, value, *rest) = tuple(row[:4]), row[4:14]
    kind: type[Sums] = Change if key[2] == "claim" and key[3] else Sums
    amounts = kind(**dict(zip(_AMOUNTS, row[14:], strict=True)))
    return Answer(key, member_id, outcome, target, value, amounts, *rest)


def _outcome_row(filed: Filed[Settlement]) -> tuple[object, ...]:
    answer, message = filed.decision.answer, filed.message
    return (
        *answer.key,
        answer.member_id,
        answer.outcome,
        answer.target,
        answer.value,
        answer.family_payer,
        answer.insured_region,
        answer.care_region,
        answer.settled_at,
        answer.journal_id,
        answer.payee,
        *(getattr(answer.sums, name) for name in _AMOUNTS),
        filed.decision.part,
        filed.topic,
        filed.partition,
        filed.seq,
        message.key if message else None,
    )


TodoRow = tuple[int, int, str, str, str, int, int, str | None, str | None]


def _todo_rows(settlement: Settlement) -> list[TodoRow]:
    journal = settlement.journal
    if journal is None or not settlement.todo:
        return []
    where = (journal.issuer, journal.number)
    return [
        (journal.journal_id, one.line, one.kind, one.region, one.member_id, part_of(one.member_id), one.amount, *where)
        for one in settlement.todo
    ]


async def write_todo(tx: Tx, rows: Sequence[TodoRow]) -> None:
    """Puts postings on the work list."""
    columns = ("journal_id", "line", "kind", "region", "member_id", "part", "amount", "institution_id", "claim_no")
    if rows:
        await copy_rows(tx, "worklist", columns, rows)


async def write_journals(tx: Tx, journals: Sequence[Journal | None]) -> None:
    """Writes journals and their postings."""
    booked = [journal for journal in journals if journal is not None]
    if not booked:
        return
    await copy_rows(
        tx,
        "journal",
        ("journal_id", "issuer", "number", "kind", "revision", "part", "corrects"),
        [(j.journal_id, j.issuer, j.number, j.kind, j.revision, j.part, j.corrects) for j in booked],
    )
    await copy_rows(
        tx,
        "posting",
        ("journal_id", "line", "debit", "credit", "amount", "part"),
        [(j.journal_id, line, *posting, j.part) for j in booked for line, posting in enumerate(j.postings, start=1)],
    )


async def move(tx: Tx, moved: Mapping[str, int]) -> None:
    """Changes balances (fen, by member) of accounts that are locked. Raises Stop for one that is not there."""
    if moved:
        done = await tx.execute(_MOVE, list(moved), list(moved.values()))
        if done != f"UPDATE {len(moved)}":
            raise Stop("an account that moved was neither opened nor locked")


async def copy_rows(tx: Tx, table: str, columns: Sequence[str], rows: Sequence[tuple[object, ...]]) -> None:
    """Copies rows into a table of this schema."""
    await tx.copy_records_to_table(table, schema_name="account", columns=columns, records=rows)
