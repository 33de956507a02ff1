"""Worked examples of accounts: what a month comes to, and what an article does with the balance of who leaves.

``policies/README.md`` explains the keys.
"""

from collections.abc import Iterator, Mapping
from datetime import date, timedelta
from typing import Any, Final

from services.account.crediting import interest_of
from services.account.entitlement import Due, Month, Scale, Span
from services.account.leaving import choose
from shared.errors import Stop
from shared.money import fen, yuan
from shared.policy import Policies
from shared.policy.lint import cited_in

_SINCE: Final = date(2020, 1, 1)


def credited(line: Mapping[str, Any], region: str, policies: Policies) -> str:
    """What a month comes to, in yuan, or why it is not credited, or ``needs`` and the parameters that are not supplied.

    With a ``balance`` also the interest that comes with it: ``124.00 and 0.12``; with ``supplements`` what they give besides:
    ``124.00, civil_servant 50.00``.
    """
    scale = Scale.of(policies, region, Month.of(line["month"]))
    history = list(_history(line, region))
    if missing := scale.missing([(span.status, span.employment, span.sector) for span in history[-1:]]):
        return f"needs {', '.join(missing)}"
    due = scale.due(history)
    if not isinstance(due, Due):
        return due
    amount = yuan(due.amount)
    if "supplements" in line:
        more = scale.supplement(history)
        return f"{amount}, {line['supplements'][0]} {yuan(more.amount) if isinstance(more, Due) else more or 'nothing'}"
    return f"{amount} and {yuan(interest_of(fen(line['balance']), scale.interest_ppm))}" if "balance" in line else amount


def left(line: Mapping[str, Any], region: str, policies: Policies) -> str:
    """Where the balance goes; ``refused`` where the article does not let the account be closed."""
    version = policies.on(region, line.get("day", date(2023, 6, 15)))
    assert version is not None
    try:
        return choose(version.account, line["case"], line.get("status", "active"), line.get("to")).disposal
    except Stop:
        return "refused"


def cited(region: str, policies: Policies) -> set[str]:
    """The articles that the region's account section rests on; of ``420300:10.4`` also ``420300:10``."""
    found = {
        one.article
        for version in policies.versions
        if version.region == region
        for section in (version.account.crediting, version.account.leaving)
        for _, one in cited_in(section, "")
    }
    return found | {article.partition(".")[0] for article in found}


def _history(line: Mapping[str, Any], region: str) -> Iterator[Span]:
    """The member's history: a line, after one from ``before`` where that is given, and one more when he ``retires``."""
    base = line.get("base")
    covered_to, since = line.get("covered_to"), line.get("valid_from", _SINCE)
    span = Span(
        region=region,
        status=line.get("status", "active"),
        employment=line.get("employment", "employee"),
        sector=line.get("sector", "enterprise"),
        valid_from=since,
        covered_to=covered_to,
        paid_through=line.get("paid_through"),
        contribution_base=None if base is None else fen(base),
        supplements=tuple(line.get("supplements", ())),
    )
    if "before" in line:
        earlier = span._replace(valid_from=_SINCE, **line["before"])
        assert earlier.valid_from < since
        yield earlier
    yield span
    if "retires" in line:
        assert line["retires"] > since + timedelta(days=1)
        yield span._replace(status="retired", valid_from=line["retires"], covered_to=None)
