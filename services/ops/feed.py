"""``gongji feed generate | send``: makes a day of claims, and streams feeds into a deployment.

``UsageError``, ``ServerMissing`` and ``Stop`` go to the command line's own handler.
"""

import asyncio
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Annotated, Any, BinaryIO

import msgspec
import typer
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeElapsedColumn

from services.ops.barrier import Barrier
from services.ops.generate import generate as generate_day
from services.ops.send import Feeder, Numbered, Sending, Sent
from shared.errors import UsageError
from shared.feed_file import lines_of, opened
from shared.runtime.database import Database
from shared.runtime.settings import Settings, given, policies_directory

app = typer.Typer(name="feed", help="Make feeds and send them.", no_args_is_help=True)

_FAULTS_SHOWN = 20


def _file(option: str, what: str) -> Any:
    return typer.Option(option, metavar="FILE", help=f"With --http, in PEM: {what}")


@app.command()
def generate(
    claims: Annotated[int, typer.Option(min=1, help="Claim numbers; repeats, reversals and the like come on top.")] = 20_000,
    members: Annotated[int | None, typer.Option(min=1, help="A quarter of the claims unless given.")] = None,
    regions: Annotated[list[str] | None, typer.Option(help="Division codes, with commas; all that have a pack.")] = None,
    seed: Annotated[int, typer.Option(help="The same seed, the same feed.")] = 1,
    zipf: Annotated[float, typer.Option(min=0, max=0.95, help="How uneven: at 0.6 a tenth of the people has 40 %.")] = 0.0,
    *,
    broken: Annotated[bool, typer.Option("--broken", help="Also lines that nobody can read.")] = False,
) -> None:
    """Print a day of claims as NDJSON, its register first."""
    codes = _regions(regions)
    encode = msgspec.json.encode
    out = sys.stdout.buffer
    try:
        for line in generate_day(claims, max(members or claims // 4, len(codes)), codes, seed, broken=broken, zipf=zipf):
            out.write((line if isinstance(line, bytes) else encode(line)) + b"\n")
        out.flush()
    except BrokenPipeError:  # the reader has had enough
        sys.stderr.close()


@app.command()
def send(
    files: Annotated[list[Path], typer.Argument(metavar="FILE…", help="NDJSON files; - for standard input.")],
    rate: Annotated[float | None, typer.Option(min=0.1, help="Submissions a second; as fast as it goes unless given.")] = None,
    *,
    wait: Annotated[bool, typer.Option("--wait", help="Until every record has its outcome.")] = False,
    http: Annotated[
        str | None, typer.Option(metavar="URL", help="Through the counter, with the institution's $GONGJI_KEY.")
    ] = None,
    tls_ca: Annotated[Path | None, _file("--tls-ca", "whose certificates the counter may show; this machine's own.")] = None,
    tls_cert: Annotated[Path | None, _file("--tls-cert", "our certificate, for a counter that asks for one.")] = None,
    tls_key: Annotated[Path | None, _file("--tls-key", "its key, unless it is in the same file.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="With --http: print every answer.")] = False,
) -> None:
    """Stream feeds into intake, register lines applied by every consumer before the claims after them.

    A line that is no record (no JSON, no known type, no identity) is named,
    and the exit code is 1. Over Kafka it is sent all the same, so that nothing
    is lost: it ends as a dead letter (gongji dead list), or is rejected where
    it has a number. Only a line of more than 1,000,000 bytes is not sent.
    """
    began = time.monotonic()
    tls = (tls_ca, tls_cert, tls_key)
    if http is not None:
        _send_over_http(http, files, began, tls, show=as_json)
        return
    if any(tls):
        raise UsageError("--tls-ca, --tls-cert and --tls-key are for --http; GONGJI_KAFKA_TLS_CA is Kafka's")
    sent = asyncio.run(_send(files, rate=rate, wait=wait))
    for place, what in sent.faults[:_FAULTS_SHOWN]:
        _say(f"{place}: {what}")
    if len(sent.faults) > _FAULTS_SHOWN:
        _say(f"and {len(sent.faults) - _FAULTS_SHOWN} more lines that cannot be taken")
    _say(f"sent {sent.register} register lines, {sent.submitted} submissions in {time.monotonic() - began:.1f} s")
    if sent.faults:
        refused = f"; {sent.too_large} of them are too large and were not sent" if sent.too_large else ""
        _say(f"{len(sent.faults)} lines are no records, and end as dead letters or rejections{refused}")
        raise typer.Exit(1)


def _send_over_http(url: str, files: Sequence[Path], began: float, tls: Sequence[Path | None], *, show: bool) -> None:
    from services.ops.feed_http import TlsFiles, send_over_http  # noqa: PLC0415 - the client takes a fifth of a second to import

    key = given("GONGJI_KEY")
    if not key:
        raise UsageError("--http needs the institution's key in GONGJI_KEY (gongji institution key create)")
    if not (key.isascii() and key.isprintable()):
        raise UsageError("GONGJI_KEY: this is no key; it is one line, as `gongji institution key create` printed it")
    with ExitStack() as until:
        streams = [(str(path), opened(path, until)) for path in files]
        answered = asyncio.run(send_over_http(url, key, _lines(streams), tls=TlsFiles(*tls), show=show, say=_say))
    for place, what in answered.faults[:_FAULTS_SHOWN]:
        _say(f"{place}: {what}")
    _say(f"{answered.outcomes} outcomes, {answered.rejected} of them rejections, in {time.monotonic() - began:.1f} s")
    if answered.faults:
        _say(f"{len(answered.faults)} lines were not taken")
        raise typer.Exit(1)


def _regions(given: Sequence[str] | None) -> list[str]:
    """The regions asked for, or those that have a pack. Raises UsageError."""
    if given is None:
        codes = sorted(path.name[:6] for path in policies_directory().glob("[0-9]*-*.yaml"))
        if not codes:
            raise UsageError(f"no policy pack in {policies_directory()}: name the regions with --regions")
        return codes
    codes = [code for one in given for code in one.split(",")]
    for code in codes:
        if not (len(code) == 6 and code.isascii() and code.isdecimal()):
            raise UsageError(f"--regions: {code!r} is no division code of six digits")
    return list(dict.fromkeys(codes))


async def _send(files: Sequence[Path], *, rate: float | None, wait: bool) -> Sent:
    from shared.runtime.service import prepare  # noqa: PLC0415 - the shell takes half a second to import
    from shared.runtime.topics import declared  # noqa: PLC0415

    with ExitStack() as until, _progress() as progress:
        streams = [(str(path), opened(path, until)) for path in files]
        settings = Settings.load()
        await prepare(settings)
        sizes = [path.stat().st_size if path.is_file() else 0 for path in files]
        task = progress.add_task("sending", total=sum(sizes) if all(sizes) else None)
        database = Database(settings.postgres, role="gongji_ops", name="gongji-feed")
        partitions = {name: topic.partitions for name, topic in declared(settings.partitions).items()}
        async with Feeder(settings.kafka, partitions) as feeder:
            barrier = Barrier(database, feeder.ends_of, lambda what: progress.update(task, description=f"waiting for {what}"))
            sending = Sending(
                feeder, barrier, rate=rate, advance=lambda size: progress.update(task, advance=size, description="sending")
            )
            try:
                return await sending.run(_lines(streams), wait=wait)
            finally:
                await database.close()


def _lines(streams: Sequence[tuple[str, BinaryIO]]) -> Iterator[Numbered]:
    for name, stream in streams:
        for number, line in lines_of(stream):
            yield name, number, line


def _progress() -> Progress:
    console = Console(stderr=True)
    return Progress(
        TextColumn("{task.description}"), BarColumn(), TaskProgressColumn(), TimeElapsedColumn(),
        console=console, transient=True, disable=not console.is_terminal,
    )  # fmt: skip


def _say(text: str) -> None:
    Console(stderr=True, highlight=False, markup=False, soft_wrap=True).print(text)
