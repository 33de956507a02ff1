"""``gongji``: the composition root and the command line (contract.md, section 4).

Exit codes: 0 done; 1 done, and a difference, rejection or breach was found; 2 usage; 3 a needed server is not there.
"""

import sys
from typing import Annotated

import typer

from deploy.local.cli import app as servers_app
from services import serve as serving
from services.account.cli import app as account_app
from services.account.fund_cli import app as fund_app
from services.account.ledger_cli import app as ledger_app
from services.audit_cli import audit
from services.bench.cli import bench
from services.crossregion.cli import app as clearing_app
from services.demo.cli import demo
from services.explain_cli import explain
from services.intake.keys_cli import app as institution_app
from services.law.cli import app as policy_app
from services.ops.claim_show import show as show_claim
from services.ops.counters import app as counters_app
from services.ops.dead import app as dead_app
from services.ops.feed import app as feed_app
from services.ops.lease import app as lease_app
from services.pipeline import SERVICES
from services.readjudication_cli import due, readjudicate
from services.replay_cli import replay
from shared.errors import ServerMissing, Stop, UsageError

app = typer.Typer(
    name="gongji",
    help="Streaming settlement of outpatient claims of China's employee medical insurance.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
app.add_typer(servers_app, name="servers")
app.add_typer(feed_app, name="feed")
app.add_typer(clearing_app, name="clearing")
app.add_typer(account_app, name="account")
app.add_typer(fund_app, name="fund")
app.add_typer(ledger_app, name="ledger")
app.add_typer(institution_app, name="institution")
app.add_typer(policy_app, name="policy")
app.add_typer(dead_app, name="dead")
app.add_typer(lease_app, name="lease")
app.add_typer(counters_app, name="counters")
claim_app = typer.Typer(
    help="Claims: a journey, how its amounts came about, a person's year worked out again.", no_args_is_help=True
)
claim_app.command("show")(show_claim)
claim_app.command("explain")(explain)
claim_app.command("readjudicate")(readjudicate)
claim_app.command("due")(due)
app.add_typer(claim_app, name="claim")
app.command()(demo)
app.command()(audit)
app.command()(bench)
app.command()(replay)


@app.command()
def serve(services: Annotated[list[str], typer.Argument(help=f"One or more of {', '.join(SERVICES)}; or all.")]) -> None:
    """Run services until SIGTERM; `all` runs each as a process and restarts one that dies."""
    names = list(SERVICES) if services == ["all"] else services
    unknown = [name for name in names if name not in SERVICES]
    if unknown:
        raise UsageError(f"there is no service {unknown[0]!r}; there are {', '.join(SERVICES)}, and all")
    if len(names) == 1 and services != ["all"]:
        serving.one(names[0])
    else:
        serving.several(names)


def main() -> None:
    """Runs the command line; errors become one message and the contract's exit code."""
    try:
        app()
    except ServerMissing as missing:
        _end(f"{missing.server}: {missing.remedy}", 3)
    except UsageError as usage:
        _end(str(usage), 2)
    except Stop as stop:
        _end(str(stop), 1)


def _end(message: str, code: int) -> None:
    typer.echo(f"gongji: {message}", err=True)
    sys.exit(code)


if __name__ == "__main__":
    main()
