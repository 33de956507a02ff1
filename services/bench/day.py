"""What a run of the benchmark sends: a made-up day in pieces, with a crowd at one institution or of one member if asked."""

from collections.abc import Iterable, Iterator
from functools import cached_property
from itertools import islice
from typing import Any, Final, NamedTuple

from services.bench.load import Number, Prepared, number_in, prepare
from services.ops.generate import generate
from shared.events import REGISTER_TYPES

ZIPF: Final = 0.6  # a tenth of the members, and of the institutions of a kind, has 40 % of the bills
WATCHED_SECONDS: Final = 15
WARM_UP_SECONDS: Final = 20  # so long the broker's just-in-time compiler competes with it for the processors
REGIONS: Final = ("130900", "440800", "511900", "653100", "420300")
_CROWDED: Final = "130900"
_OF_FIVE: Final = 3  # lines of the institution that sends 60 % of the load
_CLAIMS_OF_ONE: Final = 5_000
_PIECE: Final = 100_000  # records of what is settled before
_OF_LINES: Final = 0.5  # fewer than those of the generator that fit

Line = dict[str, Any]


class Asked(NamedTuple):
    """What to run. ``rate`` in submissions a second; ``workers``: processes of each service; ``zipf``: see ``generate``.

    ``stored``: submissions that are settled before the steady load. ``crowd``: "institution" where one sends 60 % of the load,
    "member" where one has 5,000 of the claims. ``profile``: whether it is profiled for a while after all that is measured.
    """

    rate: float
    minutes: float
    backlog: int
    members: int
    seed: int
    floors: bool
    workers: int = 1
    zipf: float = ZIPF
    stored: int = 0
    crowd: str = ""
    profile: bool = False


class Feed:
    """A made-up day, cut into warm-up, what is settled before, steady load, backlog and what is watched.

    What is settled before may be more than memory holds, so that it is made up while it is asked for: the pieces behind it
    come after it. ``register``: lines; ``crowd``: the numbers of the one institution or member.
    """

    def __init__(self, asked: Asked, partitions: int) -> None:
        watched = int(asked.rate * WATCHED_SECONDS) if asked.profile else 0
        steady = int(asked.rate * asked.minutes * 60)
        sizes = (int(asked.rate * WARM_UP_SECONDS), asked.stored, steady, asked.backlog, watched)
        self.size = sum(sizes)
        self.register: list[Line] = []
        self.crowd: set[Number] = set()
        day = _day(generate(self.size, asked.members, REGIONS, asked.seed, zipf=asked.zipf), self.register)
        if asked.crowd:
            day = _crowded(asked, day, self.register, self.crowd, sizes)
        self._records = prepare(day, partitions)
        self.warm_up = list(islice(self._records, sizes[0]))
        self._stored, *self._behind = sizes[1:]

    def stored(self) -> Iterator[list[Prepared]]:
        """What is settled before, piece by piece, once."""
        while self._stored:
            piece = list(islice(self._records, min(self._stored, _PIECE)))
            self._stored -= len(piece)
            yield piece

    @cached_property
    def _rest(self) -> tuple[list[Prepared], ...]:
        for _ in self.stored():
            pass
        return tuple(list(islice(self._records, size)) for size in self._behind)

    @property
    def steady(self) -> list[Prepared]:
        """The steady load."""
        return self._rest[0]

    @property
    def backlog(self) -> list[Prepared]:
        """What is drained."""
        return self._rest[1]

    @property
    def watched(self) -> list[Prepared]:
        """What is sent while it is profiled."""
        return self._rest[2]


def _day(lines: Iterable[Line | bytes], register: list[Line]) -> Iterator[Line | bytes]:
    """The day's own lines; those of the register are put aside."""
    for line in lines:
        if isinstance(line, dict) and line["type"] in REGISTER_TYPES:
            register.append(line)
        else:
            yield line


def _crowded(
    asked: Asked, day: Iterator[Line | bytes], register: list[Line], crowd: set[Number], sizes: tuple[int, ...]
) -> Iterator[Line | bytes]:
    """The day with lines of one in between: three of five of an institution, or so many of a member in the steady load."""
    one = asked.crowd == "institution"
    before, wanted = sum(sizes[:2]), sum(sizes) * _OF_FIVE // 5 if one else min(_CLAIMS_OF_ONE, sizes[2])
    own: list[Line] = []
    made = generate(int(wanted / _OF_LINES) + 1_000, asked.members // len(REGIONS), (_CROWDED,), asked.seed + 1, zipf=asked.zipf)
    lines = _day(made, own)
    first = next(islice(lines, 0, 1))  # the register comes first, so it is whole now
    register += own
    who = next(line for line in own if line["type"] == ("institution" if one else "member") and _takes_part(line))
    theirs = (line | _of(who) for line in (first, *lines) if isinstance(line, dict) and _fits(line, one=one))
    every = 5 if one else max(1, sizes[2] // max(1, wanted))
    for count, line in enumerate(day):
        yield line
        if (one and count % (5 - _OF_FIVE)) or (not one and before <= count and count % every == 0):
            for other in islice(theirs, _OF_FIVE if one else 1):
                crowd.add(number_in(other))
                yield other


def _takes_part(line: Line) -> bool:
    return line["type"] == "member" or bool(line["kind"] == "hospital")


def _of(who: Line) -> Line:
    return {name: who[name] for name in ("institution_id", "member_id") if name in who}


def _fits(line: Line, *, one: bool) -> bool:
    """Whether a line can be laid to an institution's charge; to a member's, plain claims only."""
    if one:
        return str(line["institution_id"]).startswith("H")
    return (line["type"], line.get("benefit"), line.get("channel")) == ("claim", "ordinary", "direct")
