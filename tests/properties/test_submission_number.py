"""The state of a number against a naive second book that reads the whole history again for every answer."""

import asyncio
import json
from collections.abc import Callable
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from services.intake.memory import MemoryStore
from services.intake.steps import IntakeStep
from shared import events, outcome
from shared.runtime.step import Filed, Record

TIMES = {"visited_at": "2023-05-01T09:30:00+08:00", "submitted_at": "2023-05-01T10:30:00+08:00"}


def claim(number: str, member: str, *, total: object = "1.00", scope: str = "1.00") -> dict[str, Any]:
    return {
        "type": "claim", "claim_no": number, "institution_id": "I", "member_id": member, "benefit": "ordinary",
        "channel": "direct", "emergency": False, "use_account": False, "total": total, "own_paid": "0.00",
        "over_limit": "0.00", "pre_self_pay": "0.00", "in_scope": scope,
    } | TIMES  # fmt: skip


def use(number: str) -> dict[str, Any]:
    return {
        "type": "account_use", "use_no": number, "institution_id": "I", "member_id": "M", "purpose": "drugs",
        "amount": "1.00", "used_at": TIMES["visited_at"],
    }  # fmt: skip


def reversal(number: str) -> dict[str, Any]:
    return {
        "type": "reversal", "claim_no": number, "institution_id": "I",
        "reversed_at": TIMES["submitted_at"], "reason": "x",
    }  # fmt: skip


LETTERS: dict[str, Callable[[str], dict[str, Any]]] = {
    "a": lambda n: claim(n, "M"),
    "b": lambda n: claim(n, "N"),
    "u": use,
    "r": reversal,
    "m": lambda n: claim(n, "M", total=1.0),
    "s": lambda n: claim(n, "M", scope="2.00"),
}
Word = tuple[str, str]  # which submission, which number


def naive(history: list[Word]) -> str:
    """What the last submission of a history gets, worked out from the history alone."""
    *before, (letter, number) = history
    if letter in "ms":
        return {"m": "malformed", "s": "sum_mismatch"}[letter]
    same = [earlier for earlier, its in before if its == number and earlier not in "ms"]
    contents = [earlier for earlier in same if earlier != "r"]
    closed = (bool(same) and same[0] == "r") or (not same and letter == "r")
    if letter == "r":
        if closed:
            return "claim_not_found"
        return f"ask reversal {contents[0]}" if "r" in same else f"reversal {contents[0]}"
    if contents and contents[0] != letter:
        return "duplicate_conflict"
    if closed:
        return "reversed_before_arrival"
    return f"ask {letter}" if contents else f"accept {letter}"


def told(value: bytes, topic: str) -> str:
    if topic == events.REJECTED:
        return outcome.decode(value).reasons[0].code
    event = events.decode(value)
    if event.kind == "reversal":
        return f"reversal of {event.member_id}"
    return f"{event.kind} {event.asks} {event.member_id}"


def naive_told(history: list[Word]) -> str:
    kinds = {"a": ("claim", "M"), "b": ("claim", "N"), "u": ("account_use", "M")}
    match naive(history).split():
        case ["accept", letter]:
            return f"{kinds[letter][0]}  {kinds[letter][1]}"
        case ["ask", "reversal", letter]:
            return f"question reversal {kinds[letter][1]}"
        case ["ask", letter]:
            return f"question {kinds[letter][0]} {kinds[letter][1]}"
        case ["reversal", letter]:
            return f"reversal of {kinds[letter][1]}"
        case [code]:
            return code
        case other:
            raise AssertionError(other)


async def settle(batches: list[list[Word]]) -> list[tuple[str, str, bytes]]:
    step = IntakeStep(MemoryStore(), None)
    answers = []
    for batch in batches:
        values = [json.dumps(LETTERS[letter](number)).encode() for letter, number in batch]
        submissions = [step.decode(Record("claims.submitted", 0, 0, 0, None, value)) for value in values]
        facts = await step.load(None, submissions)
        rulings = [step.decide(submission, facts) for submission in submissions]
        await step.record(None, [Filed(ruling, "claims.submitted", 0, 0, 0, ruling.message) for ruling in rulings])
        answers += [
            (told(ruling.message.value, ruling.message.topic), ruling.event_id, ruling.message.value) for ruling in rulings
        ]
    return answers


batches = st.lists(st.lists(st.tuples(st.sampled_from(sorted(LETTERS)), st.sampled_from("12")), max_size=6), max_size=6)


@given(batches)
def test_the_number_agrees_with_the_naive_book_whatever_the_order_and_the_batches(given_batches: list[list[Word]]) -> None:
    history = [word for batch in given_batches for word in batch]
    answers = asyncio.run(settle(given_batches))
    assert [answer for answer, _, _ in answers] == [naive_told(history[: n + 1]) for n in range(len(history))]


@given(batches)
def test_one_id_has_one_outcome_and_one_submission_one_id(given_batches: list[list[Word]]) -> None:
    history = [word for batch in given_batches for word in batch]
    answers = asyncio.run(settle(given_batches))
    rejected = {(word, answer, identity, value) for word, (answer, identity, value) in zip(history, answers, strict=True)}
    by_id: dict[str, set[bytes]] = {}
    for _, answer, identity, value in rejected:
        if " " not in answer:
            by_id.setdefault(identity, set()).add(value)
    assert all(len(values) == 1 for values in by_id.values())
    ids: dict[Word, set[str]] = {}
    for word, _, identity, _ in rejected:
        ids.setdefault(word, set()).add(identity)
    assert all(len(of_word) == 1 for of_word in ids.values())
