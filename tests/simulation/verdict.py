"""What must hold when a day is through, read from the logs, the books and the cache. Each breach is a sentence with its key."""

import json
from collections import Counter as Count
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from services.account.journals import personal
from services.account.ledger import balances
from services.adjudication.counters import CounterKey
from shared.events import ACCEPTED, DEAD, REJECTED, SETTLED, SUBMITTED, decode
from shared.identity import event_id, partition_of
from shared.runtime.lease import Place
from shared.runtime.step import Message
from simulation import ledgers, stores
from simulation.statements import BALANCE, COUNTER, LEASE, OUTBOXES, QUARANTINE

if TYPE_CHECKING:
    from simulation.world import World

_TIMES = ("accepted_at", "settled_at", "account_balance")  # a payer's balance hangs on who came first
_MAY_REPEAT = (SETTLED, REJECTED, DEAD)  # bytes that were said before, by another lease perhaps


@dataclass(frozen=True)
class Sight:
    """What can be compared between two runs of one day, without what may differ."""

    outcomes: dict[str, str]  # event id -> content
    counters: dict[Any, tuple[int, int | None, int]]
    balances: dict[str, int]
    obligations: dict[Any, tuple[str, str, int]]
    dead: int


def look(world: "World") -> Sight:
    """What a run has come to."""
    loose = world.feed.loose
    values = (record.value for topic in (SETTLED, REJECTED) for record in _log(world, topic))
    outcomes = {}
    for value in values:
        content = json.loads(value)
        if "event_id" in content and content.get("claim_no") not in world.feed.contested:
            outcomes[content["event_id"]] = json.dumps({k: v for k, v in content.items() if k not in _TIMES}, sort_keys=True)
    rows = world.books.rows
    return Sight(
        outcomes,
        {key: tuple(row) for key, row in rows(COUNTER).items() if key.member_id not in loose and row.version},
        {member: amount for member, amount in rows(BALANCE).items() if member not in loose},
        {key: (row.debtor, row.creditor, row.amount) for key, row in rows(ledgers.OBLIGATION).items()},
        sum(row["state"] == "held" for row in rows(QUARANTINE).values()),
    )


def differences(right: Sight, seen: Sight) -> list[str]:
    """Where a disturbed day came to something else than the undisturbed one."""
    found = []
    for name in ("outcomes", "counters", "balances", "obligations"):
        one, other = getattr(right, name), getattr(seen, name)
        found += [f"{name}: {key} is missing" for key in one.keys() - other.keys()]
        found += [f"{name}: {key} should not be: {other[key]}" for key in other.keys() - one.keys()]
        found += [
            f"{name}: {key} is {other[key]}, undisturbed {one[key]}"
            for key in one.keys() & other.keys()
            if one[key] != other[key]
        ]
    if right.dead != seen.dead:
        found.append(f"dead letters: {seen.dead}, undisturbed {right.dead}")
    return sorted(found)


def breaches(world: "World") -> list[str]:
    """Every invariant that does not hold."""
    checks = (_answers, _contested, _counts, _announced, _order, _ledger, _hot)
    found = [breach for check in checks for breach in check(world)]
    found += [f"deadlock that nobody injected: {where}" for where in world.books.deadlocks]
    found += [f"the cache was ahead: {what}" for what in world.shelf.ahead]
    return found + [f"stopped: {place}: {why}" for place, why in world.stopped.items()]


def _log(world: "World", topic: str) -> Iterator[Any]:
    for number in range(world.broker.partitions[topic]):
        yield from world.broker.log((topic, number))


def _answers(world: "World") -> Iterator[str]:
    """I4, I6: one content an outcome's id, however often it is announced; an outcome for each number."""
    bytes_of: dict[str, bytes] = {}
    for topic in (SETTLED, REJECTED):
        for record in _log(world, topic):
            name = json.loads(record.value)["event_id"]
            if bytes_of.setdefault(name, record.value) != record.value:
                yield f"two answers under one id: {name}"
    for number in world.books.rows(stores.SUBMISSION).values():
        if number.kind and not number.closed and event_id(number.kind, *number.key) not in bytes_of:
            yield f"accepted and never answered: {number.key}"
    unreadable = sum(row["reason"] == "unreadable" for row in world.books.rows(QUARANTINE).values())
    if unreadable != world.feed.unreadable:
        yield f"{unreadable} unreadable records, {world.feed.unreadable} were sent"


def _contested(world: "World") -> Iterator[str]:
    """Two partitions race for one number: either answer, but a whole one."""
    said: dict[str, set[tuple[str, str]]] = {}
    for topic in (SETTLED, REJECTED):
        for record in _log(world, topic):
            content = json.loads(record.value)
            reasons = ",".join(reason["code"] for reason in content["reasons"] if content["outcome"] == "rejected")
            said.setdefault(content.get("claim_no", ""), set()).add((f"{content['kind']} {content['outcome']}", reasons))
    settled, conflict = ("claim settled", ""), ("claim rejected", "duplicate_conflict")
    whole = (
        {settled, conflict},
        {settled, ("reversal reversed", "")},
        {("claim rejected", "reversed_before_arrival"), ("reversal rejected", "claim_not_found")},
    )
    for claim_no in world.feed.contested:
        if said.get(claim_no) not in whole:
            yield f"contested {claim_no} got {sorted(said.get(claim_no, ()))}"


def _counts(world: "World") -> Iterator[str]:
    """I17: every record of a log is counted once, as one of four things."""
    for key, row in world.books.rows(LEASE).items():
        end = len(world.broker.log(key[1:]))
        if (row["next_offset"], row["records"]) != (end, end):
            yield f"{key}: {row['records']} records counted, next {row['next_offset']}, the log has {end}"


def _announced(world: "World") -> Iterator[str]:
    """I11: numbers without gaps; on each topic, after de-duplication, what is stored, in its order."""
    stored = _stored(world)
    firsts: dict[Place, dict[tuple[bytes, bytes], int]] = {}
    for place, log in world.broker.logs.items():
        seen = firsts.setdefault(place, {})
        for record in log:
            seen.setdefault((record.key or b"", record.value), record.offset)
    for key, row in world.books.rows(LEASE).items():
        mine = stored.pop(key, {})
        if sorted(mine) != list(range(1, row["out_seq"] + 1)):
            yield f"{key}: numbers {sorted(mine)}, the lease says {row['out_seq']}"
        at: dict[Place, int] = {}
        for seq, message in sorted(mine.items()):
            place = (message.topic, partition_of(message.part, world.broker.partitions[message.topic]))
            offset = firsts.get(place, {}).get((message.key, message.value))
            if offset is None:
                yield f"{key}: number {seq} was never announced on {place}"
            elif message.topic in _MAY_REPEAT:
                continue
            elif offset < at.get(place, -1):
                yield f"{key}: number {seq} stands before an earlier one on {place}"
            else:
                at[place] = offset
    for key in stored:
        yield f"{key}: rows without a lease"


def _stored(world: "World") -> dict[tuple[str, str, int], dict[int, Message]]:
    """What each lease has to announce, by number: of the services' tables, and the dead letters."""
    stored: dict[tuple[str, str, int], dict[int, Message]] = {}
    for table in OUTBOXES:
        for (topic, number, seq), message in world.books.rows(f"{table} by seq").items():
            stored.setdefault((table.partition(".")[0], topic, number), {})[seq] = message
    for row in world.books.rows(QUARANTINE).values():
        letter = Message(DEAD, row["part"], row["key"] or b"", row["value"])
        stored.setdefault((row["service"], row["topic"], row["partition"]), {})[row["seq"]] = letter
    return stored


def _order(world: "World") -> Iterator[str]:
    """I8: a member's claims are decided in the order in which they were first submitted, by any one partition."""
    decided: dict[str, list[tuple[str, str]]] = {}
    rows = sorted(world.books.rows(stores.DECISION).values(), key=lambda row: row[1])
    for one, _ in rows:
        event = one.decision.event
        if event.kind != "question" and event.member_id.startswith("M"):
            decided.setdefault(event.member_id, []).append((event.kind, event.claim_no))
    accepted: dict[str, list[tuple[str, str]]] = {}
    for record in _log(world, ACCEPTED):
        event = decode(record.value)
        one = (event.kind, event.claim_no)
        if one[0] != "question" and one not in (seen := accepted.setdefault(event.member_id, [])):
            seen.append(one)
    submitted: dict[str, int] = {}
    for record in _log(world, SUBMITTED):
        for word in _numbers(record.value):
            submitted.setdefault(word, record.offset)
    for member, order in decided.items():
        if order != accepted.get(member):
            yield f"{member}: decided {order}, accepted {accepted.get(member)}"
        firsts = [submitted[number] for kind, number in order if kind != "reversal"]
        if firsts != sorted(firsts) and not world.feed.loose & {member}:
            yield f"{member}: decided in the order of offsets {firsts}"


def _numbers(value: bytes) -> list[str]:
    try:
        line = json.loads(value)
    except ValueError:
        return []
    return [line[name] for name in ("claim_no", "use_no") if name in line]


def _ledger(world: "World") -> Iterator[str]:
    """I1: balances are what the journals say."""
    totals: Count[str] = Count()
    for journal in world.books.rows(ledgers.JOURNAL).values():
        for account, amount in balances(journal.postings).items():
            totals[account] += amount
    if sum(totals.values()):
        yield f"the ledger's accounts come to {sum(totals.values())}"
    for member, balance in world.books.rows(BALANCE).items():
        if totals[personal(member)] != balance:
            yield f"{member}: balance {balance}, journals {totals[personal(member)]}"
    answers = world.books.rows(ledgers.OUTCOME).values()
    booked = {answer.journal_id for answer in answers if answer.journal_id is not None}
    made = {journal.journal_id for journal in world.books.rows(ledgers.JOURNAL).values() if journal.kind != "credit"}
    if booked != made:
        yield f"journals without an outcome, or the other way: {booked ^ made}"


def _hot(world: "World") -> Iterator[str]:
    """I10: the cache shows what is committed; what is missing was forgotten."""
    shown = world.shelf.members
    for key, counter in world.books.rows(COUNTER).items():
        there = shown.get(key.member_id, {}).get((key.period, key.name))
        if there is None:
            if counter.version and key.member_id not in world.shelf.forgotten:
                yield f"{key}: not in the cache, version {counter.version} is committed"
        elif there != (counter.used, counter.version):
            yield f"{key}: the cache shows {there}, committed is {counter}"
    for member, fields in shown.items():
        for period, name in fields:
            if CounterKey(member, period, name) not in world.books.rows(COUNTER):
                yield f"{member} {period} {name}: only the cache knows it"
