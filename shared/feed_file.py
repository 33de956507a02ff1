"""A feed as a file: its lines, numbered as an editor numbers them."""

import codecs
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import BinaryIO

from shared.errors import UsageError


def opened(path: Path, until: ExitStack) -> BinaryIO:
    """The file's bytes, or standard input for ``-``. Raises UsageError."""
    if str(path) == "-":
        return sys.stdin.buffer
    try:
        return until.enter_context(path.open("rb"))
    except OSError as fault:
        raise UsageError(f"{path}: {fault.strerror}; give an NDJSON file, or - for standard input") from fault


def lines_of(stream: BinaryIO) -> Iterator[tuple[int, bytes]]:
    """Every line with its number, from 1. A byte order mark at the start is the file's, not the first record's.

    Anywhere else it is left to whoever reads the line: no record begins with it.
    """
    for number, line in enumerate(stream, 1):
        yield number, line.removeprefix(codecs.BOM_UTF8) if number == 1 else line
