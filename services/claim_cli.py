"""``gongji claim``: a journey, how its amounts came about, a person's year worked out again."""

import typer

from services.explain_cli import explain
from services.ops.claim_show import show
from services.readjudication_cli import due, readjudicate

app = typer.Typer(help="Claims: a journey, how its amounts came about, a person's year worked out again.", no_args_is_help=True)
app.command()(show)
app.command()(explain)
app.command()(readjudicate)
app.command()(due)
