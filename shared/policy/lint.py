"""Reads packs and parameters strictly: the format, and whether what they say fits together.

Every fault is named with its file, its place, and how to mend it; a wrong pack never reaches a service.
"""

from collections.abc import Iterator, Mapping
from datetime import timedelta
from decimal import Decimal
from itertools import chain
from typing import Any

from pydantic import BaseModel, TypeAdapter, ValidationError

from shared.policy.accumulators import accumulator_faults
from shared.policy.coverage import ChronicInstead, Rule
from shared.policy.faults import Fault, PackError, path_of
from shared.policy.figure import Cited, Figure, Unit, exact
from shared.policy.pack import Pack, PackVersion
from shared.policy.parameters import Figures, Given
from shared.policy.supplied import supplied_faults
from shared.policy.tables import overlap_faults, table_faults

Found = tuple[str, str, str]  # path, fault, remedy

_REMEDIES = {
    "extra_forbidden": "remove the key; policies/schema.json has the right names",
    "string_type": "put it in quotes",
    "union_tag_invalid": "use a step of policies/README.md",
    "union_tag_not_found": "say which step it is",
}
_MISSING = {
    "article": "cite the article: the document's id, a colon, the number",
    "unit": "say the unit",
    "from": "say from which day it holds",
}
_CODED = ("chronic", "special_drug")  # benefits that a claim names with a code
_PARAMETERS = TypeAdapter(dict[str, dict[str, tuple[Given, ...]]])


def read_pack(data: Any, file: str) -> Pack:
    """Checks what was read from a file against the format and against itself. Raises PackError with every fault."""
    try:
        pack = Pack.model_validate(data)
    except ValidationError as error:
        raise PackError(_format_faults(error, file)) from error
    checks = (_span_faults, _citation_faults, _need_faults, _benefit_faults, table_faults, accumulator_faults)
    faults = [Fault(file, *found) for check in checks for found in check(pack)]
    if faults:
        raise PackError(faults)
    return pack


def read_parameters(data: Any, packs: Mapping[str, Pack], file: str) -> dict[str, Figures]:
    """Checks a parameters file, ``{region: {name: [{from, value}]}}``, against what the packs need.

    Raises PackError with every fault: a misspelt name would otherwise leave a benefit unconfigured in silence.
    """
    if isinstance(data, dict):
        data = {str(region): given for region, given in data.items()}  # 130900 unquoted is meant as a region
    try:
        checked = _PARAMETERS.validate_python(data)
    except ValidationError as error:
        raise PackError(_format_faults(error, file)) from error
    faults = []
    for region, given in checked.items():
        if region not in packs:
            faults.append(Fault(file, region, "no pack for this region", f"one of {', '.join(sorted(packs))}"))
            continue
        needed = parameters_needed(packs[region])
        for name, rows in given.items():
            unit = _unit_of(name, needed)
            if unit is None:
                remedy = f"one of {', '.join(sorted(needed))}"
                faults.append(Fault(file, f"{region}.{name}", "nothing in the pack needs it", remedy))
                continue
            faults += [Fault(file, f"{region}.{name}{path}", said, mend) for path, said, mend in _value_faults(rows, unit)]
    figures = {region: Figures(given) for region, given in checked.items()}
    if not faults:
        found = ((region, told) for region, given in figures.items() for told in supplied_faults(packs[region], given))
        faults = [Fault(file, f"{region}.{name}", said, mend) for region, (name, said, mend) in found]
    if faults:
        raise PackError(faults)
    return figures


def parameters_needed(pack: Pack) -> dict[str, Unit]:
    """The parameters a pack asks the operator for, with their units. ``{benefit}`` stands for any coded benefit."""
    return {name: unit for _, name, unit in _needs(pack)}


def _needs(pack: Pack) -> Iterator[tuple[str, str, Unit]]:
    """Where which parameter is needed, in which unit."""
    for index, version in enumerate(pack.versions):
        sections = ("benefits", "account", "payment")
        for path, cited in chain.from_iterable(cited_in(getattr(version, name), name) for name in sections):
            if isinstance(cited, Figure) and cited.needs is not None:
                benefit = path.split(".")[1]
                called = f"{benefit}:CODE" if benefit in _CODED else benefit
                place = f"versions[{index}].{path}"
                yield f"{place}.needs", cited.needs.replace("{benefit}", called), cited.unit
                if cited.share_of is not None:
                    yield f"{place}.share_of.of", cited.share_of.of, "yuan"


def cited_in(value: Any, path: str) -> Iterator[tuple[str, Cited]]:
    """Every cited thing below a value, with its path."""
    if isinstance(value, Cited):
        yield path, value
    if isinstance(value, BaseModel):
        for name, field in type(value).model_fields.items():
            yield from cited_in(getattr(value, name), f"{path}.{field.alias or name}")
    elif isinstance(value, dict):
        for name, item in value.items():
            yield from cited_in(item, f"{path}.{name}")
    elif isinstance(value, tuple | list):
        for index, item in enumerate(value):
            yield from cited_in(item, f"{path}[{index}]")


def _format_faults(error: ValidationError, file: str) -> list[Fault]:
    """Pydantic's findings in our words, without those that only follow from others."""
    details = error.errors(include_url=False)
    faults = []
    for detail in details:
        place = detail["loc"]
        below = any(other["loc"][: len(place)] == place and other["loc"] != place for other in details)
        if detail["type"] == "too_short" and below:
            continue
        remedy = _REMEDIES.get(detail["type"], "correct the value")
        if detail["type"] == "missing":
            remedy = _MISSING.get(str(place[-1]), "add the key")
        faults.append(Fault(file, path_of(_without_tags(place)), detail["msg"].removeprefix("Value error, "), remedy))
    return faults


def _without_tags(place: tuple[str | int, ...]) -> tuple[str | int, ...]:
    """Pydantic names a step's kind after its index, and a form after its value or payment; the file does not."""
    return tuple(
        part
        for index, part in enumerate(place)
        if not (index > 1 and isinstance(place[index - 1], int) and place[index - 2] in {"pool", "after"})
        and not (part in {"figure", "table"} and place[index - 1] == "value")
        and not (part in {"by_item", "monthly_budget"} and place[index - 1] == "payment")
    )


def _span_faults(pack: Pack) -> Iterator[Found]:
    """Holes and overlaps between versions, and names used twice."""
    names = [version.version for version in pack.versions]
    if len(set(names)) < len(names):
        yield "versions", "two versions have the same name", "name each version once"
    for index, (earlier, later) in enumerate(zip(pack.versions, pack.versions[1:], strict=False)):
        path = f"versions[{index + 1}].from"
        if earlier.to is None or later.from_ <= earlier.to:
            yield path, f"overlaps version {earlier.version}", "end the earlier version the day before"
        elif later.from_ > earlier.to + timedelta(days=1):
            yield path, f"leaves a hole after {earlier.to}", "begin the day after the earlier version ends"
    for index, version in enumerate(pack.versions):
        if version.to is not None and version.to < version.from_:
            yield f"versions[{index}].to", "to is before from", "correct the dates"


def _citation_faults(pack: Pack) -> Iterator[Found]:
    """Articles that the provenance does not list; readings that the pack does not explain, or that set nothing."""
    documents = {document.id: document.articles for document in pack.provenance}
    if len(documents) < len(pack.provenance):
        yield "provenance", "two documents have the same id", "give each one of its own"
    for index, version in enumerate(pack.versions):
        for path, cited in cited_in(version, f"versions[{index}]"):
            document, _, article = cited.article.partition(":")
            if not 1 <= int(article.partition(".")[0]) <= documents.get(document, 0):
                yield f"{path}.article", f"{cited.article} is not in the provenance", "cite a document listed there"
            if cited.reads is not None and cited.reads not in pack.interpretations:
                yield f"{path}.reads", f"{cited.reads} is not explained", "add it under interpretations"
    for name, reading in pack.interpretations.items():
        if reading.to is not None and reading.to < reading.from_:
            yield f"interpretations.{name}.to", "to is before from", "correct the dates"
        if not any(_has(version, reading.setting) for version in pack.versions):
            path = f"interpretations.{name}.setting"
            yield path, f"no version has {reading.setting}", "name the place of the setting inside a version"


def _need_faults(pack: Pack) -> Iterator[Found]:
    """Parameters needed in two units, of which the operator could give one."""
    units: dict[str, Unit] = {}
    for path, name, unit in _needs(pack):
        if units.setdefault(name, unit) != unit:
            yield path, f"{name} is needed in {units[name]} elsewhere, here in {unit}", "name two parameters"


def _benefit_faults(pack: Pack) -> Iterator[Found]:
    """Rules for benefits that the version does not have: who falls under one would get nothing."""
    for index, version in enumerate(pack.versions):
        for path, cited in cited_in(version.coverage, f"versions[{index}].coverage"):
            for name in _benefits_of(cited):
                if getattr(version.benefits, name) is None:
                    yield path, f"the version has no benefit {name}", "add the benefit, or leave it out here"


def _benefits_of(cited: Cited) -> tuple[str, ...]:
    if isinstance(cited, ChronicInstead):
        return ("chronic",)
    return cited.benefits or () if isinstance(cited, Rule) else ()


def _has(version: PackVersion, path: str) -> bool:
    """Whether a dotted path leads to a place inside a version; a rule that is left out has its place too."""
    found: Any = version
    for part in path.split("."):
        if isinstance(found, tuple) and part.isdigit() and int(part) < len(found):
            found = found[int(part)]
        elif isinstance(found, BaseModel):
            names = {field.alias or name: name for name, field in type(found).model_fields.items()}
            if part not in names:
                return False
            found = getattr(found, names[part])
        else:
            return False
    return True


def _unit_of(name: str, needed: Mapping[str, Unit]) -> Unit | None:
    """The unit of a parameter, its benefit's code replaced by the word CODE."""
    head, colon, rest = name.partition(":")
    if colon and "." in rest:
        name = f"{head}:CODE.{rest.rpartition('.')[2]}"
    return needed.get(name)


def _value_faults(rows: tuple[Given, ...], unit: Unit) -> Iterator[Found]:
    """Values that do not fit the unit; two rows from one day, or in one table for the same members."""
    starts = [row.from_ for row in rows]
    if len(set(starts)) < len(starts):
        yield "", "two values from the same day", "keep one of them"
    for index, row in enumerate(rows):
        values = [row.value] if isinstance(row.value, Decimal) else [item.value for item in row.value]
        for value in values:
            try:
                exact(value, unit)
            except ValueError as error:
                yield f"[{index}].value", str(error), f"give it in {unit}"
        if row.to is not None and row.to < row.from_:
            yield f"[{index}].to", "to is before from", "correct the dates"
        if not isinstance(row.value, Decimal):
            yield from overlap_faults(row.value, row.from_, f"[{index}].value")
