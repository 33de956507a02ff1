"""A pack: one region's law, its documents, the readings of its open points, and its dated versions."""

from collections.abc import Iterator
from datetime import date, timedelta
from typing import Annotated, Any

from pydantic import BaseModel, Field, StringConstraints, ValidationError

from shared.policy.account import Account
from shared.policy.benefits import Benefits
from shared.policy.coverage import Coverage
from shared.policy.faults import Fault, PackError, path_of
from shared.policy.figure import Cited, Interpretation, Strict

Region = Annotated[str, StringConstraints(pattern=r"^[0-9]{6}$")]


class Names(Strict):
    """A name in Chinese and English."""

    zh: str
    en: str


class Document(Strict):
    """A legal document the pack rests on. ``id`` is what its articles are cited by; ``articles`` their highest number."""

    id: Annotated[str, StringConstraints(pattern=r"^[0-9A-Z]+$")]
    document: str
    title: str
    date: date
    articles: int = Field(gt=0)


class Reading(Strict):
    """How an open point is decided: where the setting stands, since when, and why."""

    question: str
    decision: str
    reason: str
    setting: str  # a path inside a version: benefits.period.rule
    from_: date = Field(alias="from")
    to: date | None = None


class PackVersion(Strict):
    """The rules of one span of days; ``to`` belongs to it; without ``to`` it is open."""

    version: str
    from_: date = Field(alias="from")
    to: date | None = None
    coverage: Coverage
    benefits: Benefits
    account: Account


class Pack(Strict):
    """One YAML file."""

    region: Region
    name: Names
    provenance: Annotated[tuple[Document, ...], Field(min_length=1)]
    interpretations: dict[Interpretation, Reading] = Field(default_factory=dict)
    versions: Annotated[tuple[PackVersion, ...], Field(min_length=1)]


def read_pack(data: Any, file: str) -> Pack:
    """Checks what was read from a file against the format and against itself. Raises PackError with every fault."""
    try:
        pack = Pack.model_validate(data)
    except ValidationError as error:
        faults = []
        for detail in error.errors(include_url=False):
            remedy = _REMEDIES.get(detail["type"], "correct the value")
            faults.append(Fault(file, path_of(detail["loc"]), detail["msg"], remedy))
        raise PackError(faults) from error
    faults = [Fault(file, *found) for found in (*_gaps(pack), *_citations(pack))]
    if faults:
        raise PackError(faults)
    return pack


_REMEDIES = {
    "extra_forbidden": "remove the key, or see policies/schema.json for the right name",
    "missing": "add the key",
    "string_type": "put it in quotes",
}


def _gaps(pack: Pack) -> Iterator[tuple[str, str, str]]:
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


def _citations(pack: Pack) -> Iterator[tuple[str, str, str]]:
    """Articles that the provenance does not list; readings that the pack does not explain."""
    documents = {document.id: document.articles for document in pack.provenance}
    for index, version in enumerate(pack.versions):
        for path, cited in cited_in(version, f"versions[{index}]"):
            document, _, article = cited.article.partition(":")
            if int(article.partition(".")[0]) not in range(1, documents.get(document, 0) + 1):
                yield f"{path}.article", f"{cited.article} is not in the provenance", "cite a document listed there"
            if cited.reads is not None and cited.reads not in pack.interpretations:
                yield f"{path}.reads", f"{cited.reads} is not explained", "add it under interpretations"
    for name, reading in pack.interpretations.items():
        if not any(setting_at(version, reading.setting) for version in pack.versions):
            path = f"interpretations.{name}.setting"
            yield path, f"no version has {reading.setting}", "name the place of the setting inside a version"


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


def setting_at(version: PackVersion, path: str) -> bool:
    """Whether a dotted path leads to something inside a version."""
    place: Any = version.model_dump(by_alias=True)
    for part in path.split("."):
        if isinstance(place, list | tuple):
            place = place[int(part)] if part.isdigit() and int(part) < len(place) else None
        else:
            place = place.get(part) if isinstance(place, dict) else None
        if place is None:
            return False
    return True
