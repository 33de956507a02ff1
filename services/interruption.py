"""Commands that start servers and end them again: Ctrl-C and SIGTERM interrupt them, and nothing interrupts the ending."""

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Final

import typer

_SIGNALS: Final = (signal.SIGINT, signal.SIGTERM)
_INTERRUPTED: Final = 130


@contextmanager
def interruptible() -> Iterator[None]:
    """SIGTERM interrupts as Ctrl-C does; both are as they were afterwards. Raises typer.Exit once what is inside has ended."""

    def interrupt(_number: int, _frame: FrameType | None) -> None:
        signal.raise_signal(signal.SIGINT)

    with _as_they_were():
        signal.signal(signal.SIGINT, signal.default_int_handler)  # ignored where a shell started us in the background
        signal.signal(signal.SIGTERM, interrupt)
        try:
            yield
        except KeyboardInterrupt:
            typer.echo("gongji: interrupted; everything that was started is stopped", err=True)
            raise typer.Exit(_INTERRUPTED) from None


@contextmanager
def uninterrupted() -> Iterator[None]:
    """Neither signal interrupts what is inside."""
    with _as_they_were():
        deafen()
        yield


def deafen() -> None:
    """Neither signal interrupts from now on, until the end of ``interruptible``."""
    for number in _SIGNALS:
        signal.signal(number, signal.SIG_IGN)


@contextmanager
def _as_they_were() -> Iterator[None]:
    before = {number: signal.getsignal(number) for number in _SIGNALS}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
