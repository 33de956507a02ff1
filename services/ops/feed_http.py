"""A feed through the counter, as an institution sends it: with its key, its own claims, an answer for each line."""

import asyncio
import ssl
import sys
import time
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, NamedTuple
from urllib.parse import urlsplit

import aiohttp
import msgspec

from services.client import CounterClient, Refused, Unknown
from services.ops.send import MAX_LINE_BYTES, Numbered
from shared.errors import ServerMissing, UsageError
from shared.runtime.pem import usable

_PATIENCE_SECONDS: Final = 30.0
_AGAIN_SECONDS: Final = 1.0


class TlsFiles(NamedTuple):
    """Whose certificates the counter may show, unless this machine knows them by itself; our own, and its key."""

    authority: Path | None = None
    certificate: Path | None = None
    key: Path | None = None

    def context(self, url: str) -> ssl.SSLContext | None:
        """How the counter's door is passed; None where no file was given. Raises UsageError for files of no use."""
        if not any(self):
            return None
        if not url.lower().startswith("https:"):
            raise UsageError(f"--http: {url!r} has no TLS; --tls-ca, --tls-cert and --tls-key are for https://host:port")
        if self.key and not self.certificate:
            raise UsageError(f"--tls-key {self.key}: give --tls-cert too, the certificate that it belongs to")
        with usable(f"--tls-ca {self.authority}", "the certificates of the counter's authority are needed, in PEM"):
            context = ssl.create_default_context(cafile=self.authority)
        if self.certificate:
            named = f"--tls-cert {self.certificate}" + (f", --tls-key {self.key}" if self.key else "")
            with usable(named, "a certificate and its own key are needed, in PEM and without a password"):
                context.load_cert_chain(self.certificate, self.key, password="")
        return context


@dataclass
class Answered:
    """What came back. ``faults``: (file:line, what is wrong) of lines that the counter did not take."""

    outcomes: int = 0
    rejected: int = 0
    faults: list[tuple[str, str]] = field(default_factory=list)

    def take(self, place: str, answer: Mapping[str, Any]) -> None:
        """Counts the answer to the line at this place."""
        if answer["type"] == "problem":
            self.faults.append((place, str(answer["problem"]["detail"])))
        else:
            self.outcomes += 1
            self.rejected += answer["outcome"] == "rejected"


async def send_over_http(
    url: str,
    key: str,
    lines: Iterable[Numbered],
    *,
    show: bool,
    say: Callable[[str], None],
    tls: TlsFiles | None = None,
    patience: float = _PATIENCE_SECONDS,
) -> Answered:
    """Streams the lines; with ``show`` prints each answer as it comes; ``say`` hears of trouble as it comes.

    ``patience``: seconds for a first connection. Raises ServerMissing, UsageError.
    """
    check_address(url)
    context = tls.context(url) if tls else None
    answered = Answered()
    places: deque[str] = deque()  # of the lines on their way
    try:
        async with CounterClient(url, key, cut=lambda why: say(f"the stream was cut ({why}); going on"), tls=context) as counter:
            await _reach(counter, url, say, patience)
            async for answer in counter.feed(_sent(lines, answered, places)):
                place = places.popleft()
                if show:
                    sys.stdout.buffer.write(msgspec.json.encode(answer) + b"\n")
                answered.take(place, answer)
    except Refused as refused:
        raise UsageError(f"{url}: {refused}") from refused
    except Unknown as unknown:
        raise ServerMissing("counter", f"{url}: {unknown}; {_remedy(unknown)}, and send the file again") from unknown
    return answered


async def _sent(lines: Iterable[Numbered], answered: Answered, places: deque[str]) -> AsyncIterator[bytes]:
    for name, number, raw in lines:
        if len(raw) > MAX_LINE_BYTES:  # the counter would end the stream at it, and each that is sent again
            answered.faults.append((f"{name}:{number}", f"{len(raw)} bytes; a record has at most {MAX_LINE_BYTES}: not sent"))
        elif raw.strip():
            places.append(f"{name}:{number}")
            yield raw
            await asyncio.sleep(0)


def _remedy(unknown: Unknown) -> str:
    """What to do about a counter that could not be reached."""
    trouble = unknown.__cause__
    if isinstance(trouble, aiohttp.ClientConnectorCertificateError):
        return "give its certificate's authority with --tls-ca, and in the URL the name that the certificate has"
    reason = trouble.os_error if isinstance(trouble, aiohttp.ClientConnectorError) else trouble
    if isinstance(reason, aiohttp.ServerDisconnectedError | ConnectionResetError | ssl.SSLError):  # it is there, and hung up
        return "see whether the URL is its own, https where it has TLS, and give with --tls-cert what it takes if it asks for one"
    return "start it with `gongji serve all`, see whether the URL is its own"


def check_address(url: str) -> None:
    """Raises UsageError for a text that is no address of a counter."""
    try:
        found = urlsplit(url)
        good = found.scheme in {"http", "https"} and bool(found.hostname) and found.port != 0 and not found.query
    except ValueError:
        good = False
    if not good:
        raise UsageError(f"--http: {url!r} is no address of a counter; it has the form http://host:port or https://host:port")


async def _reach(counter: CounterClient, url: str, say: Callable[[str], None], patience: float) -> None:
    """Waits for the first connection, and says so: what was sent before it was never on its way. Raises Unknown."""
    deadline = time.monotonic() + patience
    told = False
    while True:
        try:
            return await counter.reach()
        except Unknown as unknown:
            if time.monotonic() > deadline or isinstance(unknown.__cause__, aiohttp.ClientConnectorCertificateError):
                raise
            if not told:
                say(f"{url}: {unknown}; trying again for {patience:g} s ({_remedy(unknown)})")
                told = True
        await asyncio.sleep(_AGAIN_SECONDS)
