"""A pack: one region's law, its documents, the readings of its open points, and its dated versions."""

from typing import Annotated

from pydantic import Field, StringConstraints

from shared.policy.account import Account
from shared.policy.benefits import Benefits
from shared.policy.coverage import Coverage
from shared.policy.figure import Day, Interpretation, Strict
from shared.policy.payment import Payment

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
    date: Day
    articles: int = Field(gt=0, lt=10_000)


class Reading(Strict):
    """How an open point is decided: where the setting stands, since when, and why."""

    question: str
    decision: str
    reason: str
    setting: str  # a path inside a version: benefits.period.rule
    from_: Day = Field(alias="from")
    to: Day | None = None


class PackVersion(Strict):
    """The rules of one span of days; ``to`` belongs to it; without ``to`` it is open."""

    version: str
    from_: Day = Field(alias="from")
    to: Day | None = None
    coverage: Coverage
    benefits: Benefits
    account: Account
    payment: Payment | None = None


class Pack(Strict):
    """One YAML file."""

    region: Region
    name: Names
    provenance: Annotated[tuple[Document, ...], Field(min_length=1)]
    interpretations: dict[Interpretation, Reading] = Field(default_factory=dict)
    versions: Annotated[tuple[PackVersion, ...], Field(min_length=1)]
