"""Where a process listens: the address that a variable gives, and the socket on it."""

import os
import socket
from typing import Final, NamedTuple

from shared.errors import UsageError

_LOOPBACK: Final = "127.0.0.1"


class Place(NamedTuple):
    """A host, and a port that is 0 for a free one."""

    host: str
    port: int


def place_of(variable: str) -> Place:
    """The place that a variable gives as host:port; a free port on loopback without it. Raises UsageError."""
    address = os.environ.get(variable, f"{_LOOPBACK}:0")
    host, colon, port = address.rpartition(":")
    if not (colon and port.isascii() and port.isdecimal() and int(port) < 65536):
        raise UsageError(f"{variable}={address!r}: give host:port")
    return Place(host.strip("[]") or _LOOPBACK, int(port))


def listener(variable: str, place: Place, *, backlog: int | None = None) -> socket.socket:
    """A socket that listens there. Raises UsageError where it cannot."""
    family = socket.AF_INET6 if ":" in place.host else socket.AF_INET
    try:
        return socket.create_server(place, family=family, backlog=backlog)
    except OSError as trouble:
        why = str(trouble.strerror).partition(" (")[0]  # what follows is the address again
        raise UsageError(f"{variable}={place.host}:{place.port}: {why}") from trouble
