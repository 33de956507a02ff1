"""What the register says of somebody on a day. Pure: the rows are given.

The row that holds on a day is the one with the greatest ``valid_from`` (``designated_from``) not after it. A member
or institution with later rows only is known, but not yet covered or designated: the earliest row says who it is.
"""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from datetime import date
from typing import Final, TypeVar

from shared.events import InstitutionFacts, MemberFacts, Qualification
from shared.register import CatalogueItem, FamilyLink, Grant, InpatientStay, Institution, Member, RemoteFiling

K = TypeVar("K")
R = TypeVar("R")

_NOBODY: Final[tuple[()]] = ()


class Register:
    """The rows a batch of claims asks for, by whom they are about; made once a batch, asked once a claim."""

    def __init__(
        self,
        *,
        members: Iterable[Member] = (),
        institutions: Iterable[Institution] = (),
        links: Iterable[FamilyLink] = (),
        filings: Iterable[RemoteFiling] = (),
        stays: Iterable[InpatientStay] = (),
        items: Iterable[CatalogueItem] = (),
    ) -> None:
        newest = sorted(members, key=lambda row: row.valid_from, reverse=True)
        self._members = _grouped((row.member_id, row) for row in newest)
        newest_first = sorted(institutions, key=lambda row: row.designated_from, reverse=True)
        self._institutions = _grouped((row.institution_id, row) for row in newest_first)
        self._links = _grouped(((row.holder_id, row.beneficiary_id), row) for row in links)
        self._filings = _grouped((row.member_id, row) for row in filings)
        self._stays = _grouped((row.member_id, row) for row in stays)
        latest = sorted(items, key=lambda row: row.valid_from, reverse=True)
        self._items = _grouped(((row.region, row.code), row) for row in latest)
        self._seen: dict[tuple[str, date], tuple[InstitutionFacts, str | None] | None] = {}

    def member(self, member_id: str, day: date) -> MemberFacts | None:
        """The member on a day; None if the register has never heard of him."""
        rows = self._members.get(member_id)
        if rows is None:
            return None
        row = next((row for row in rows if row.valid_from <= day), rows[-1])
        return MemberFacts(
            region=row.region,
            status=row.status,
            employment=row.employment,
            sector=row.sector,
            valid_from=row.valid_from,
            covered_to=row.covered_to,
            supplements=row.supplements,
            qualifications=tuple(_open(row.qualifications, day)) if row.qualifications else _NOBODY,
        )

    def institution(self, institution_id: str, day: date) -> InstitutionFacts | None:
        """The institution on a day; None if the register has never heard of it."""
        found = self._look(institution_id, day)
        return None if found is None else found[0]

    def host_of(self, institution_id: str, day: date) -> InstitutionFacts | None:
        """The physical institution that an internet hospital belongs to; None if none is registered."""
        found = self._look(institution_id, day)
        return None if found is None or found[1] is None else self.institution(found[1], day)

    def links(self, holder_id: str, beneficiary_id: str, day: date) -> list[str]:
        """The relations in which the holder authorised the beneficiary, open on a day."""
        rows = self._links.get((holder_id, beneficiary_id), _NOBODY)
        return [row.relation for row in rows if _spans(row.authorized_from, row.authorized_to, day)]

    def filings(self, member_id: str, care_region: str | None, day: date) -> list[RemoteFiling]:
        """The member's filings for a region (None: for any), open on a day."""
        rows = self._filings.get(member_id, _NOBODY)
        return [row for row in rows if care_region in (None, row.care_region) and _spans(row.valid_from, row.valid_to, day)]

    def stays(self, member_id: str, day: date) -> bool:
        """Whether the member is in hospital on a day; both days of a stay belong to it."""
        rows = self._stays.get(member_id, _NOBODY)
        return any(_spans(row.admitted_on, row.discharged_on, day) for row in rows)

    def item(self, region: str, code: str, day: date) -> CatalogueItem | None:
        """A region's catalogue item on a day. One whose newest row has ended is none, whatever was before."""
        rows = self._items.get((region, code), _NOBODY)
        row = next((row for row in rows if row.valid_from <= day), None)
        return row if row is not None and _spans(row.valid_from, row.valid_to, day) else None

    def _look(self, institution_id: str, day: date) -> tuple[InstitutionFacts, str | None] | None:
        key = (institution_id, day)
        if key not in self._seen:
            rows = self._institutions.get(institution_id)
            self._seen[key] = None if rows is None else _institution_facts(rows, day)
        return self._seen[key]


def _institution_facts(newest_first: Sequence[Institution], day: date) -> tuple[InstitutionFacts, str | None]:
    row = next((row for row in newest_first if row.designated_from <= day), newest_first[-1])
    facts = InstitutionFacts(
        institution_id=row.institution_id,
        region=row.region,
        kind=row.kind,
        level=row.level,
        designated=_spans(row.designated_from, row.designated_to, day),
        pooled_outpatient=row.pooled_outpatient,
        networked=row.networked,
    )
    return facts, row.host_institution_id


def _open(grants: Iterable[Grant], day: date) -> Iterable[Qualification]:
    for grant in grants:
        if _spans(grant.valid_from, grant.valid_to, day):
            yield Qualification(benefit=grant.benefit, institution_id=grant.institution_id, doctor_id=grant.doctor_id)


def _spans(first: date, last: date | None, day: date) -> bool:
    return first <= day and (last is None or day <= last)


def _grouped(pairs: Iterable[tuple[K, R]]) -> dict[K, list[R]]:
    groups: defaultdict[K, list[R]] = defaultdict(list)
    for key, row in pairs:
        groups[key].append(row)
    return dict(groups)
