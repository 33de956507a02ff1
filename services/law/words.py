"""What a version says, line by line, for people: place in the pack -> figure with unit, dates and article."""

from collections.abc import Iterator, Mapping
from itertools import chain, count
from typing import Any

from pydantic import BaseModel

from shared.policy.figure import Cited, Figure, Row
from shared.policy.pack import PackVersion


def lines(version: PackVersion) -> dict[str, str]:
    """The version as an ordered table: where -> what. What has the name of another is numbered."""
    said: dict[str, str] = {}
    for place, what in _lines(version, ""):
        names = chain([place], (f"{place} ({number})" for number in count(2)))
        said[next(name for name in names if name not in said)] = what
    return said


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
        yield from _of_model(value, place)
    elif isinstance(value, dict):
        for name, part in value.items():
            yield from _lines(part, f"{place}.{name}")
    elif isinstance(value, tuple | list) and any(isinstance(part, BaseModel) for part in value):
        if any(hasattr(part, "step") for part in value):  # in which order they run
            yield place, ", ".join(_called(part, index) for index, part in enumerate(value))
        for index, part in enumerate(value):
            yield from _lines(part, place if isinstance(part, Row) else f"{place}[{_called(part, index)}]")
    else:
        yield place, ", ".join(map(str, value)) if isinstance(value, tuple | list) else str(value)


def _of_model(value: BaseModel, place: str) -> Iterator[tuple[str, str]]:
    """Its parts; what an article says without any plain value, as that it applies."""
    parts = [(field.alias or name, getattr(value, name)) for name, field in type(value).model_fields.items()]
    told = [(name, part) for name, part in parts if part not in (None, ()) and not _is_label(value, name)]
    if isinstance(value, Cited) and not isinstance(value, Figure) and not any(_source(value, part) for _, part in told):
        yield place, f"applies{_by(value)}"
    for name, part in told:
        for below, said in _lines(part, f"{place}.{name}" if place else name):
            yield below, said + _source(value, part)


def _is_label(owner: BaseModel, name: str) -> bool:
    """What names the thing itself, or is said with its values: the kind of a step, an article."""
    return name == "step" or (name in {"article", "reads"} and isinstance(owner, Cited))


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
    return f"{said}{_by(figure)}"


def _source(owner: BaseModel, part: Any) -> str:
    """The article of a cited thing, said with its plain values; a figure says its own."""
    if not isinstance(owner, Cited) or isinstance(part, BaseModel | tuple | list | dict):
        return ""
    return _by(owner)


def _by(cited: Cited) -> str:
    return f" [{cited.article}{', ' + cited.reads if cited.reads else ''}]"
