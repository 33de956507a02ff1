"""What a version says, line by line, for people: place in the pack -> figure with unit, dates and article."""

from collections.abc import Iterator, Mapping
from typing import Any

from pydantic import BaseModel

from shared.policy.figure import Cited, Figure, Row
from shared.policy.pack import PackVersion


def lines(version: PackVersion) -> dict[str, str]:
    """The version as an ordered table: where -> what."""
    return dict(_lines(version, ""))


def changes(old: Mapping[str, str], new: Mapping[str, str]) -> list[str]:
    """What is different in the second table, in words."""
    said = []
    for place in dict.fromkeys([*old, *new]):
        before, after = old.get(place), new.get(place)
        if before is None:
            said.append(f"+ {place}: {after}")
        elif after is None:
            said.append(f"- {place}: {before}")
        elif before != after:
            said.append(f"~ {place}: {before} -> {after}")
    return said


def _lines(value: Any, place: str) -> Iterator[tuple[str, str]]:
    if isinstance(value, Row):
        yield f"{place}{_for_whom(value)}", _figure(value)
    elif isinstance(value, BaseModel):
        for name, field in type(value).model_fields.items():
            part = getattr(value, name)
            if part is None or part == () or name == "step" or (name in {"article", "reads"} and isinstance(value, Cited)):
                continue
            for below, said in _lines(part, f"{place}.{field.alias or name}" if place else field.alias or name):
                yield below, said + _source(value, part)
    elif isinstance(value, dict):
        for name, part in value.items():
            yield from _lines(part, f"{place}.{name}")
    elif isinstance(value, tuple | list) and any(isinstance(part, BaseModel) for part in value):
        for index, part in enumerate(value):
            yield from _lines(part, place if isinstance(part, Row) else f"{place}[{_called(part, index)}]")
    else:
        yield place, ", ".join(map(str, value)) if isinstance(value, tuple | list) else str(value)


def _called(part: Any, index: int) -> str:
    """A step by its kind (and fund), anything else by its number."""
    step = getattr(part, "step", None)
    fund = getattr(part, "fund", None)
    return str(index) if step is None else f"{step} {fund}" if fund else str(step)


def _for_whom(row: Row) -> str:
    conditions: list[str] = [] if row.status is None else [row.status]
    if row.level is not None:
        conditions.append("level " + "/".join(row.level))
    if row.from_ is not None or row.to is not None:
        conditions.append(f"{row.from_ or ''}..{row.to or ''}")
    return f" ({', '.join(conditions)})" if conditions else ""


def _figure(figure: Figure) -> str:
    if figure.value is not None:
        said = f"{figure.value} {figure.unit}"
    else:
        said = f"the operator's {figure.needs} ({figure.unit})"
        if figure.share_of is not None:
            said += f", or else {figure.share_of.percent} % of {figure.share_of.of}"
    return f"{said} [{figure.article}{', ' + figure.reads if figure.reads else ''}]"


def _source(owner: BaseModel, part: Any) -> str:
    """The article of a cited thing, said with its plain values; a figure says its own."""
    if not isinstance(owner, Cited) or isinstance(part, BaseModel | tuple | list | dict):
        return ""
    return f" [{owner.article}{', ' + owner.reads if owner.reads else ''}]"
