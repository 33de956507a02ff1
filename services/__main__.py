"""``gongji``: the composition root and the command line (contract.md, section 4).

Exit codes: 0 done; 1 done, and a difference, rejection or breach was found; 2 usage; 3 a needed server is not there.
"""

import sys
from importlib import import_module
from typing import Final

import typer

from shared.errors import ServerMissing, Stop, UsageError

_PLACES: Final = {
    "servers": "deploy.local.cli:app",
    "serve": "services.serve:serve",
    "feed": "services.ops.feed:app",
    "clearing": "services.crossregion.cli:app",
    "account": "services.account.cli:app",
    "fund": "services.account.fund_cli:app",
    "ledger": "services.account.ledger_cli:app",
    "institution": "services.intake.keys_cli:app",
    "policy": "services.law.cli:app",
    "dead": "services.ops.dead:app",
    "lease": "services.ops.lease:app",
    "counters": "services.ops.counters:app",
    "claim": "services.claim_cli:app",
    "demo": "services.demo.cli:demo",
    "audit": "services.audit_cli:audit",
    "bench": "services.bench.cli:bench",
    "replay": "services.replay_cli:replay",
}


def command_line(verb: str | None = None) -> typer.Typer:
    """The command line with one verb, so that a service does not import the others; with all where the verb is none of them."""
    made = typer.Typer(name="gongji", no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False)
    made.callback()(_gongji)
    for name in [verb] if verb in _PLACES else _PLACES:
        module, attribute = _PLACES[name].split(":")
        found = getattr(import_module(module), attribute)
        if isinstance(found, typer.Typer):
            made.add_typer(found, name=name)
        else:
            made.command(name)(found)
    return made


def _gongji() -> None:
    """Streaming settlement of outpatient claims of China's employee medical insurance."""


def main() -> None:
    """Runs the command line; errors become one message and the contract's exit code."""
    try:
        command_line(next(iter(sys.argv[1:]), None))()
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
