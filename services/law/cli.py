"""``gongji policy``: lint, show, diff, test, coverage."""

import asyncio
import json
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Any

import typer

from services.law import coverage, matrix, readings, speed, words
from services.law.examples import read_examples, run, with_parameters
from services.law.movement import movement
from services.law.texts import Texts
from shared.errors import UsageError
from shared.policy import PackError, Policies
from shared.policy.lint import parameters_needed, read_pack
from shared.policy.pack import Pack, PackVersion
from shared.policy.reading import read_yaml
from shared.runtime.settings import policies_directory

app = typer.Typer(help="Policy packs: check, show, compare, test.", no_args_is_help=True)

_EXAMPLES = Path(__file__).parents[2] / "tests" / "scenarios"
Directory = Annotated[Path | None, typer.Argument(help="The directory of packs; by default the deployment's.")]
AsJson = Annotated[bool, typer.Option("--json", help="Machine output, one JSON object a line.")]


@app.command()
def lint(
    directory: Directory = None,
    parameters: Annotated[
        Path | None, typer.Option(envvar="GONGJI_PARAMETERS", help="The operator's figures, checked with the packs.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Checks packs with the operator's figures, as a service does at its start. Exit 1 when there is a fault."""
    where = directory or policies_directory()
    try:
        policies = Policies.load(where, parameters)
    except PackError as error:
        for fault in error.faults:
            typer.echo(json.dumps(fault._asdict(), ensure_ascii=False) if as_json else str(fault), err=not as_json)
        raise typer.Exit(1) from None
    typer.echo(f"{len(policies.regions)} packs, {len(policies.versions)} versions: no fault", err=True)


@app.command()
def show(
    region: Annotated[str | None, typer.Argument(help="A region's code; by default all.")] = None,
    directory: Annotated[Path | None, typer.Option(help="The directory of packs.")] = None,
    as_json: AsJson = False,
) -> None:
    """Says what packs say: each figure with its place, unit, dates and article, and what the operator must supply."""
    policies = Policies.load(directory or policies_directory())
    chosen = _chosen(policies, region)
    if as_json:
        for version in policies.versions:
            if version.region in {pack.region for pack in chosen}:
                said = {"region": version.region, "version": version.ref.version, "hash": version.ref.hash}
                typer.echo(json.dumps(said | {"content": json.loads(version.content)}, ensure_ascii=False))
        return
    for pack in chosen:
        typer.echo(f"{pack.region} {pack.name.zh} {pack.name.en}")
        for document in pack.provenance:
            typer.echo(f"  {document.id}: {document.document} {document.title} {document.date}")
        for number, reading in pack.interpretations.items():
            typer.echo(f"  {number} {reading.question} {reading.decision} ({reading.reason})")
        for name, unit in sorted(parameters_needed(pack).items()):
            typer.echo(f"  needs {name} ({unit})")
        for version_ in pack.versions:
            typer.echo(f"  version {version_.version}, {version_.from_}..{version_.to or ''}")
            for place, said_ in words.lines(version_).items():
                typer.echo(f"    {place}: {said_}")


@app.command()
def diff(
    old: Annotated[str, typer.Argument(help="FILE or FILE@VERSION (by default the last version).")],
    new: Annotated[str, typer.Argument(help="FILE or FILE@VERSION.")],
    feed: Annotated[Path | None, typer.Option(help="A feed: how many claims and how much money move.")] = None,
    parameters: Annotated[Path | None, typer.Option(help="The operator's figures, for the feed.")] = None,
) -> None:
    """Says in words what changes from one version to another. Exit 1 when something does."""
    (pack, before), (_, after) = _version(old), _version(new)
    said = words.changes(words.lines(before), words.lines(after))
    for line in said:
        typer.echo(line)
    if feed is not None:
        for line in asyncio.run(movement(pack, before, after, feed, parameters)):
            typer.echo(line)
    raise typer.Exit(1 if said else 0)


@app.command(name="test")
def settle_examples(
    directory: Directory = None,
    examples: Annotated[Path, typer.Option(help="The directory of worked examples.")] = _EXAMPLES,
) -> None:
    """Settles the worked examples with the packs. Exit 1 when one comes out otherwise."""
    policies, found = Policies.load(directory or policies_directory()), read_examples(examples)
    if not found:
        raise UsageError(f"{examples}: no examples (*.yaml) there")
    failed = 0
    for example in found:
        differences = asyncio.run(run(example, with_parameters(example, policies)))
        failed += bool(differences)
        for difference in differences:
            typer.echo(f"{example.file}: {example.name}: {difference}")
    typer.echo(f"{len(found)} examples, {failed} otherwise than expected", err=True)
    raise typer.Exit(1 if failed else 0)


@app.command(name="coverage")
def coverage_page(
    directory: Directory = None,
    examples: Annotated[Path, typer.Option(help="The directory of worked examples.")] = _EXAMPLES,
    as_json: AsJson = False,
) -> None:
    """Article by article: executable and tested, or why not; accounts and payment cell by cell; how open points are read."""
    where = directory or policies_directory()
    policies, texts, found = Policies.load(where), Texts.load(where), read_examples(examples)
    packs = list(policies.packs.values())
    if as_json:
        for pack in packs:
            for row in coverage.rows(pack, texts, found):
                typer.echo(json.dumps(row._asdict(), ensure_ascii=False))
        for cell in (cell for pack in packs for cell in matrix.cells(pack, policies, found)):
            typer.echo(json.dumps(cell._asdict(), ensure_ascii=False))
        for reading in readings.rows(packs):
            said = reading._asdict() | {"since": [day.isoformat() for day in reading.since]}
            typer.echo(json.dumps(said, ensure_ascii=False))
    else:
        typer.echo(coverage.page(packs, texts, policies, found))


@app.command(name="speed")
def engine_speed(directory: Directory = None) -> None:
    """The engine alone, side by side with reading the same claim. Exit 1 when it is slower than its goal."""
    speeds = list(speed.measure(Policies.load(directory or policies_directory())))
    typer.echo(speed.table(speeds))
    raise typer.Exit(1 if any(one.ratio > speed.GOAL for one in speeds) else 0)


@app.command()
def schema() -> None:
    """The JSON Schema of a pack, as it is shipped in policies/schema.json."""
    typer.echo(schema_text(), nl=False)


def schema_text() -> str:
    """The schema by which editors complete and check a pack."""
    described = Pack.model_json_schema(by_alias=True, mode="validation")
    described["$schema"] = "https://json-schema.org/draft/2020-12/schema"
    return json.dumps(described, ensure_ascii=False, indent=1) + "\n"


def _chosen(policies: Policies, region: str | None) -> Iterable[Pack]:
    if region is None:
        return list(policies.packs.values())
    if region not in policies.packs:
        raise UsageError(f"no pack for {region}: one of {', '.join(sorted(policies.packs))}")
    return [policies.packs[region]]


def _version(named: str) -> tuple[Pack, PackVersion]:
    name, _, version = named.partition("@")
    file = Path(name)
    if not file.is_file():
        raise UsageError(f"{name}: no such pack; name a file, or FILE@VERSION")
    data: Any = read_yaml(file.read_bytes(), file.name)
    pack = read_pack(data, file.name)
    if not version:
        return pack, pack.versions[-1]
    for one in pack.versions:
        if one.version == version:
            return pack, one
    raise UsageError(f"{name} has no version {version}: one of {', '.join(one.version for one in pack.versions)}")
