"""Every decision of a run, from one seed; what was decided is counted, and told as a trace that can be read."""

from collections import Counter
from collections.abc import Callable, MutableSequence, Sequence
from random import Random
from typing import Final, TypeVar

T = TypeVar("T")

# Faults by kind, with how often one may hit: of each call where it can happen, when its kind is at work in a run.
KINDS: Final = {
    "crash": 0.004,  # a worker dies between two calls, at any await
    "crash in commit": 0.01,  # ... with the commit on its way: it may have been done
    "crash in send": 0.01,  # ... with messages on their way: they may have arrived
    "freeze": 0.002,  # a worker stands still for 1 to 45 s, and then goes on
    "connection lost": 0.004,  # before a statement: the transaction is rolled back
    "lost before commit": 0.02,
    "lost after commit": 0.02,
    "deadlock": 0.002,  # Postgres picks this one as the victim
    "serialization": 0.002,
    "statement failed": 0.002,  # out of memory, disk full: Postgres lives
    "connect failed": 0.05,
    "backend ended": 0.002,  # an operator's pg_terminate_backend
    "send failed": 0.02,  # nothing arrived
    "send cut": 0.01,  # some arrived, no answer
    "send unanswered": 0.02,  # all arrived, no answer
    "send late": 0.01,  # no answer; all arrive some time after
    "doubled": 0.02,  # records of one of our own topics come once more at its end
    "rewound": 0.02,  # a batch that was handed over is handed over once more
    "held up": 0.03,  # a fetched batch is handed over late
    "rebalance": 0.1,  # of each second, as the next two
    "scaled up": 0.05,
    "scaled down": 0.05,
    "flushed between": 0.02,
    "tail lost": 0.1,  # of a run: the end of a log is gone, and other records stand there
    "bounds failed": 0.02,
    "cache failed": 0.05,
    "cache cut": 0.02,  # the script ran, no answer
    "cache flushed": 0.003,
    "cache misled": 0.003,  # a version too high, by hand
}


class Chance:
    """A seeded source of decisions. ``calm``: nothing goes wrong, and every call takes the same time."""

    def __init__(self, seed: int, *, calm: bool = False) -> None:
        self.seed = seed
        self.decisions = 0
        self.counted: Counter[str] = Counter()
        self.trace: list[str] = []
        self.now: Callable[[], float] = lambda: 0.0
        self.calm = calm
        self._random = Random(seed)
        self._likely: dict[str, float] = {}
        # Which kinds are at work in this run, and how busily: a run with few kinds shows what many would cover up.
        share = self._random.choice((0.1, 0.3, 0.6, 1.0))
        busy = self._random.choice((0.5, 1.0, 1.0, 2.0))
        self._slow = self._random.choice((0.002, 0.01, 0.05))
        if not calm:
            self._likely = {kind: often * busy for kind, often in KINDS.items() if self._random.random() < share}

    def begin(self, likely: dict[str, float]) -> None:
        """Goes on as it was before ``end``."""
        self._likely = likely

    def end(self) -> dict[str, float]:
        """From here on nothing goes wrong any more. Returns what was at work."""
        likely, self._likely = self._likely, {}
        return likely

    def hits(self, kind: str, whom: str = "") -> bool:
        """Whether a fault of this kind happens now. It is counted and told."""
        likely = self._likely.get(kind)
        if likely is None or self._random.random() >= likely:
            return False
        self.counted[kind] += 1
        self.tell(f"!! {kind}", whom)
        return True

    def delay(self) -> float:
        """How long a call is on its way (seconds): this is what interleaves."""
        self.decisions += 1
        if self.calm:
            return 0.001
        long = self._random.random()
        return self._random.random() * (self._slow * 20 if long > 0.98 else self._slow)

    def between(self, least: float, most: float) -> float:
        """A number, evenly."""
        return self._random.uniform(least, most)

    def number(self, least: int, most: int) -> int:
        """A whole number, both ends included."""
        return self._random.randint(least, most)

    def one_of(self, choices: Sequence[T]) -> T:
        """One of these."""
        return self._random.choice(choices)

    def happens(self, likely: float) -> bool:
        """Yes with this likelihood."""
        return self._random.random() < likely

    def shuffle(self, items: MutableSequence[T]) -> None:
        """Brings these into some order."""
        self._random.shuffle(items)

    def tell(self, what: str, whom: str = "") -> None:
        """A line of the trace."""
        self.trace.append(f"{self.now():9.3f}  {whom:<22} {what}")
