"""The articles' own words (``policies/texts``), to be quoted where a settlement is explained."""

from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from shared.policy.faults import Fault, PackError
from shared.policy.reading import read_yaml


class Article(NamedTuple):
    """An article. ``not_executed``: why nothing is reckoned by it, where that is so."""

    text: str
    not_executed: str | None


class Texts:
    """Articles by the id they are cited by: ``130900:10``, ``420300:10.4`` (the whole article 10)."""

    def __init__(self, articles: Mapping[str, Article]) -> None:
        self._articles = dict(articles)

    @classmethod
    def load(cls, policies: Path) -> "Texts":
        """Reads the texts that lie beside the packs; none if there are none. Raises PackError for a broken file."""
        articles: dict[str, Article] = {}
        for file in sorted((policies / "texts").glob("*.yaml")):
            data = read_yaml(file.read_bytes(), file.name)
            try:
                for number, said in data["articles"].items():
                    articles[f"{data['region']}:{number}"] = Article(said["text"], said.get("not_executed"))
            except (KeyError, TypeError, AttributeError) as error:
                remedy = "write region and articles: {number: {text}}"
                raise PackError([Fault(file.name, "", f"not a text by articles: {error!r}", remedy)]) from error
        return cls(articles)

    def __getitem__(self, cited: str) -> Article | None:
        """The article cited; None where the text is not here (a national law)."""
        document, _, number = cited.partition(":")
        return self._articles.get(f"{document}:{number.partition('.')[0]}")

    def numbers(self, document: str) -> list[str]:
        """The numbers of a document's articles, in their order."""
        return [key.partition(":")[2] for key in self._articles if key.startswith(f"{document}:")]
