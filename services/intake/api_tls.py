"""The counter's TLS, agreed on within the limits of a plain door: so many connections at once, and each for so long.

An event loop that is left to serve TLS tells nobody of a connection until its handshake is done: who never ends it would be
counted by no limit, and keep one of the process's files for a minute.
"""

import asyncio
import socket
import ssl
from collections.abc import Callable
from typing import Final

from shared.runtime.ending import ended

_HANDSHAKE_SECONDS: Final = 10.0
_AGAIN_SECONDS: Final = 0.2  # where there is no file left for one more


async def take_in(
    door: socket.socket, context: ssl.SSLContext, protocol: Callable[[], asyncio.Protocol], is_full: Callable[[int], bool]
) -> None:
    """Takes connections until it is cancelled, and closes the door.

    ``is_full`` says whether there are too many, with so many at their handshake.
    """
    door.setblocking(False)
    agreeing: set[asyncio.Task[None]] = set()
    try:
        while True:
            try:
                connection, _ = await asyncio.get_running_loop().sock_accept(door)
            except OSError:
                await asyncio.sleep(_AGAIN_SECONDS)
                continue
            if is_full(len(agreeing)):
                connection.close()
            else:
                task = asyncio.create_task(_agree(connection, context, protocol))
                agreeing.add(task)
                task.add_done_callback(agreeing.discard)
            await asyncio.sleep(0)  # who comes in crowds does not keep the others from their turn
    finally:
        door.close()
        await ended(*agreeing)


async def _agree(connection: socket.socket, context: ssl.SSLContext, protocol: Callable[[], asyncio.Protocol]) -> None:
    try:
        await asyncio.get_running_loop().connect_accepted_socket(
            protocol, connection, ssl=context, ssl_handshake_timeout=_HANDSHAKE_SECONDS
        )
    except OSError:  # also what OpenSSL says, and that it took too long; the loop has closed it
        return
