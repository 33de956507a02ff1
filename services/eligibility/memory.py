"""The register in memory, for ``gongji replay`` and for tests: passes the same suite as the Postgres one."""

from collections.abc import Iterable, Sequence
from typing import Any, Final, TypeVar

from services.eligibility.store import IDENTITIES, latest
from shared.register import (
    CatalogueItem,
    FamilyLink,
    InpatientStay,
    Institution,
    Member,
    RegisterRecord,
    RemoteFiling,
)
from shared.runtime.step import Tx

R = TypeVar("R")

_BY_TWO: Final = (FamilyLink, CatalogueItem)  # asked for by the first two parts of the identity, the others by one


class MemoryStore:
    """Rows by type, by what they are asked for, by identity. ``tx`` is None."""

    def __init__(self) -> None:
        self._rows: dict[type[Any], dict[Any, dict[Any, Any]]] = {kind: {} for kind in IDENTITIES}

    async def members(self, _tx: Tx, member_ids: Sequence[str]) -> list[Member]:
        """See ``Store``."""
        return self._of(Member, member_ids)

    async def institutions(self, _tx: Tx, institution_ids: Sequence[str]) -> list[Institution]:
        """See ``Store``."""
        named = self._of(Institution, institution_ids)
        hosts = {row.host_institution_id for row in named} - set(institution_ids)
        return named + self._of(Institution, hosts)

    async def links(self, _tx: Tx, pairs: Sequence[tuple[str, str]]) -> list[FamilyLink]:
        """See ``Store``."""
        return self._of(FamilyLink, pairs)

    async def filings(self, _tx: Tx, member_ids: Sequence[str]) -> list[RemoteFiling]:
        """See ``Store``."""
        return self._of(RemoteFiling, member_ids)

    async def stays(self, _tx: Tx, member_ids: Sequence[str]) -> list[InpatientStay]:
        """See ``Store``."""
        return self._of(InpatientStay, member_ids)

    async def items(self, _tx: Tx, keys: Sequence[tuple[str, str]]) -> list[CatalogueItem]:
        """See ``Store``."""
        return self._of(CatalogueItem, keys)

    async def keep(self, _tx: Tx, records: Sequence[RegisterRecord]) -> None:
        """See ``Store``."""
        for kind, rows in latest(records).items():
            for row in rows:
                identity = IDENTITIES[kind](row)
                asked_by = identity[:2] if kind in _BY_TWO else identity[0]
                self._rows[kind].setdefault(asked_by, {})[identity] = row

    def _of(self, kind: type[R], keys: Iterable[Any]) -> list[R]:
        rows = self._rows[kind]
        return [row for key in dict.fromkeys(keys) for row in rows.get(key, {}).values()]
