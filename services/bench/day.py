"""What a run of the benchmark sends: a made-up day in pieces, with a crowd at one institution or of one member if asked."""

from collections.abc import Iterable, Iterator
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


class Feed(NamedTuple):
    """A made-up feed, ready to be sent. ``crowd``: the numbers of the one institution or member."""

    register: list[Line]
    warm_up: list[Prepared]
    stored: list[Prepared]
    steady: list[Prepared]
    backlog: list[Prepared]
    watched: list[Prepared]
    crowd: frozenset[Number]


def make_feed(asked: Asked, partitions: int) -> Feed:
    """A day of the generator's, cut into warm-up, what is settled before, steady load and backlog."""
    watched = int(asked.rate * WATCHED_SECONDS) if asked.profile else 0
    sizes = (int(asked.rate * WARM_UP_SECONDS), asked.stored, int(asked.rate * asked.minutes * 60), asked.backlog, watched)
    register: list[Line] = []
    day = _day(generate(sum(sizes), asked.members, REGIONS, asked.seed, zipf=asked.zipf), register)
    crowd: set[Number] = set()
    if asked.crowd:
        day = _crowded(asked, day, register, crowd, sizes)
    records = iter(prepare(list(islice(day, sum(sizes))), partitions))
    warm_up, stored, steady, backlog, last = (list(islice(records, size)) for size in sizes)
    return Feed(register, warm_up, stored, steady, backlog, last, frozenset(crowd))


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
