"""The command ``gongji replay``: outcomes on standard output, one a line; what is wrong with the feed on standard error."""

import asyncio
import gc
import os
import sys
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Annotated, BinaryIO

import msgspec
import typer

from services.replay import Item, Replay, Replayed, chunks, item_of
from services.replay_trace import Tracer
from shared.errors import Stop
from shared.events import REJECTED
from shared.feed_file import lines_of, opened
from shared.policy import Policies
from shared.reasons import NOT_BINDING, Reason
from shared.runtime.settings import policies_directory


class _Rejected(msgspec.Struct):
    reasons: tuple[Reason, ...]


_read_reasons = msgspec.json.Decoder(_Rejected).decode


def replay(
    feeds: Annotated[list[Path], typer.Argument(metavar="FEED…", help="NDJSON files; - for standard input.")],
    parameters: Annotated[
        Path | None, typer.Option(envvar="GONGJI_PARAMETERS", help="The operator's figures (YAML).", metavar="FILE")
    ] = None,
    policies: Annotated[Path | None, typer.Option(help="Policy packs, instead of those of the program.", metavar="DIR")] = None,
    *,
    trace: Annotated[bool, typer.Option("--trace", help="With each outcome, how its amounts came about.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="As always: NDJSON.")] = False,
) -> None:
    """Settle feeds in this process, with no server: one outcome a line, in the order of the feed."""
    del as_json
    packs = Policies.load(policies or policies_directory(), parameters)
    with ExitStack() as until:
        feed = Feed([(str(path), opened(path, until)) for path in feeds])
        out = Printer(feed, Tracer(packs) if trace else None)
        try:
            asyncio.run(_run(Replay(packs), feed, out))
            sys.stdout.buffer.flush()
        except BrokenPipeError:  # the reader has had enough
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            raise typer.Exit(1) from None
    out.sum_up()
    if out.failed:
        raise Stop(f"{out.failed} lines or results at fault of this program, named above")


async def _run(replaying: Replay, feed: "Feed", out: "Printer") -> None:
    _settle_garbage_collector()
    for chunk in chunks(feed.items()):
        out.print(replaying, await replaying.settle(chunk))


def _settle_garbage_collector() -> None:
    """What is loaded lives as long as the process, and books have no cycles: keep the collector off them."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 20, 50)


class Feed:
    """Feeds as one: lines counted through, and found again in their files."""

    def __init__(self, streams: Sequence[tuple[str, BinaryIO]]) -> None:
        self._streams = streams
        self._starts: list[int] = []  # the numbers before each stream's first line
        self._count = 0

    def items(self) -> Iterator[Item]:
        """Every line that is not empty."""
        for _, stream in self._streams:
            self._starts.append(self._count)
            for _, raw in lines_of(stream):
                self._count += 1
                line = raw.strip(b" \t\r\n")
                if line:
                    yield item_of(self._count, line)

    def place(self, number: int) -> str:
        """The file and line of a line's number."""
        index = bisect_right(self._starts, number - 1) - 1
        return f"{self._streams[index][0]}:{number - self._starts[index]}"


class Printer:
    """Writes outcomes, names the lines that are wrong, and counts."""

    def __init__(self, feed: Feed, tracer: Tracer | None) -> None:
        self._feed = feed
        self._tracer = tracer
        self._out = sys.stdout.buffer
        self._answered = self._rejected = self._without = 0
        self.failed = 0

    def print(self, replaying: Replay, done: Replayed) -> None:
        """One chunk."""
        self._answered += len(done.outcomes)
        self._without += len(done.faults)
        self.failed += sum(fault.reason == "failed" for fault in done.faults)
        wrong = [(fault.number, f"{fault.reason}: {fault.detail}") for fault in done.faults]
        for item in done.outcomes:
            if item.topic == REJECTED:
                self._rejected += 1
                wrong += _wrong(item)
        if self._tracer is None:
            self._out.writelines(item.value + b"\n" for item in done.outcomes)
        else:
            wrong += self._print_traced(self._tracer, replaying, done)
        for number, what in sorted(wrong):
            typer.echo(f"{self._feed.place(number)}: {what}", err=True)

    def _print_traced(self, tracer: Tracer, replaying: Replay, done: Replayed) -> Iterator[tuple[int, str]]:
        for item in done.outcomes:
            value, differences = tracer.trace(replaying, item.value, done.decided.get(item.number))
            self._out.write(value + b"\n")
            for difference in differences:
                self.failed += 1
                yield item.number, f"worked out anew it differs: {difference}"

    def sum_up(self) -> None:
        """The counts, for people."""
        taken = self._answered - self._rejected
        typer.echo(f"{taken} settled or reversed, {self._rejected} rejected, {self._without} lines without outcome", err=True)


def _wrong(item: Item) -> Iterator[tuple[int, str]]:
    """The line's own fault, not the law's: what must be corrected before it can be settled."""
    for why in _read_reasons(item.value).reasons[:1]:
        if why.code in NOT_BINDING:
            yield item.number, f"{why.code}: {why.zh} / {why.en}"
