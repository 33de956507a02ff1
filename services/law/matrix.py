"""The personal account and the paying of institutions, cell by cell: what a pack says, and the examples that show it. Pure.

One article names a dozen uses of the account: that one of them has an example says nothing of the others.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, Final, NamedTuple, get_args

from services.law import payment_examples
from services.law.examples import Example, with_parameters
from shared.policy import Policies
from shared.policy.account import Account, Purpose
from shared.policy.coverage import Family, Relation
from shared.policy.crediting import Average, Crediting, MonthlyCredit
from shared.policy.figure import Figure
from shared.policy.leaving import Case
from shared.policy.pack import Pack
from shared.policy.payment import MonthlyBudget, Payment

USE, CREDIT, LEAVING, PAYMENT = "use", "credit", "leaving", "payment"
_NOTHING: Final = ("not_paid", "not_in_benefit_period")
_PAYMENTS: Final = {
    payment_examples.BELOW: "so much above the cost as the bonus gives",
    payment_examples.CAPPED: "no more than the month's money",
    payment_examples.ABOVE: "pro rata, the rest is not made up",
    payment_examples.RELEASED: "by the assessment's result, the rest stays with the fund",
    payment_examples.MISSING: "nothing is paid",
}

Line = Mapping[str, Any]


class Cell(NamedTuple):
    """One cell: of which city and section, what it is about, what the pack says by which article, and who shows it."""

    region: str
    section: str
    cell: str
    says: str
    article: str
    examples: tuple[str, ...]


class _Shown:
    """A city's examples, to be asked which of them shows something."""

    def __init__(self, examples: Iterable[Example]) -> None:
        self._examples = list(examples)

    def by(self, lines: Callable[[Example], Iterable[Line]], wanted: Callable[[Line, Example], bool]) -> tuple[str, ...]:
        return tuple(one.name for one in self._examples if any(wanted(line, one) for line in lines(one)))


def cells(pack: Pack, policies: Policies, examples: Iterable[Example]) -> Iterator[Cell]:
    """Every cell of a city, by its newest version."""
    shown = _Shown(example for example in examples if example.region == pack.region)
    version = pack.versions[-1]
    for section, found in (
        (USE, _uses(version.account, shown)),
        (USE, _family(version.coverage.family, shown)),
        (CREDIT, _credits(version.account.crediting, shown)),
        (LEAVING, _leavings(version.account, shown)),
        (PAYMENT, _payments(version.payment, policies, shown)),
    ):
        for cell, says, article, names in found:
            yield Cell(pack.region, section, cell, says, article, names)


def page(packs: Sequence[Pack], policies: Policies, examples: Sequence[Example]) -> Iterator[str]:
    """The page's table, in Markdown."""
    yield "## Accounts and payment, cell by cell\n"
    yield "| City | What | Case | The pack says | Article | Examples |\n|---|---|---|---|---|---|"
    for pack in packs:
        for one in cells(pack, policies, examples):
            names = "; ".join(one.examples) or "**no example**"
            yield f"| {one.region} | {one.section} | {one.cell} | {one.says} | {one.article or '-'} | {names} |"
    yield ""


_Found = Iterator[tuple[str, str, str, tuple[str, ...]]]


def _uses(account: Account, shown: _Shown) -> _Found:
    otherwise = account.otherwise.article if account.otherwise else ""
    for purpose in get_args(Purpose):
        rule = account.rule(purpose)
        for who in ("self", "family"):
            names = shown.by(
                lambda example: ({**example.given, **line} for line in example.claims),
                lambda line, _, purpose=purpose, family=who == "family": (  # type: ignore[misc]
                    line.get("use") == purpose and ("for" in line) == family
                ),
            )
            if rule is None:
                says = "refused: not named"
            elif rule.word != "allowed":
                says = {"never": "never", "exploratory": "refused: exploratory, switched off"}[rule.word]
            else:
                says = f"pays, {rule.at}" if who in rule.who else f"refused: only for {rule.who[0]}"
            yield f"{purpose}, {who}", says, rule.article if rule else otherwise, names


def _family(family: Family | None, shown: _Shown) -> _Found:
    """Who is family. The examples are those in which such a link is registered and money is asked for."""
    for relation in get_args(Relation):
        names = shown.by(
            lambda example: example.given.get("register", ()),
            lambda line, example, relation=relation: line.get("relation") == relation and _asks(example, line),  # type: ignore[misc]
        )
        says = "family" if family is not None and relation in family.relations else "not family"
        yield f"for a {' of the '.join(reversed(relation.split('_')))}", says, family.article if family else "", names


def _asks(example: Example, link: Line) -> bool:
    lines = [{**example.given, **line} for line in example.claims]
    return any(link["beneficiary_id"] == line.get("for") or link["holder_id"] == line.get("family_payer") for line in lines)


def _credits(crediting: Crediting | None, shown: _Shown) -> _Found:
    if crediting is None:
        return

    def by(wanted: Callable[[Line, Example], bool]) -> tuple[str, ...]:
        return shown.by(lambda example: example.credits, wanted)

    for row in crediting.rows:
        for cell, says, needed in _ways(row):
            names = by(lambda line, example, row=row, needed=needed: _credited(line, row) and needed(example))  # type: ignore[misc]
            yield cell, says, row.article, names
    yield "which months", crediting.months.rule, crediting.months.article, by(lambda line, _: line["expect"] in _NOTHING)
    if any(needs for row in crediting.rows for needs in _needs(row)):
        names = by(lambda line, _: str(line["expect"]).startswith("needs "))
        yield "a figure is not supplied", "nothing is credited", crediting.rows[0].article, names
    if crediting.retirement is not None:
        yield "retiring", crediting.retirement.rule, crediting.retirement.article, by(lambda line, _: "retires" in line)
    if (rule := crediting.supplement) is not None:
        says = f"`{rule.amount.needs}`, `{rule.rate.needs}` of the own base, or both"
        yield rule.supplement, says, rule.article, by(lambda line, _: "supplements" in line)
    if crediting.interest is not None:
        yield "interest", _figure(crediting.interest), crediting.interest.article, by(lambda line, _: "balance" in line)


def _ways(row: MonthlyCredit) -> Iterator[tuple[str, str, Callable[[Example], bool]]]:
    """A row's cell, or its two: until the average is published, and from then on."""
    who = ", ".join([row.status or "any", *(row.employment or ("any employment",)), row.sector or "any sector"])
    if row.no_account:
        yield who, "no account", lambda _: True
    elif row.amount is not None:
        yield who, _figure(row.amount), lambda _: True
    elif row.provisional is None:
        yield who, f"{_figure(row.rate)} of {_base(row)}", lambda _: True
    else:
        average = row.of.needs if isinstance(row.of, Average) else None
        yield f"{who}: until then", _figure(row.provisional), lambda example: average not in example.parameters
        yield f"{who}: published", f"{_figure(row.rate)} of {_base(row)}", lambda example: average in example.parameters


def _credited(line: Line, row: MonthlyCredit) -> bool:
    kind = (line.get("status", "active"), line.get("employment", "employee"), line.get("sector", "enterprise"))
    expected = str(line["expect"])
    return row.holds_for(*kind) and "retires" not in line and expected not in _NOTHING and not expected.startswith("needs ")


def _needs(row: MonthlyCredit) -> Iterator[str]:
    for figure in (row.amount, row.rate, row.of if isinstance(row.of, Average) and row.provisional is None else None):
        if figure is not None and figure.needs is not None:
            yield figure.needs


def _base(row: MonthlyCredit) -> str:
    if not isinstance(row.of, Average):
        return "the own base"
    return f"{_figure(row.of.share)} of {row.of.needs}" if row.of.share else _figure(row.of)


def _figure(figure: Figure | None) -> str:
    assert figure is not None
    return f"{figure.value} {figure.unit}" if figure.value is not None else f"`{figure.needs}`"


def _leavings(account: Account, shown: _Shown) -> _Found:
    otherwise = account.leaving_otherwise.article if account.leaving_otherwise else ""
    for case in get_args(Case):
        rule = account.left_by(case)
        ways = ("refused",) if rule is None else tuple("refused" if way == "stays" else way for way in rule.to)
        for way in ways:
            names = shown.by(
                lambda example: example.leavings,
                lambda line, _, case=case, way=way: (line["case"], line["expect"]) == (case, way),  # type: ignore[misc]
            )
            says = "refused: not named" if rule is None else "stays open and usable" if way == "refused" else way
            whose = f" ({rule.status})" if rule is not None and rule.status else ""
            yield f"{case}{whose}", says, rule.article if rule else otherwise, names


def _payments(rule: Payment | None, policies: Policies, shown: _Shown) -> _Found:
    if rule is None:
        return

    def by(kind: str) -> tuple[str, ...]:
        return shown.by(
            lambda example: example.payments,
            lambda line, example: kind in payment_examples.shows(line, example.region, with_parameters(example, policies)),
        )

    if isinstance(rule, MonthlyBudget):
        for kind, says in _PAYMENTS.items():
            yield kind, says, rule.article, by(kind)
        yield (
            "what is kept",
            f"{_figure(rule.at_once)} at once, the rest is kept",
            rule.at_once.article,
            by(payment_examples.KEPT),
        )
        if rule.after_end is not None:
            yield payment_examples.AFTER_END, "what was incurred", rule.after_end.article, by(payment_examples.AFTER_END)
    else:
        yield payment_examples.BY_ITEM, "what was incurred", rule.article, by(payment_examples.BY_ITEM)
