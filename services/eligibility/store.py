"""The register in Postgres. ``MemoryStore`` is the same over dictionaries, for replay; one suite of tests holds both.

Each method is one statement for a whole batch. The hands only carry rows: which row holds on a day is decided in
``register.py``.
"""

from collections.abc import Callable, Iterable, Sequence
from operator import attrgetter
from typing import Any, Final, Protocol

import msgspec

from shared.register import (
    CatalogueItem,
    FamilyLink,
    Grant,
    InpatientStay,
    Institution,
    Member,
    RegisterRecord,
    RemoteFiling,
)
from shared.runtime.step import Tx

# What a later record replaces (contract.md, section 1), in the order in which rows are locked.
IDENTITIES: Final[dict[type[Any], Callable[[Any], Any]]] = {
    Member: attrgetter("member_id", "valid_from"),
    Institution: attrgetter("institution_id", "designated_from"),
    FamilyLink: attrgetter("holder_id", "beneficiary_id", "authorized_from"),
    RemoteFiling: attrgetter("member_id", "care_region", "valid_from"),
    InpatientStay: attrgetter("member_id", "institution_id", "admitted_on"),
    CatalogueItem: attrgetter("region", "code", "valid_from"),
}


class Store(Protocol):
    """The rows of the register, whatever keeps them. Nobody is asked for twice in one call."""

    async def members(self, tx: Tx, member_ids: Sequence[str]) -> list[Member]:
        """Every row of these members."""
        ...

    async def institutions(self, tx: Tx, institution_ids: Sequence[str]) -> list[Institution]:
        """Every row of these institutions and of those that some row of them names as host."""
        ...

    async def links(self, tx: Tx, pairs: Sequence[tuple[str, str]]) -> list[FamilyLink]:
        """Every link of these (holder, beneficiary) pairs."""
        ...

    async def filings(self, tx: Tx, member_ids: Sequence[str]) -> list[RemoteFiling]:
        """Every filing of these members."""
        ...

    async def stays(self, tx: Tx, member_ids: Sequence[str]) -> list[InpatientStay]:
        """Every inpatient stay of these members."""
        ...

    async def items(self, tx: Tx, keys: Sequence[tuple[str, str]]) -> list[CatalogueItem]:
        """Every row of these (region, code) catalogue items."""
        ...

    async def keep(self, tx: Tx, records: Sequence[RegisterRecord]) -> None:
        """Keeps records in the order given: of one identity the last stays."""
        ...


def latest(records: Iterable[RegisterRecord]) -> dict[type[Any], list[Any]]:
    """By type, the last record of each identity, in the order of identities."""
    last: dict[type[Any], dict[Any, Any]] = {}
    for record in records:
        last.setdefault(type(record), {})[IDENTITIES[type(record)](record)] = record
    return {kind: [last[kind][key] for key in sorted(last[kind])] for kind in IDENTITIES if kind in last}


class PostgresStore:
    """The register in schema ``eligibility``; ``tx`` is a connection inside the loop's transaction."""

    async def members(self, tx: Tx, member_ids: Sequence[str]) -> list[Member]:
        """See ``Store``."""
        rows = await tx.fetch(_MEMBERS, list(member_ids))
        return [Member(*[*row[:-2], tuple(row[-2]), _grants(row[-1])]) for row in map(tuple, rows)]

    async def institutions(self, tx: Tx, institution_ids: Sequence[str]) -> list[Institution]:
        """See ``Store``."""
        return [Institution(*row) for row in await tx.fetch(_INSTITUTIONS, list(institution_ids))]

    async def links(self, tx: Tx, pairs: Sequence[tuple[str, str]]) -> list[FamilyLink]:
        """See ``Store``."""
        return [FamilyLink(*row) for row in await tx.fetch(_LINKS, *_columns(pairs))]

    async def filings(self, tx: Tx, member_ids: Sequence[str]) -> list[RemoteFiling]:
        """See ``Store``."""
        return [RemoteFiling(*row) for row in await tx.fetch(_FILINGS, list(member_ids))]

    async def stays(self, tx: Tx, member_ids: Sequence[str]) -> list[InpatientStay]:
        """See ``Store``."""
        return [InpatientStay(*row) for row in await tx.fetch(_STAYS, list(member_ids))]

    async def items(self, tx: Tx, keys: Sequence[tuple[str, str]]) -> list[CatalogueItem]:
        """See ``Store``."""
        return [CatalogueItem(*row) for row in await tx.fetch(_ITEMS, *_columns(keys))]

    async def keep(self, tx: Tx, records: Sequence[RegisterRecord]) -> None:
        """See ``Store``. The batch goes as one JSON value, so that lists inside a row need no special care."""
        for kind, rows in latest(records).items():
            await tx.execute(_KEEP[kind], msgspec.json.encode(rows).decode())


def _columns(pairs: Sequence[tuple[str, str]]) -> tuple[list[str], list[str]]:
    return [first for first, _ in pairs], [second for _, second in pairs]


def _grants(text: str) -> tuple[Grant, ...]:
    return () if text == "[]" else msgspec.json.decode(text, type=tuple[Grant, ...])


# ``offset 0`` keeps each lookup to itself, so that it goes by the key also on a table filled a moment ago: without
# statistics Postgres would read the whole register for every batch.
_MEMBERS: Final = """
select found.member_id, region, status, employment, sector, valid_from, covered_to, paid_through, contribution_base,
       supplements, qualifications
from unnest($1::text[]) as asked (member_id)
cross join lateral (
    select * from eligibility.member as kept where kept.member_id = asked.member_id offset 0
) as found
"""
_INSTITUTIONS: Final = """
with named as (
    select found.* from unnest($1::text[]) as asked (institution_id)
    cross join lateral (
        select * from eligibility.institution as kept where kept.institution_id = asked.institution_id offset 0
    ) as found
), hosts as (
    select found.* from (select distinct host_institution_id from named) as asked
    cross join lateral (
        select * from eligibility.institution as kept where kept.institution_id = asked.host_institution_id offset 0
    ) as found
), both_of_them as (select * from named union select * from hosts)
select institution_id, region, kind, level, designated_from, pooled_outpatient, networked, designated_to,
       host_institution_id
from both_of_them
"""
_LINKS: Final = """
select found.holder_id, found.beneficiary_id, relation, authorized_from, authorized_to
from unnest($1::text[], $2::text[]) as asked (holder_id, beneficiary_id)
cross join lateral (
    select * from eligibility.family_link as kept
    where kept.holder_id = asked.holder_id and kept.beneficiary_id = asked.beneficiary_id offset 0
) as found
"""
_FILINGS: Final = """
select found.member_id, care_region, kind, valid_from, valid_to, institution_id
from unnest($1::text[]) as asked (member_id)
cross join lateral (
    select * from eligibility.remote_filing as kept where kept.member_id = asked.member_id offset 0
) as found
"""
_STAYS: Final = """
select found.member_id, institution_id, admitted_on, discharged_on
from unnest($1::text[]) as asked (member_id)
cross join lateral (
    select * from eligibility.inpatient_stay as kept where kept.member_id = asked.member_id offset 0
) as found
"""
_ITEMS: Final = """
select found.region, found.code, name, category, pre_self_pay_ratio, valid_from, valid_to, price_limit
from unnest($1::text[], $2::text[]) as asked (region, code)
cross join lateral (
    select * from eligibility.catalogue_item as kept
    where kept.region = asked.region and kept.code = asked.code offset 0
) as found
"""

_KEEP: Final[dict[type[Any], str]] = {
    Member: """
        insert into eligibility.member
        select * from jsonb_populate_recordset(null::eligibility.member, $1::jsonb)
        on conflict on constraint member_pk do update set
            region = excluded.region, status = excluded.status, employment = excluded.employment,
            sector = excluded.sector, covered_to = excluded.covered_to, paid_through = excluded.paid_through,
            contribution_base = excluded.contribution_base, supplements = excluded.supplements,
            qualifications = excluded.qualifications
        """,
    Institution: """
        insert into eligibility.institution
        select * from jsonb_populate_recordset(null::eligibility.institution, $1::jsonb)
        on conflict on constraint institution_pk do update set
            region = excluded.region, kind = excluded.kind, level = excluded.level,
            pooled_outpatient = excluded.pooled_outpatient, networked = excluded.networked,
            designated_to = excluded.designated_to, host_institution_id = excluded.host_institution_id
        """,
    FamilyLink: """
        insert into eligibility.family_link
        select * from jsonb_populate_recordset(null::eligibility.family_link, $1::jsonb)
        on conflict on constraint family_link_pk do update set
            relation = excluded.relation, authorized_to = excluded.authorized_to
        """,
    RemoteFiling: """
        insert into eligibility.remote_filing
        select * from jsonb_populate_recordset(null::eligibility.remote_filing, $1::jsonb)
        on conflict on constraint remote_filing_pk do update set
            kind = excluded.kind, valid_to = excluded.valid_to, institution_id = excluded.institution_id
        """,
    InpatientStay: """
        insert into eligibility.inpatient_stay
        select * from jsonb_populate_recordset(null::eligibility.inpatient_stay, $1::jsonb)
        on conflict on constraint inpatient_stay_pk do update set discharged_on = excluded.discharged_on
        """,
    CatalogueItem: """
        insert into eligibility.catalogue_item
        select * from jsonb_populate_recordset(null::eligibility.catalogue_item, $1::jsonb)
        on conflict on constraint catalogue_item_pk do update set
            name = excluded.name, category = excluded.category, valid_to = excluded.valid_to,
            pre_self_pay_ratio = excluded.pre_self_pay_ratio, price_limit = excluded.price_limit
        """,
}
