"""``gongji dead list | show | redrive | discard``: what could not be read or decided, and what an operator does about it.

A redrive puts the original bytes back on their original topic and partition, with a header that names the row; the loop closes
the row when it has the record again. So a redrive may be repeated, or break off, and nothing is done twice. Who did it and why
is written down before anything is sent.
"""

import asyncio
import base64
import json
from collections.abc import Sequence
from datetime import datetime
from typing import Annotated, Any, NamedTuple

import asyncpg
import typer
from aiokafka import AIOKafkaProducer
from aiokafka.errors import KafkaError
from rich.console import Console

from shared.calendar import read_since, stamp
from shared.errors import Retry, ServerMissing, UsageError
from shared.events import SERVICES
from shared.runtime import access
from shared.runtime.command import log_command, stated
from shared.runtime.database import Database, reach, reader
from shared.runtime.quarantine import REDRIVE_HEADER, unpack_headers
from shared.runtime.settings import Settings

app = typer.Typer(name="dead", help="Dead letters: look at them, try them again, put them away.", no_args_is_help=True)

REDRIVE, DISCARD = "dead redrive", "dead discard"
_SECONDS = 30.0
_CODES = ("unreadable", "failed", "constraint", "behind")
_MAX_REQUEST = 8 * 1024 * 1024
_LAST = 2**63 - 1  # the greatest number a row can have

Json = Annotated[bool, typer.Option("--json", help="One JSON object a line.")]
Number = Annotated[int, typer.Argument(min=1, max=_LAST, help="Number of `gongji dead list`.")]
Ids = Annotated[list[int] | None, typer.Argument(min=1, max=_LAST, help="Numbers of `gongji dead list`.")]
Service = Annotated[str | None, typer.Option(help="Only of this service.")]
Code = Annotated[str | None, typer.Option("--reason-code", help="Only unreadable, failed, constraint or behind.")]
Since = Annotated[str | None, typer.Option(help="Only what failed since then: 2024-05-01, or with a time.")]
Every = Annotated[bool, typer.Option("--all", help="Whatever is held.")]
Why = Annotated[str, typer.Option("--reason", help="Why; kept with who and when.")]


class Chosen(NamedTuple):
    """Which rows are meant; None where it does not matter."""

    ids: list[int] | None = None
    service: str | None = None
    code: str | None = None
    since: datetime | None = None
    states: tuple[str, ...] = ("held",)


class Done(NamedTuple):
    """The rows that a command was done to; and of the numbers given, those left, with their state (None: no such row)."""

    ids: list[int]
    left: dict[int, str | None]


_CHOSEN = """
    from runtime.quarantine where state = any($1::text[])
        and ($2::bigint[] is null or id = any($2::bigint[])) and ($3::text is null or service = $3)
        and ($4::text is null or reason = $4) and ($5::timestamptz is null or last_failed_at >= $5)
"""
_ROWS = f"""
    select id, service, topic, partition, record_offset, claim_key, reason, detail, key, value, headers, state, attempts,
        first_failed_at, last_failed_at, closed_at, closed_why {_CHOSEN}
    order by service, topic, partition, coalesce(rank, id), id
"""
_STATES = "select id, state from runtime.quarantine where id = any($1::bigint[])"
_DISCARD = """
    update runtime.quarantine set state = 'discarded', closed_at = now(), closed_why = $2
    where id = any($1::bigint[]) and state = 'held' returning id
"""


def _known(service: str | None, code: str | None) -> None:
    """Raises UsageError for a service or a reason that there is not: nothing found would look like nothing held."""
    for option, given, known in (("--service", service, SERVICES), ("--reason-code", code, _CODES)):
        if given is not None and given not in known:
            raise UsageError(f"{option}: {given!r} is none of {', '.join(known)}")


@app.command("list")
def list_letters(
    service: Service = None, code: Code = None, since: Since = None, *, every: Every = False, as_json: Json = False
) -> None:
    """List dead letters: those that are held, or with --all also those that were dealt with."""
    _known(service, code)
    states = ("held", "redriven", "discarded") if every else ("held",)
    rows = asyncio.run(_read(Chosen(None, service, code, _instant(since), states)))
    if as_json:
        for row in rows:
            typer.echo(json.dumps(_line(row), ensure_ascii=False))
        return
    for row in rows:
        place = f"{row['topic']}/{row['partition']}@{row['record_offset']}"
        tries = f"{row['attempts']} tries, the last {stamp(row['last_failed_at'])}"
        typer.echo(f"{row['id']}\t{row['state']}\t{row['service']}\t{place}\t{row['claim_key'] or '-'}\t{tries}")
        typer.echo(f"\t{row['reason']}: {row['detail'][:160]}")


@app.command()
def show(number: Number, *, as_json: Json = False) -> None:
    """Show one dead letter with its original bytes."""
    rows = asyncio.run(_read(Chosen([number], states=("held", "redriven", "discarded"))))
    if not rows:
        _say(f"there is no dead letter {number}")
        raise typer.Exit(1)
    shown = _line(rows[0]) | {"key": _bytes(rows[0]["key"]), "value": _bytes(rows[0]["value"])}
    shown["headers"] = [[name, _bytes(value)] for name, value in unpack_headers(rows[0]["headers"])]
    if as_json:
        typer.echo(json.dumps(shown, ensure_ascii=False))
        return
    for name, value in shown.items():
        typer.echo(f"{name}: {value}")


@app.command()
def redrive(
    why: Why,
    ids: Ids = None,
    service: Service = None,
    code: Code = None,
    since: Since = None,
    *,
    every: Every = False,
    as_json: Json = False,
) -> None:
    """Put dead letters back on their topics, to be tried again in their order."""
    _done("redriven", asyncio.run(_redrive(_meant(ids, service, code, since, every=every), stated(why))), as_json=as_json)


@app.command()
def discard(
    why: Why,
    ids: Ids = None,
    service: Service = None,
    code: Code = None,
    since: Since = None,
    *,
    every: Every = False,
    as_json: Json = False,
) -> None:
    """Put dead letters away for good: they get no outcome."""
    _done("discarded", asyncio.run(_discard(_meant(ids, service, code, since, every=every), stated(why))), as_json=as_json)


async def _read(chosen: Chosen) -> Sequence[asyncpg.Record]:
    async with reader(Settings.load().postgres) as connection:
        return await _rows(connection, chosen)


async def _rows(connection: asyncpg.Connection, chosen: Chosen) -> Sequence[asyncpg.Record]:
    rows: Sequence[asyncpg.Record] = await connection.fetch(
        _ROWS, list(chosen.states), chosen.ids, chosen.service, chosen.code, chosen.since
    )
    return rows


async def _redrive(chosen: Chosen, why: str) -> Done:
    settings = Settings.load()
    producer = await _producer(settings.kafka)  # before anything is written down: it may not be there
    try:
        rows, done = await _note(settings, chosen, why)
        await _send(producer, rows)
    finally:
        await producer.stop()
    return done


async def _note(settings: Settings, chosen: Chosen, why: str) -> tuple[Sequence[asyncpg.Record], Done]:
    """What is to be sent again, written down. Raises ServerMissing."""
    database = await _database(settings)
    try:
        async with database.transaction() as tx:
            rows = await _rows(tx, chosen)
            ids = [row["id"] for row in rows]
            if ids:
                await log_command(tx, REDRIVE, why, {"ids": ids, "state": "held"}, {"ids": ids, "state": "sent again"})
            return rows, Done(ids, await _left(tx, chosen, ids))
    except Retry as trouble:
        raise ServerMissing("postgres", str(trouble)) from trouble
    finally:
        await database.close()


async def _discard(chosen: Chosen, why: str) -> Done:
    database = await _database(Settings.load())
    try:
        async with database.transaction() as tx:
            wanted = [row["id"] for row in await _rows(tx, chosen)]
            ids = sorted(row["id"] for row in await tx.fetch(_DISCARD, wanted, why))
            if ids:
                await log_command(tx, DISCARD, why, {"ids": ids, "state": "held"}, {"ids": ids, "state": "discarded"})
            return Done(ids, await _left(tx, chosen, ids))
    except Retry as trouble:
        raise ServerMissing("postgres", str(trouble)) from trouble
    finally:
        await database.close()


async def _left(tx: asyncpg.Connection, chosen: Chosen, done: Sequence[int]) -> dict[int, str | None]:
    states = {row["id"]: row["state"] for row in await tx.fetch(_STATES, chosen.ids or [])}
    return {number: states.get(number) for number in chosen.ids or () if number not in done}


async def _database(settings: Settings) -> Database:
    await reach(settings.postgres)
    return Database(settings.postgres, role="gongji_service", name="gongji-dead")


async def _producer(bootstrap: str) -> AIOKafkaProducer:
    producer = AIOKafkaProducer(**access.kafka(bootstrap), acks="all", enable_idempotence=True, max_request_size=_MAX_REQUEST)
    try:
        await asyncio.wait_for(producer.start(), _SECONDS)
    except (KafkaError, OSError, TimeoutError) as trouble:
        await producer.stop()
        raise await access.kafka_missing(bootstrap, trouble) from trouble
    return producer


async def _send(producer: AIOKafkaProducer, rows: Sequence[asyncpg.Record]) -> None:
    """In the order of the rows; a first record of a claim before those that wait behind it. Raises ServerMissing."""
    try:
        async with asyncio.timeout(_SECONDS + len(rows) / 100):
            acknowledgements = [
                await producer.send(row["topic"], row["value"], key=row["key"], partition=row["partition"], headers=_headers(row))
                for row in rows
            ]
            await asyncio.gather(*acknowledgements)
    except (KafkaError, OSError, TimeoutError) as trouble:
        remedy = f"{type(trouble).__name__}: {trouble}; what was not sent is still held: redrive again"
        raise ServerMissing("kafka", remedy) from trouble


def _headers(row: asyncpg.Record) -> list[tuple[str, bytes]]:
    kept = [(name, value) for name, value in unpack_headers(row["headers"]) if name != REDRIVE_HEADER]
    return [*kept, (REDRIVE_HEADER, str(row["id"]).encode())]


def _meant(ids: list[int] | None, service: str | None, code: str | None, since: str | None, *, every: bool) -> Chosen:
    """Raises UsageError unless something says which."""
    if not (ids or service or code or since or every):
        raise UsageError("say which: numbers of `gongji dead list`, --service, --reason-code, --since, or --all")
    _known(service, code)
    return Chosen(ids or None, service, code, _instant(since))


def _instant(text: str | None) -> datetime | None:
    if text is None:
        return None
    try:
        return read_since(text)
    except ValueError:
        raise UsageError(f"--since: {text!r} is no date, and no date and time of ISO 8601, from year 1 to 9999") from None


def _line(row: asyncpg.Record) -> dict[str, Any]:
    plain = ("id", "service", "topic", "partition", "record_offset", "claim_key", "reason", "detail", "state", "attempts")
    line = {name if name != "record_offset" else "offset": row[name] for name in plain}
    for name in ("first_failed_at", "last_failed_at", "closed_at"):
        line[name] = stamp(row[name]) if row[name] else None
    return line | {"closed_why": row["closed_why"]}


def _bytes(value: bytes | None) -> str | dict[str, str] | None:
    """Bytes as text where they are text, in base64 where not."""
    if value is None:
        return None
    try:
        return value.decode()
    except UnicodeDecodeError:
        return {"base64": base64.b64encode(value).decode()}


def _done(what: str, done: Done, *, as_json: bool) -> None:
    if as_json:
        left = [{"id": number, "state": state} for number, state in done.left.items()]
        typer.echo(json.dumps({what: done.ids} | ({"not_" + what: left} if left else {})))
    if done.ids:
        _say(f"{what} {len(done.ids)} of the dead letters: {', '.join(map(str, done.ids))}")
    for number, state in done.left.items():
        _say(f"not {what}: {number}, {f'which is {state}' if state else 'which is not there'}")
    if not (done.ids or done.left):
        _say("nothing that is held was meant")
    if done.left or not done.ids:
        raise typer.Exit(1)


def _say(text: str) -> None:
    Console(stderr=True, highlight=False, markup=False, soft_wrap=True).print(text)
