"""``gongji institution key create | revoke | list``: who may use the counter."""

import asyncio
import json
from typing import Annotated, Any

import asyncpg
import typer

from services.intake import keys
from services.intake.forms import is_identifier
from shared.errors import UsageError
from shared.runtime.command import stated
from shared.runtime.database import reach
from shared.runtime.settings import Settings

app = typer.Typer(name="institution", help="Institutions and their keys.", no_args_is_help=True)
key_app = typer.Typer(name="key", help="API keys for the counter.", no_args_is_help=True)
app.add_typer(key_app)

_Why = Annotated[str, typer.Option("--reason", help="Why; kept with who and when.")]
_Json = Annotated[bool, typer.Option("--json", help="One JSON object a line.")]


@key_app.command()
def create(
    institution_id: Annotated[str, typer.Argument(help="Whose claims the key may submit and see.")],
    reason: _Why = "",
    *,
    as_json: _Json = False,
) -> None:
    """Make a key. It is shown now and never again.

    The institution need not be in the register yet: keys are handed over when the agreement is signed, and until its line has
    come all that the key can submit is rejected (unknown_institution). A slip of the pen looks the same, so it is said.
    """
    why = stated(reason)
    if not is_identifier(institution_id):
        raise UsageError(f"{institution_id!r} is no institution's id")
    key = keys.new_key()
    known = asyncio.run(_run(lambda connection: keys.keep(connection, institution_id, key, why)))
    if as_json:
        told = {"institution_id": institution_id, "key_id": key.key_id, "key": key.text, "registered": known}
        typer.echo(json.dumps(told))
    else:
        typer.echo(key.text)
    if not known:
        typer.echo(
            f"gongji: warning: the register does not know {institution_id} yet; until it does, what comes with this key is"
            f" rejected (unknown_institution). If the id is wrong: gongji institution key revoke {key.key_id} --reason …",
            err=True,
        )


@key_app.command()
def revoke(
    key_id: Annotated[str, typer.Argument(help="The key's id: the part between the underscores.")], reason: _Why = ""
) -> None:
    """End a key. Within five seconds no process takes it any more."""
    why = stated(reason)
    if not asyncio.run(_run(lambda connection: keys.revoke(connection, key_id, why))):
        typer.echo(f"gongji: no key {key_id} is in force", err=True)
        raise typer.Exit(1)


@key_app.command(name="list")
def list_(institution_id: Annotated[str | None, typer.Argument(help="Of one institution; all unless given.")] = None) -> None:
    """List keys by id, one JSON object a line; the keys themselves are kept nowhere."""
    rows = asyncio.run(_run(lambda connection: connection.fetch(_LIST, institution_id)))
    if institution_id is not None and not rows:
        typer.echo(f"gongji: nobody made a key for {institution_id}", err=True)
        raise typer.Exit(1)
    for row in rows:
        typer.echo(json.dumps(dict(row), default=lambda instant: instant.isoformat()))


async def _run(work: Any) -> Any:
    settings = Settings.load()
    await reach(settings.postgres)
    connection = await asyncpg.connect(settings.postgres)
    try:
        return await work(connection)
    except asyncpg.UndefinedTableError as missing:
        raise UsageError("these books have no keys yet: start the services once (gongji serve all)") from missing
    finally:
        await connection.close()


_LIST = """
    select key_id, institution_id, created_at, revoked_at from intake.api_key
    where $1::text is null or institution_id = $1 order by created_at
"""
