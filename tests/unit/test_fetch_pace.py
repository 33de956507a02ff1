"""How long records gather on the broker: not at all for a lone claim, longer the more of its time a consumer works."""

import pytest

from shared.runtime.fetch import Pace


def settled(arrivals_a_second: float, seconds_a_batch: float) -> Pace:
    """A consumer with records at even distances: it waits for the next one, or for as long as they gather."""
    pace = Pace()
    for _ in range(2_000):
        next_comes_after = max(1 / arrivals_a_second, pace.gather_ms / 1_000)
        pace.after(seconds_a_batch, max(0.0, next_comes_after - seconds_a_batch))
    return pace


def test_a_claim_that_comes_alone_does_not_wait() -> None:
    assert settled(1, 0.010).gather_ms == 0


def test_who_is_always_busy_lets_records_gather_longest() -> None:
    assert settled(1_000, 0.050).gather_ms == 20


@pytest.mark.parametrize(("batch_ms", "gather_ms"), [(2, 6), (5, 10), (10, 14)])
def test_tiny_batches_grow_until_there_is_time_to_spare(batch_ms: int, gather_ms: int) -> None:
    pace = settled(500, batch_ms / 1_000)
    assert abs(pace.gather_ms - gather_ms) <= 1
    assert 0.25 < pace.busy < 0.75


def test_a_pause_is_forgotten_within_a_third_of_a_second() -> None:
    pace = settled(1_000, 0.050)
    pace.after(0.0, 0.3)
    assert pace.gather_ms == 0
