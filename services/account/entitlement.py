"""What a member is due for a month (个人账户月计入), from the register's history, the pack and the operator's figures. Pure.

A month is credited wholly or not at all. Amounts are fen, rates parts per million; the one rounding is half up to the fen.
"""

from calendar import monthrange
from collections.abc import Mapping, Sequence
from datetime import date
from decimal import Decimal
from typing import Final, NamedTuple

from shared.errors import Stop
from shared.money import PPM, half_up, yuan
from shared.policy import Policies, Version
from shared.policy.crediting import Average, Crediting, MonthlyCredit, Source, kinds_of_member
from shared.policy.figure import Figure, exact
from shared.policy.parameters import Figures

# Why a member has nothing for a month; what is shown of a run's left-out members.
NOT_IN_REGION: Final = "not_in_region"
NOT_IN_BENEFIT_PERIOD: Final = "not_in_benefit_period"
NOT_PAID: Final = "not_paid"
NO_ACCOUNT: Final = "no_account"
NO_BASE: Final = "no_contribution_base"
NO_FIGURE: Final = "no_figure"  # of a supplement: followed by the names of the operator's parameters

_A_YEAR: Final = " a year"
_PROVISIONALLY: Final = " provisionally"
INTEREST: Final = "interest"  # among the words of a scale, beside those of each kind of member


class Span(NamedTuple):
    """One line of a member's history in the register, as far as credits need it."""

    region: str
    status: str
    employment: str
    sector: str
    valid_from: date
    covered_to: date | None
    paid_through: str | None
    contribution_base: int | None
    supplements: tuple[str, ...] = ()


class Due(NamedTuple):
    """What a month comes to (fen), by which article, from which base (None: a fixed amount), and out of what."""

    amount: int
    basis: int | None
    article: str
    source: Source


class Month(NamedTuple):
    """A calendar month."""

    text: str  # 2023-05
    first: date
    last: date

    @classmethod
    def of(cls, text: str) -> "Month":
        """Reads ``2023-05``. Raises ValueError."""
        year, _, number = text.partition("-")
        first = date(int(year), int(number), 1)
        if text != f"{first:%Y-%m}":
            raise ValueError(f"not a month like 2023-05: {text[:20]!r}")
        return cls(text, first, first.replace(day=monthrange(first.year, first.month)[1]))


class _Way(NamedTuple):
    """How one kind of member is credited: a fixed ``due``, a rate of the own base, no account, or a figure that is missing.

    ``awaits``: the figure that a provisional ``due`` stands in for.
    """

    article: str
    source: Source
    words: str
    due: Due | None = None
    rate_ppm: int = 0
    missing: str = ""
    awaits: str = ""


class Scale:
    """One region's scale of a month: what each kind of member is due. Made once, asked for every member."""

    def __init__(self, version: Version, crediting: Crediting, month: Month) -> None:
        self.region = version.region
        self.month = month
        self.interest_ppm = 0
        if crediting.interest is not None:
            self.interest_ppm = _figure(crediting.interest, version.figures, month.first) or 0
        self._crediting, self._figures = crediting, version.figures
        self.supplement_article = "" if crediting.supplement is None else crediting.supplement.article
        self.article = crediting.months.article  # by which a month that was credited comes to nothing after all
        self._ways = {kind: _way(_row(crediting, kind), version.figures, month.first) for kind in kinds_of_member()}

    @classmethod
    def of(cls, policies: Policies, region: str, month: Month) -> "Scale":
        """The scale in force. Raises Stop when the region is not served, or credits nothing by law in that month."""
        version = policies.on(region, month.first)
        if not policies.serves(region):
            raise Stop(f"region {region} is not served here; there are {', '.join(policies.regions)}")
        if version is None or version.account.crediting is None:
            raise Stop(f"no policy of {region} is in force on {month.first}: {month.text} cannot be credited")
        return cls(version, version.account.crediting, month)

    def missing(self, kinds: Sequence[tuple[str, str, str]]) -> list[str]:
        """The operator's figures that these kinds of member need and that are not supplied for the month."""
        return sorted({self._ways[kind].missing for kind in kinds} - {""})

    def withdrawn(self, kinds: Sequence[tuple[str, str, str]], then: Mapping[str, str]) -> set[str]:
        """The operator's figures by which a run credited these kinds of member, by its words, and that are not supplied now."""
        credited = [kind for kind in kinds if _PROVISIONALLY not in then.get(" ".join(kind), _PROVISIONALLY)]
        return {self._ways[kind].awaits for kind in credited} - {""}

    def words(self) -> dict[str, str]:
        """What each kind of member is due, in words: what a run is remembered by. What is missing has none.

        Interest has, also at no rate: a month is credited with all of its interest or with none.
        """
        said = {" ".join(kind): way.words for kind, way in self._ways.items() if not way.missing}
        said |= self._supplement_words()
        return said if self._crediting.interest is None else said | {INTEREST: f"{_percent(self.interest_ppm)}{_A_YEAR}"}

    def _supplement_words(self) -> dict[str, str]:
        rule, said = self._crediting.supplement, {}
        for status in ("active", "retired") if rule is not None else ():
            assert rule is not None
            amount, rate = (_figure(figure, self._figures, self.month.first, status) for figure in (rule.amount, rule.rate))
            parts = ([] if amount is None else [yuan(amount)]) + ([] if rate is None else [f"{_percent(rate)} of the own base"])
            if parts:
                said[f"{rule.supplement} {status}"] = f"{' and '.join(parts)} ({rule.article})"
        return said

    def due(self, history: Sequence[Span]) -> Due | str:
        """What a member is due for the month, or why nothing. ``history``: in order of ``valid_from``.

        Raises Stop for a figure that is not supplied.
        """
        span = self.state(history)
        if span is None or span.region != self.region:
            return NOT_IN_REGION
        way = self._ways[span.status, span.employment, span.sector]
        if (why := self._left_out(way, span, history)) is not None:
            return why
        if way.missing:
            raise Stop(f"{self.region}: the parameter {way.missing} is not supplied for {self.month.text}")
        if way.due is not None:
            return way.due
        base = span.contribution_base
        return NO_BASE if base is None else Due(half_up(base * way.rate_ppm, PPM), base, way.article, way.source)

    def supplement(self, history: Sequence[Span]) -> Due | str | None:
        """What a member's supplement gives besides, or why nothing. None: there is none, or he has none, or has no month.

        Raises Stop for a parameter that is no table by status.
        """
        rule, span = self._crediting.supplement, self.state(history)
        if rule is None or span is None or span.region != self.region or rule.supplement not in span.supplements:
            return None
        if self._left_out(self._ways[span.status, span.employment, span.sector], span, history) is not None:
            return None
        amount, rate = (_figure(figure, self._figures, self.month.first, span.status) for figure in (rule.amount, rule.rate))
        if amount is None and rate is None:
            return f"{NO_FIGURE}: {rule.amount.needs} or {rule.rate.needs} ({rule.article})"
        base = span.contribution_base
        if rate and base is None:
            return NO_BASE
        return Due((amount or 0) + half_up((base or 0) * (rate or 0), PPM), base if rate else None, rule.article, "civil_servant")

    def _left_out(self, way: _Way, span: Span, history: Sequence[Span]) -> str | None:
        if not way.article:
            return NO_ACCOUNT
        if not self._covered(span):
            return NOT_IN_BENEFIT_PERIOD
        return None if self._paid(span, history) else NOT_PAID

    def state(self, history: Sequence[Span]) -> Span | None:
        """The line that counts: that of the first day on which he is covered; where there is none, the last line of the month.

        Who retires in the month is still credited by the line before, for the days of the new one: the old one may have ended.
        """
        found: Span | None = None
        before: Span | None = None
        for span in history:
            counts = found is not None and span.valid_from > self.month.first and self._covered(found)
            if counts or span.valid_from > self.month.last:
                break
            before, found = found, span
        if found is None or before is None or self._crediting.retirement is None or found.valid_from < self.month.first:
            return found
        retires = (before.region, before.status, found.status) == (found.region, "active", "retired")
        return before._replace(valid_from=found.valid_from, covered_to=found.covered_to) if retires else found

    def _covered(self, span: Span) -> bool:
        """Whether a line of the month is in the benefit period on one of its days."""
        return span.covered_to is None or span.covered_to >= max(self.month.first, span.valid_from)

    def _paid(self, span: Span, history: Sequence[Span]) -> bool:
        months = self._crediting.months
        if months.rule != "paid" or (span.status == "retired" and months.retired == "benefit_period"):
            return True
        for one, following in zip(history, [*history[1:], None], strict=True):
            in_force = one.valid_from <= self.month.last and (following is None or following.valid_from > self.month.first)
            here = one.region == self.region  # what was paid to another city's funds credits nobody in this one
            if here and in_force and one.paid_through is not None and one.paid_through >= self.month.text:
                return True
        return False


def _row(crediting: Crediting, kind: tuple[str, str, str]) -> MonthlyCredit:
    return next(row for row in crediting.rows if row.holds_for(*kind))


def _way(row: MonthlyCredit, figures: Figures, day: date) -> _Way:
    """Compiles a row of the table for a day."""
    if row.no_account:
        return _Way("", row.source, f"no account ({row.article})")
    if row.amount is not None:
        amount = _figure(row.amount, figures, day)
        return _without(row, row.amount) if amount is None else _fixed(row, amount, yuan(amount))
    assert row.rate is not None
    rate = _figure(row.rate, figures, day)
    if rate is None:
        return _without(row, row.rate)
    if isinstance(row.of, Average):
        return _of_average(row, row.of, rate, figures, day)
    return _Way(row.article, row.source, f"{_percent(rate)} of the own base ({row.article})", rate_ppm=rate)


def _of_average(row: MonthlyCredit, of: Average, rate: int, figures: Figures, day: date) -> _Way:
    average = _figure(of, figures, day)
    if average is None:
        amount = _figure(row.provisional, figures, day) if row.provisional is not None else None
        if amount is None:
            return _without(row, of)
        return _fixed(row, amount, f"{yuan(amount)}{_PROVISIONALLY}")._replace(awaits=of.needs or "")
    share = PPM if of.share is None else _figure(of.share, figures, day) or 0
    due = Due(half_up(average * share * rate, PPM * PPM), half_up(average * share, PPM), row.article, row.source)
    base = yuan(average) if share == PPM else f"{_percent(share)} of {yuan(average)}"
    return _Way(row.article, row.source, f"{_percent(rate)} of {base} ({row.article})", due)


def _without(row: MonthlyCredit, figure: Figure) -> _Way:
    return _Way(row.article, row.source, "", missing=figure.needs or "")


def rate_said(words: str | None) -> int:
    """The yearly rate (parts per million) that a run's words of its interest say; 0 where it said none."""
    return 0 if words is None else exact(Decimal(words.removesuffix(_A_YEAR).removesuffix(" %")), "percent")


def _percent(ppm: int) -> str:
    return f"{ppm / 10_000:g} %"


def _fixed(row: MonthlyCredit, amount: int, words: str) -> _Way:
    return _Way(row.article, row.source, f"{words} ({row.article})", Due(amount, None, row.article, row.source))


def _figure(figure: Figure, figures: Figures, day: date, status: str | None = None) -> int | None:
    """A figure's value (fen, or parts per million); None where the operator has not supplied it for that day.

    With a ``status`` it may be a table by status.
    """
    value = figure.value
    if figure.needs is not None:
        given = figures.at(figure.needs, day)
        if given is None and isinstance(figure, Average) and figure.back_to_first_month:
            later = sorted(figures.given.get(figure.needs, ()), key=lambda row: row.from_)
            given = later[0].value if later else None
        if given is None:
            return None
        if isinstance(given, tuple) and status is not None and all(row.level is None for row in given):
            given = next((row.value for row in given if row.status in {None, status}), None)
            if given is None:
                return None
        if isinstance(given, tuple):
            raise Stop(f"the parameter {figure.needs} is one value, not a table")
        value = given
    assert value is not None
    return exact(value, figure.unit)
