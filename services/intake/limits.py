"""How much one institution may ask at once: a bucket of tokens each, filled at a steady rate. Pure: the time is given."""

from collections import OrderedDict
from typing import Final

_MOST_BUCKETS: Final = 100_000


class Buckets:
    """``rate`` tokens a second, ``burst`` at most. The bucket of whoever asked longest ago is forgotten first."""

    def __init__(self, rate: float, burst: float) -> None:
        self._rate = rate
        self._burst = burst
        self._levels: OrderedDict[str, tuple[float, float]] = OrderedDict()  # tokens, at which second

    def take(self, name: str, now: float) -> float:
        """Takes a token. Returns 0 if there was one, otherwise the seconds until there will be."""
        level, since = self._levels.get(name, (self._burst, now))
        level = min(self._burst, level + (now - since) * self._rate)
        wait = 0.0 if level >= 1 else (1 - level) / self._rate
        self._levels[name] = (level if wait else level - 1, now)
        self._levels.move_to_end(name)
        if len(self._levels) > _MOST_BUCKETS:
            self._levels.popitem(last=False)
        return wait
