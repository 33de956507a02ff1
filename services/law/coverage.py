"""Article by article: executable and tested, data only, or not computational, and why. Made from packs and examples."""

from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

from services.law import matrix, readings
from services.law.examples import Example
from services.law.texts import Texts
from shared.policy import Policies
from shared.policy.benefits import Benefit
from shared.policy.lint import cited_in
from shared.policy.pack import Pack

TESTED, DATA, NONE, UNKNOWN = "executable and tested", "data only", "not computational", "unexplained"


class Row(NamedTuple):
    """One article: its state, and what shows it (places in the pack, examples) or why there is nothing."""

    article: str
    state: str
    places: int
    examples: tuple[str, ...]
    why: str


def rows(pack: Pack, texts: Texts, examples: Iterable[Example]) -> Iterator[Row]:
    """Every article of the pack's documents whose text is here."""
    places = list(_cited(pack))
    shown = [example for example in examples if example.region == pack.region]
    for document in pack.provenance:
        for number in texts.numbers(document.id):
            article = f"{document.id}:{number}"
            count = sum(_same(cited, article) for cited in places)
            names = tuple(one.name for one in shown if any(_same(cited, article) for cited in one.articles))
            said = texts[article]
            why = (said.not_executed if said is not None else None) or ""
            yield Row(article, _state(count, names, why), count, names, why)


def page(packs: Sequence[Pack], texts: Texts, policies: Policies, examples: Sequence[Example]) -> str:
    """The page, in Markdown."""
    parts = ["# Which articles are executed\n", "Made by `gongji policy coverage`; do not edit.\n"]
    for pack in packs:
        parts.append(f"## {pack.name.zh} {pack.name.en} ({pack.region})\n")
        parts += ["| Article | State | Places in the pack | Examples, or why not |", "|---|---|---|---|"]
        for row in rows(pack, texts, examples):
            shown = "; ".join(row.examples) or row.why.partition(": ")[2] or row.why
            parts.append(f"| {row.article} | {row.state} | {row.places or ''} | {shown} |")
        parts.append("")
    parts += matrix.page(packs, policies, examples)
    parts += readings.page(packs)
    return "\n".join(parts)


def _cited(pack: Pack) -> Iterator[str]:
    for version in pack.versions:
        for _, cited in cited_in(version, ""):
            yield cited.article
        for name in type(version.benefits).model_fields:
            benefit = getattr(version.benefits, name)
            if isinstance(benefit, Benefit):
                yield benefit.article


def _same(cited: str, article: str) -> bool:
    """``420300:10.4`` is in article ``420300:10``."""
    return cited == article or cited.startswith(f"{article}.")


def _state(places: int, examples: tuple[str, ...], why: str) -> str:
    if places:
        return TESTED if examples else DATA
    return NONE if why.startswith(NONE) else UNKNOWN
