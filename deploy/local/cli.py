"""`gongji servers up | down | status`: the local servers from the command line."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from typing import Annotated

import typer
from rich.console import Console

from deploy.local import servers
from deploy.local.servers import Addresses
from shared.errors import ServerMissing, UsageError
from shared.runtime.settings import home_directory

app = typer.Typer(name="servers", help="The local Kafka, Postgres and Redis.", no_args_is_help=True)

Json = Annotated[bool, typer.Option("--json", help="Print addresses and pids as one JSON object.")]

_USAGE, _NOT_THERE = 2, 3  # exit codes of every command
_SCARCE = 2 << 30  # bytes: at 4,000 claims a second Kafka and Postgres fill some 25 MiB a second, this in a minute and a half


@app.command()
def up(*, as_json: Json = False) -> None:
    """Start what is not running, on its own data and ports; return when all three answer."""
    with _exit_codes():
        _show(servers.up(home_directory()), as_json=as_json)


@app.command()
def down() -> None:
    """Stop what is running; data and ports stay for the next `up`."""
    with _exit_codes():
        servers.down(home_directory())
    _say("stopped")


@app.command()
def status(*, as_json: Json = False) -> None:
    """Say where the servers are and which of them run; exit 3 when one does not."""
    addresses = servers.status(home_directory())
    if addresses is None:
        _say(f"no servers in {home_directory()} yet: `gongji servers up` starts them")
        raise typer.Exit(_NOT_THERE)
    _show(addresses, as_json=as_json)
    for name, left in servers.room(home_directory()).items():
        if left < _SCARCE:
            _say(f"{name}: {left >> 20} MiB left on its disk; when it is full, claims wait and none is lost: give it space")
    if addresses.dead:
        _say(f"not running: {', '.join(addresses.dead)}; `gongji servers up` starts them on the same data")
        raise typer.Exit(_NOT_THERE)


@contextmanager
def _exit_codes() -> Iterator[None]:
    """Failures as one message and the exit code of contract.md, section 4."""
    try:
        yield
    except (ServerMissing, UsageError) as failure:
        _say(str(failure))
        raise typer.Exit(_NOT_THERE if isinstance(failure, ServerMissing) else _USAGE) from failure


def _show(addresses: Addresses, *, as_json: bool) -> None:
    if as_json:
        typer.echo(json.dumps(asdict(addresses)))
        return
    for name, pid in addresses.pids.items():
        _say(f"{name:<9} {getattr(addresses, name)}  {f'pid {pid}' if pid else 'not running'}")


def _say(text: str) -> None:
    Console(stderr=True, highlight=False, markup=False, soft_wrap=True).print(text)
