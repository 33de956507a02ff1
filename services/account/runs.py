"""Runs of crediting: who is due what is read from the register, sent in pieces, and waited for until it is booked.

A run is written down before its first piece is sent. Killed half-way, it is commanded again: what is booked is left out, and
what was sent twice is booked once.
"""

import json
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple

from services.account import commands
from services.account.commands import COMMANDS, MONTHLY, PIECE, TRUE_UP, Entry, Piece, Rule
from services.account.entitlement import INTEREST, NO_FIGURE, NOT_IN_REGION, Due, Scale, rate_said
from services.account.plan import Planned, Rate, check, plan
from services.account.waiting import Bookings
from shared.errors import Stop
from shared.identity import part_of, partition_of
from shared.runtime.command import add_outcome, log_command, who
from shared.runtime.database import Database
from shared.runtime.points import reach
from shared.runtime.producer import Producer
from shared.runtime.relay import Outgoing
from shared.runtime.step import Message, Tx

_PIECES_A_SEND: Final = 8

Looked = Callable[[int], None]  # so many more members were looked at


class Asked(NamedTuple):
    """What an operator commands: a region's months (one, or for a true-up several), by which scales, and why."""

    kind: str
    region: str
    scales: tuple[Scale, ...]
    reason: str
    rates: tuple[Rate, ...] = ()  # of a true-up: the runs that credited interest


@dataclass
class Came:
    """What a run came to, as planned: members' months, fen, and why others have nothing."""

    run: int = 0
    entries: int = 0
    amount: int = 0
    taken_back: int = 0
    left_out: Counter[str] = field(default_factory=Counter)
    seconds: float = 0.0

    def note(self, planned: Planned) -> None:
        """Counts a member's month that is to be booked."""
        self.entries += 1
        self.amount += max(planned.difference, 0)
        self.taken_back += max(-planned.difference, 0)


async def due(reader: Any, asked: Asked, came: Came, looked: Looked) -> AsyncIterator[tuple[Scale, Planned]]:
    """What is still to be booked, month by month. Raises Stop, before anything, for a figure that is not supplied."""
    await _check(reader, asked)
    for scale in asked.scales:
        later = [rate for rate in asked.rates if rate.month > scale.month.text]
        async for planned in plan(reader, scale, later, only_new=asked.kind == MONTHLY):
            looked(1)
            if isinstance(planned.due, str) and planned.due != NOT_IN_REGION:
                came.left_out[planned.due] += 1
            # Not supplied (any more) is no reason to take back.
            if isinstance(planned.due, str) and planned.due.startswith(NO_FIGURE):
                continue
            interest = scale.interest_ppm if asked.kind == MONTHLY and isinstance(planned.due, Due) and not planned.title else 0
            if planned.difference or interest:
                yield scale, planned


async def _check(reader: Any, asked: Asked) -> None:
    for scale in asked.scales:
        await check(reader, scale, again=asked.kind != MONTHLY)


class Runs:
    """Runs over one deployment: ``reader`` is a snapshot of the books, ``writer`` writes runs down."""

    def __init__(self, reader: Any, writer: Database, producer: Producer, partitions: int) -> None:
        self._reader = reader
        self._writer = writer
        self._producer = producer
        self._partitions = partitions

    async def carry_out(self, asked: Asked, bookings: Bookings, looked: Looked) -> Came:
        """Books a run, and returns when all of it is booked. Raises Stop, ServerMissing, Retry."""
        began = time.monotonic()
        came = Came()
        await _check(self._reader, asked)
        came.run, number = await self._begin(asked)
        reach("after_commit")
        pieces: list[Piece] = []
        async for piece in self._pieces(asked, came, looked):
            pieces.append(piece)
            if len(pieces) >= _PIECES_A_SEND:
                await self._send(pieces)
                pieces.clear()
        await self._send(pieces)
        await bookings.done()
        came.seconds = time.monotonic() - began
        async with self._writer.transaction() as tx:
            await tx.execute("update account.credit_run set ended_at = now() where run_id = $1", came.run)
            await add_outcome(tx, number, {"entries": came.entries, "fen": came.amount, "fen_back": came.taken_back})
        return came

    async def _begin(self, asked: Asked) -> tuple[int, int]:
        """Writes the run and the command down. Returns their numbers. Raises Stop for a month run by other figures."""
        figures = {scale.month.text: scale.words() for scale in asked.scales}
        months = sorted(figures)
        async with self._writer.transaction() as tx:
            before: dict[str, Any] = {}
            run = None
            if asked.kind == MONTHLY:
                await tx.execute("select pg_advisory_xact_lock(hashtext('account.credit_run'))")
                run, before = await _monthly_run(tx, asked.region, months[0], figures)
            if run is None:
                run = await tx.fetchval(
                    "insert into account.credit_run (kind, region, first_month, last_month, figures, who, reason)"
                    " values ($1, $2, $3, $4, $5::jsonb, $6, $7) returning run_id",
                    asked.kind, asked.region, months[0], months[-1],
                    json.dumps(figures, ensure_ascii=False), who(), asked.reason,
                )  # fmt: skip
            after = {"run": run, "region": asked.region, "months": months, "figures": figures}
            command = "account credit" if asked.kind == MONTHLY else "account trueup"
            return int(run), await log_command(tx, command, asked.reason, before, after)

    async def _pieces(self, asked: Asked, came: Came, looked: Looked) -> AsyncIterator[Piece]:
        """The run, cut into pieces: each has members of one partition, and of one month."""
        waiting: dict[tuple[int, str], list[Planned]] = {}
        scales: dict[str, Scale] = {scale.month.text: scale for scale in asked.scales}
        async for scale, planned in due(self._reader, asked, came, looked):
            came.note(planned)
            place = (partition_of(part_of(planned.member_id), self._partitions), scale.month.text)
            group = waiting.setdefault(place, [])
            group.append(planned)
            if len(group) >= PIECE:
                yield _piece(asked, came.run, scale, group)
                group.clear()
        for (_, month), group in sorted(waiting.items()):
            if group:
                yield _piece(asked, came.run, scales[month], group)

    async def _send(self, pieces: Sequence[Piece]) -> None:
        await self._producer.send(
            [
                Outgoing(Message(COMMANDS, part_of(first), first.encode(), commands.encode(piece)))
                for piece in pieces
                for first in (piece.entries[0].member_id,)
            ]
        )
        reach("after_announce")


async def rates_credited(reader: Any, region: str) -> tuple[Rate, ...]:
    """The monthly runs that credited interest, as each is remembered."""
    rows = await reader.fetch(
        "select first_month, run_id, figures->first_month->>$3 from account.credit_run"
        " where kind = $1 and region = $2 order by first_month",
        MONTHLY, region, INTEREST,
    )  # fmt: skip
    rates = (Rate(month, run, rate_said(words)) for month, run, words in rows)
    return tuple(rate for rate in rates if rate.ppm)


async def months_credited(reader: Any, region: str, first: str, last: str) -> list[str]:
    """The months that were credited, in order."""
    rows = await reader.fetch(
        "select first_month from account.credit_run where kind = $1 and region = $2 and first_month between $3 and $4 order by 1",
        MONTHLY, region, first, last,
    )  # fmt: skip
    return [row[0] for row in rows]


async def _monthly_run(
    tx: Tx, region: str, month: str, figures: Mapping[str, Mapping[str, str]]
) -> tuple[int | None, dict[str, Any]]:
    """The run of a month that was commanded before. Raises Stop if it was by other figures."""
    row = await tx.fetchrow(
        "select run_id, figures from account.credit_run where kind = $1 and region = $2 and first_month = $3",
        MONTHLY, region, month,
    )  # fmt: skip
    if row is None:
        return None, {}
    then, now = json.loads(row["figures"])[month], figures[month]
    others = [f"{kind}: {then[kind]} then, {now.get(kind, 'nothing')} now" for kind in then if now.get(kind) != then[kind]]
    if others:
        remedy = "`gongji account trueup` books the differences"
        if now.get(INTEREST) != then.get(INTEREST):
            remedy += " of credits; a month's interest is reckoned once, with its credit"
        raise Stop(
            f"{region} {month} was credited by other figures ({'; '.join(sorted(set(others))[:3])}); nothing is booked. {remedy}"
        )
    merged = json.dumps({month: then | now}, ensure_ascii=False)
    await tx.execute("update account.credit_run set figures = $2::jsonb where run_id = $1", row["run_id"], merged)
    return row["run_id"], {"run": row["run_id"]}


def _piece(asked: Asked, run: int, scale: Scale, group: Sequence[Planned]) -> Piece:
    rules: dict[Rule, int] = {}
    entries = []
    for planned in group:
        due_now = planned.due
        none_by = Rule(scale.supplement_article, "civil_servant") if planned.title else Rule(scale.article, "contributions")
        rule = Rule(due_now.article, due_now.source) if isinstance(due_now, Due) else none_by
        basis = due_now.basis if isinstance(due_now, Due) else None
        number = rules.setdefault(rule, len(rules))
        entries.append(
            Entry(
                planned.member_id, scale.month.text, planned.amount, basis, number, planned.back, planned.since_ppm, planned.title
            )
        )
    interest = scale.interest_ppm if asked.kind == MONTHLY else 0
    kind: Any = MONTHLY if asked.kind == MONTHLY else TRUE_UP
    return Piece(run=run, kind=kind, region=asked.region, rules=tuple(rules), entries=tuple(entries), interest_ppm=interest)
