"""The command ``gongji claim explain``: a claim's amounts worked out anew from its stored grounds, with the articles."""

import asyncio
import sys
from typing import Annotated

import msgspec
import typer
from rich.console import Console

from services.explain import Working, refused, work_out
from services.explain_grounds import Found, found, institutions, undecided
from services.explain_table import shown
from services.law.texts import Texts
from shared import outcome as outcomes
from shared.errors import Stop
from shared.policy import PackError, Policies
from shared.policy.pack import Document
from shared.runtime.database import reader
from shared.runtime.settings import Settings, policies_directory

_WIDTH = 150  # where there is no terminal to ask


def explain(
    claim_no: Annotated[str, typer.Argument(help="The institution's number of the claim or account use.")],
    institution: Annotated[str | None, typer.Option(help="Whose number it is, where several have it.", metavar="ID")] = None,
    *,
    as_json: Annotated[bool, typer.Option("--json", help="One object an outcome, with its trace.")] = False,
) -> None:
    """Work a claim's amounts out anew from its stored grounds, and say by which articles. Exit 1 if they differ."""
    workings = [(one, _worked_out(one)) for one in asyncio.run(_read(Settings.load(), claim_no, institution))]
    if as_json:
        for one, working in workings:
            sys.stdout.buffer.write(_line(one, working) + b"\n")
        sys.stdout.buffer.flush()
    else:
        _show(workings)
    if any(working.differences for _, working in workings):
        raise Stop(f"{claim_no}: the stored result is not what its stored grounds give")


async def _read(settings: Settings, claim_no: str, institution: str | None) -> list[Found]:
    """Raises Stop where there is nothing to explain, or it is not clear what."""
    async with reader(settings.postgres) as connection:
        whose = [institution] if institution else await institutions(connection, claim_no)
        if len(whose) > 1:
            raise Stop(f"several institutions have a {claim_no}: say which with --institution: {', '.join(whose)}")
        key = (whose[0] if whose else "", claim_no)
        results = await found(connection, key)
        if not results and await undecided(connection, key):
            raise Stop(f"{claim_no} is accepted and still on its way; ask again when it is settled")
    if not results:
        raise Stop(f"nobody has sent a {claim_no}" + (f" from {institution}" if institution else ""))
    return results


def _worked_out(one: Found) -> Working:
    if one.grounds is None:
        return refused(one.outcome, one.standing)
    try:
        return work_out(one.outcome, one.grounds)
    except (ValueError, LookupError, TypeError, AttributeError, AssertionError) as failure:  # grounds that were tampered with
        return Working((), (f"the stored grounds cannot be worked out: {type(failure).__name__}: {failure}",))


def _line(one: Found, working: Working) -> bytes:
    told = msgspec.json.decode(outcomes.encode(msgspec.structs.replace(one.outcome, trace=working.trace)))
    proven = None if working.unproven is not None else not working.differences
    said = {"differences": working.differences} if working.differences else {}
    return msgspec.json.encode(told | {"proven": proven} | said)


def _show(workings: list[tuple[Found, Working]]) -> None:
    console = Console(stderr=True, highlight=False, markup=False)
    if not console.is_terminal:
        console = Console(stderr=True, highlight=False, markup=False, width=_WIDTH)
    texts, documents = Texts({}), dict[str, Document]()
    try:
        texts = Texts.load(policies_directory())
        packs = Policies.load(policies_directory()).packs.values()
        documents = {document.id: document for pack in packs for document in pack.provenance}
    except PackError as error:  # the amounts rest on the stored pack; only the quotations are missing
        console.print(f"the articles cannot be quoted: {error}")
    for one, working in workings:
        console.print(shown(one.outcome, working, texts, documents))
