"""What operators read: their own words always, a client's complaints once in a while."""

import logging
from typing import Any

from shared.runtime.telemetry import Unhurried


def record(name: str, words: str, at: float) -> logging.LogRecord:
    made = logging.LogRecord(name, logging.ERROR, "", 0, words, (), None)
    made.created = at
    return made


def said(unhurried: Unhurried, *records: logging.LogRecord) -> list[tuple[str, Any]]:
    return [(one.getMessage(), getattr(one, "fields", None)) for one in records if unhurried.filter(one)]


def test_a_client_says_the_same_again_only_after_a_while_and_then_how_often_it_did_not() -> None:
    complaints = [record("aiokafka.client", "no broker", at) for at in (0.0, 1.0, 9.9, 10.0, 10.1)]
    assert said(Unhurried(), *complaints) == [("no broker", None), ("no broker", {"not_repeated": 2})]


def test_other_words_and_other_speakers_are_heard_at_once() -> None:
    unhurried = Unhurried()
    assert said(unhurried, record("aiokafka", "a", 0.0), record("aiokafka", "b", 0.0), record("faststream", "a", 0.0)) == [
        ("a", None),
        ("b", None),
        ("a", None),
    ]
    ours = [record("gongji.loop", "trouble", 0.0)] * 3
    assert said(unhurried, *ours) == [("trouble", None)] * 3


def test_words_that_are_always_new_do_not_fill_the_memory() -> None:
    unhurried = Unhurried()
    assert len(said(unhurried, *(record("aiokafka", str(n), 0.0) for n in range(5_000)))) == 5_000
    assert len(unhurried._said) <= 1_000
