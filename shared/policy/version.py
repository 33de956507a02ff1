"""A version in force: one region's rules for a span of days, with the operator's figures, known by its content."""

import hashlib
import json
from datetime import date, timedelta
from typing import Any

from shared.events import PolicyRef
from shared.policy.account import Account
from shared.policy.benefits import Benefit, Benefits, SpillOver
from shared.policy.coverage import Coverage
from shared.policy.pack import Pack, PackVersion
from shared.policy.parameters import Figures, Given
from shared.policy.payment import Payment


class Version:
    """What decides a claim. Equal content has an equal hash, whatever file, comments or order it came from."""

    def __init__(self, region: str, rules: PackVersion, figures: Figures) -> None:
        self.region = region
        self.start: date = rules.from_
        self.end: date | None = rules.to
        self.coverage: Coverage = rules.coverage
        self.benefits: Benefits = rules.benefits
        self.account: Account = rules.account
        self.payment: Payment | None = rules.payment
        self.goes_on: dict[str, SpillOver] = _goes_on(rules.benefits)
        """By benefit, what sends its cost above the limit on to another."""
        self.figures = figures
        self.content = _canonical(region, rules, figures)
        """Canonical JSON of all of it: what is stored under the hash, and what ``restore`` reads."""
        self.ref = PolicyRef(region=region, version=rules.version, hash=hashlib.sha256(self.content).hexdigest())

    @classmethod
    def of(cls, pack: Pack, index: int, figures: Figures) -> "Version":
        """The index-th version of a pack."""
        return cls(pack.region, pack.versions[index], figures)

    @classmethod
    def restore(cls, content: bytes) -> "Version":
        """The version that was stored as canonical content. Raises ValueError if the content is not one."""
        data = json.loads(content)
        given = {name: tuple(Given.model_validate(row) for row in rows) for name, rows in data["parameters"].items()}
        return cls(data["region"], PackVersion.model_validate(data["rules"]), Figures(given))

    def in_force(self, day: date) -> bool:
        """Whether the day belongs to the version's span."""
        return self.start <= day and (self.end is None or day <= self.end)

    def boundaries(self) -> tuple[date, ...]:
        """The days inside the version on which one of its figures or parameters changes, its start first."""
        days = {self.start} | self.figures.boundaries()
        _collect(self.benefits.model_dump(), days)
        return tuple(sorted(day for day in days if self.in_force(day)))


def _goes_on(benefits: Benefits) -> dict[str, SpillOver]:
    named = ((name, getattr(benefits, name)) for name in type(benefits).model_fields)
    steps = ((name, step) for name, benefit in named if isinstance(benefit, Benefit) for step in benefit.after)
    return {name: step for name, step in steps if isinstance(step, SpillOver)}


def _collect(value: Any, days: set[date]) -> None:
    if isinstance(value, dict):
        if isinstance(value.get("from_"), date):
            days.add(value["from_"])
        if isinstance(value.get("to"), date) and value["to"] < date.max:
            days.add(value["to"] + timedelta(days=1))
        for item in value.values():
            _collect(item, days)
    elif isinstance(value, list | tuple):
        for item in value:
            _collect(item, days)


def _canonical(region: str, rules: PackVersion, figures: Figures) -> bytes:
    content = {
        "region": region,
        "rules": rules.model_dump(mode="json", by_alias=True, exclude_none=True),
        "parameters": {
            name: [row.model_dump(mode="json", by_alias=True, exclude_none=True) for row in rows]
            for name, rows in figures.given.items()
        },
    }
    return json.dumps(content, sort_keys=True, ensure_ascii=False, separators=(",", ":")).encode()
