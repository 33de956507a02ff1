"""How each open point of the texts is read: all interpretations of all packs on one page, made from the packs. Pure."""

from collections.abc import Iterator, Sequence
from datetime import date
from typing import Final, NamedTuple

from pydantic import BaseModel

from shared.policy.figure import Cited
from shared.policy.pack import Pack, PackVersion

WITHOUT_ARTICLE: Final = {
    "malformed": "the record breaks the contract, not the law",
    "sum_mismatch": "the record breaks the contract, not the law",
    "visit_in_future": "the record breaks the contract, not the law",
    "duplicate_conflict": "two records under one number: the contract decides",
    "claim_not_found": "two records under one number: the contract decides",
    "reversed_before_arrival": "two records under one number: the contract decides",
    "later_claim_stands": "the setting of Q9 decides; no text speaks of cancelling",
    "unknown_member": "nobody is known whose city could be asked",
    "unknown_institution": "no place is known to which an article could be applied",
    "region_not_served": "the region's texts are not here",
    "policy_not_in_force": "there is no text for that day",
    "quote_stale": "the contract decides: what was promised no longer holds",
    "nothing_in_scope": "a sum, not a rule: what is left after the catalogue is nothing",
    "unknown_item": "the catalogue of the place of care decides, which the texts leave to the register",
}
"""Reasons that never cite an article, and why none does."""


class Row(NamedTuple):
    """One reading as it stands in one or more cities."""

    number: str
    regions: tuple[str, ...]
    question: str
    decision: str
    reason: str
    since: tuple[date, ...]
    settings: tuple[str, ...]
    articles: tuple[str, ...]


def rows(packs: Sequence[Pack]) -> list[Row]:
    """Every reading, by number; cities that read alike are one row."""
    alike: dict[tuple[str, str, str, str], list[tuple[str, date, str, str]]] = {}
    for pack in packs:
        for number, reading in pack.interpretations.items():
            article = next((found for version in pack.versions if (found := _article(version, reading.setting))), "")
            said = (number, reading.question, reading.decision, reading.reason)
            alike.setdefault(said, []).append((pack.region, reading.from_, reading.setting, article))
    made = []
    for (number, question, decision, reason), cities in alike.items():
        regions, since, settings, articles = (tuple(dict.fromkeys(column)) for column in zip(*cities, strict=True))
        made.append(Row(number, regions, question, decision, reason, since, settings, tuple(filter(None, articles))))
    return sorted(made, key=lambda row: (int(row.number[1:]), row.regions))


def page(packs: Sequence[Pack]) -> Iterator[str]:
    """The page's two tables, in Markdown."""
    yield "## How open points are read\n"
    yield "Each is named and dated in its pack. Where the vocabulary knows one way only, another is a word to be added to it.\n"
    yield "| Id | Cities | Question | Choice | Reason | Article | Since | Setting |\n|---|---|---|---|---|---|---|---|"
    for row in rows(packs):
        since = ", ".join(day.isoformat() for day in row.since)
        cells = (
            row.number,
            ", ".join(row.regions),
            row.question,
            row.decision,
            row.reason,
            ", ".join(row.articles) or "-",
            since,
        )
        yield f"| {' | '.join(cells)} | {', '.join(f'`{setting}`' for setting in row.settings)} |"
    yield "\n## Reasons that cite no article\n"
    yield "| Code | Why none |\n|---|---|"
    for code, why in WITHOUT_ARTICLE.items():
        yield f"| `{code}` | {why} |"


def _article(version: PackVersion, path: str) -> str:
    """The article of the place that a setting names, or of the nearest one around it, or of the first one below."""
    value, around = _walk(version, path)
    return around or next(_below(value), "")


def _walk(version: PackVersion, path: str) -> tuple[object, str]:
    value: object = version
    around = ""
    for part in path.split("."):
        if isinstance(value, tuple):
            value = value[int(part)] if int(part) < len(value) else None
        elif isinstance(value, BaseModel):
            names = {field.alias or name: name for name, field in type(value).model_fields.items()}
            value = getattr(value, names[part], None)
        else:
            return None, around
        around = getattr(value, "article", around) if isinstance(value, BaseModel) else around
    return value, around


def _below(value: object) -> Iterator[str]:
    if isinstance(value, Cited):
        yield value.article
    elif isinstance(value, BaseModel):
        for name in type(value).model_fields:
            yield from _below(getattr(value, name))
    elif isinstance(value, tuple):
        for one in value:
            yield from _below(one)
