"""The statements of the loop's own modules (lease, quarantine, relay) over the books in memory: one function each.

They are known by their text, so a statement that changes must be looked at here too; tests/contract/test_runtime_books.py
runs the modules over this and over Postgres.
"""

from collections.abc import Awaitable, Callable, Sequence
from itertools import accumulate
from typing import Any

from services.adjudication import projection
from shared.runtime import lease, quarantine, relay
from shared.runtime.step import Filed
from simulation.books import Books
from simulation.session import Connection

LEASE, QUARANTINE = "runtime.lease", "runtime.quarantine"
COUNTER, BALANCE = "adjudication.counter", "account.balance"
OUTBOXES = ("intake.outgoing", "adjudication.decision", "account.outcome", "crossregion.obligation", "diary.entry")

Row = dict[str, Any]
_SEQUENCES = ("out_seq", "relayed_seq", "projected_seq")
_COUNTS = ("decided", "repeated", "rejected", "quarantined")
_COLUMNS = ("next_offset", "last_digest", *_SEQUENCES, *_COUNTS)
_POISON = ("topic", "partition", "record_offset", "seq", "part", "claim_key", "reason", "detail", "key", "value", "headers")


def lease_holds(_key: Any, row: Row) -> bool:
    """The constraints of ``runtime.lease``."""
    in_order = 0 <= row["relayed_seq"] <= row["out_seq"] and 0 <= row["projected_seq"] <= row["out_seq"]
    return bool(in_order and row["records"] == sum(row[name] for name in _COUNTS))


def constrain(books: Books) -> None:
    """The CHECKs that matter when something goes wrong."""
    books.checks[LEASE] = lease_holds
    books.checks[BALANCE] = lambda _, balance: balance >= 0
    books.checks[COUNTER] = lambda _, one: one.used >= 0 and (one.ceiling is None or one.used <= one.ceiling)


async def announce(tx: Connection, table: str, filed: Sequence[Filed[Any]]) -> None:
    """The columns of the outbox: a number once a place."""
    for one in filed:
        if one.message is not None:
            await tx.insert(f"{table} by seq", (one.topic, one.partition, one.seq), one.message)


async def run(tx: Connection, statement: str, arguments: Sequence[Any]) -> list[Row]:
    """Runs one of the statements below."""
    return await _STATEMENTS[statement](tx, *arguments)


async def _take(tx: Connection, *arguments: Any) -> list[Row]:
    *place, cluster_id, owner = arguments
    key = tuple(place)
    await tx.lock(LEASE, key)
    new: Row = dict.fromkeys((*_COLUMNS, "records", "epoch"), 0) | {"cluster_id": cluster_id, "last_digest": None}
    old: Row = tx.get(LEASE, key) or new
    row = old | {"epoch": old["epoch"] + 1, "owner": owner}
    tx.put(LEASE, key, row)
    return [row]


async def _fence(tx: Connection, service: str, topics: Sequence[str], partitions: Sequence[int]) -> list[Row]:
    places = list(zip(topics, partitions, strict=True))
    if "order by topic, partition" in lease._FENCE:
        places.sort()
    found = []
    for topic, partition in places:
        key = (service, topic, partition)
        if tx.get(LEASE, key) is not None:
            await tx.lock(LEASE, key)
            found.append({"topic": topic, "partition": partition, "epoch": tx.get(LEASE, key)["epoch"]})
    return found


async def _advance(tx: Connection, service: str, topics: Sequence[str], partitions: Sequence[int], *columns: Any) -> list[Row]:
    for (topic, partition), values in zip(zip(topics, partitions, strict=True), zip(*columns, strict=True), strict=True):
        key, by = (service, topic, partition), dict(zip(_COLUMNS, values, strict=True))
        await tx.lock(LEASE, key)
        old = tx.get(LEASE, key)
        by |= {name: old[name] + by[name] for name in _COUNTS}
        tx.put(LEASE, key, old | by | {"records": sum(by[name] for name in _COUNTS)})
    return []


async def _mark(tx: Connection, service: str, *columns: Sequence[Any]) -> list[Row]:
    for topic, partition, epoch, relayed, projected in sorted(zip(*columns, strict=True)):
        key = (service, topic, partition)
        if tx.get(LEASE, key)["epoch"] != epoch:
            continue
        await tx.lock(LEASE, key)
        old = tx.get(LEASE, key)
        if old["epoch"] == epoch:
            relayed_seq = max(old["relayed_seq"], min(old["out_seq"], relayed))
            projected_seq = max(old["projected_seq"], min(old["out_seq"], projected))
            tx.put(LEASE, key, old | {"relayed_seq": relayed_seq, "projected_seq": projected_seq})
    return []


async def _evict(tx: Connection, service: str, topic: str, partition: int) -> list[Row]:
    holder = tx.books.locks.get((LEASE, (service, topic, partition)))
    if holder is None or holder is tx:
        return [{"count": 0}]
    tx.books.chance.tell(f"its backend is ended by {tx.client.name}", holder.client.name)
    holder.end()
    return [{"count": 1}]


async def _insert(tx: Connection, service: str, *columns: Sequence[Any]) -> list[Row]:
    rows = [dict(zip((*_POISON, "redrive_of"), values, strict=True)) for values in zip(*columns, strict=True)]
    for row in sorted(rows, key=lambda one: one["seq"]):
        before = tx.get(QUARANTINE, row.pop("redrive_of")) or {}
        number = tx.books.next(QUARANTINE)
        row |= {"id": number, "service": service, "state": "held", "attempts": before.get("attempts", 0) + 1}
        row["rank"] = (before and (before["rank"] or before["id"])) or None
        place = (service, row["topic"], row["partition"])
        await tx.insert(f"{QUARANTINE} by place", (*place, row["record_offset"]), number)
        await tx.insert(f"{QUARANTINE} by seq", (*place, row["seq"]), number)
        await tx.insert(QUARANTINE, number, row)
    return []


async def _held(tx: Connection, service: str, keys: Sequence[str]) -> list[Row]:
    return [
        {"claim_key": row["claim_key"], "id": row["id"], "rank": row["rank"] or row["id"]}
        for _, row in tx.all(QUARANTINE)
        if (row["service"], row["state"]) == (service, "held") and row["claim_key"] in keys
    ]


async def _genuine(tx: Connection, service: str, ids: Sequence[int], topics: Sequence[str], values: Sequence[bytes]) -> list[Row]:
    found = []
    for number, topic, value in zip(ids, topics, values, strict=True):
        row = tx.get(QUARANTINE, number)
        if row and (row["service"], row["state"], row["topic"], row["value"]) == (service, "held", topic, value):
            found.append({"id": number})
    return found


async def _close(tx: Connection, ids: Sequence[int]) -> list[Row]:
    for number in sorted(ids):
        await tx.lock(QUARANTINE, number)
        row = tx.get(QUARANTINE, number)
        if row is not None and row["state"] == "held":
            tx.put(QUARANTINE, number, row | {"state": "redriven"})
    return []


async def _as_stored(tx: Connection, members: Sequence[str]) -> list[Any]:
    return [(*key, row.used, row.version) for key, row in tx.all(COUNTER) if key.member_id in members]


def _unannounced(outbox: str | None) -> Callable[..., Awaitable[list[Any]]]:
    async def find(tx: Connection, service: str, topic: str, partition: int, above: int) -> list[Row]:
        rows = [
            row | {"target": None}
            for _, row in tx.all(QUARANTINE)
            if (row["service"], row["topic"], row["partition"]) == (service, topic, partition) and row["seq"] > above
        ]
        nothing = dict.fromkeys(("reason", "detail", "topic"), None) | {"partition": 0, "record_offset": 0}
        for (source, number, seq), message in tx.all(f"{outbox} by seq") if outbox else ():
            if (source, number) == (topic, partition) and seq > above:
                target, part, key, value = message
                rows.append(nothing | {"seq": seq, "target": target, "part": part, "key": key, "value": value})
        page = sorted(rows, key=lambda row: row["seq"])[: relay.PAGE]
        before = accumulate((len(row["value"]) for row in page), initial=0)
        return [row for row, size in zip(page, before, strict=False) if size < relay.PAGE_BYTES]

    return find


_STATEMENTS: dict[str, Callable[..., Awaitable[list[Any]]]] = {
    lease._TAKE: _take,
    lease._FENCE: _fence,
    lease._ADVANCE: _advance,
    lease._MARK: _mark,
    lease._EVICT: _evict,
    quarantine._INSERT: _insert,
    quarantine._HELD: _held,
    quarantine._GENUINE: _genuine,
    quarantine._CLOSE: _close,
    projection._AS_STORED: _as_stored,
    **{relay._unannounced(outbox): _unannounced(outbox) for outbox in (None, *OUTBOXES)},
}
