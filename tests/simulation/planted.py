"""The safeties of the loop, each taken out: the simulation must notice. Which seed does first: deploy/simulation.md."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Any, Final

import asyncpg
import pytest

from shared.errors import Fenced
from shared.runtime import batch, database, holdings, lease, loop, takeover
from shared.runtime.holdings import Holdings
from shared.runtime.loop import Loop
from shared.runtime.takeover import Taker
from simulation import statements
from simulation.ledgers import AccountStore, CrossregionStore
from simulation.session import Connection
from simulation.stores import AdjudicationStore, IntakeStore

Patch = pytest.MonkeyPatch


def _fence(patch: Patch) -> None:
    real = lease.fence

    async def fence(*arguments: Any) -> None:
        with suppress(Fenced):
            await real(*arguments)

    patch.setattr(lease, "fence", fence)


def _inbox(patch: Patch) -> None:
    real = AdjudicationStore.known

    async def known(*arguments: Any) -> Any:
        return set(), (await real(*arguments))[1]

    patch.setattr(AdjudicationStore, "known", known)


def _clearing_inbox(patch: Patch) -> None:
    async def known(*_: Any) -> set[Any]:
        return set()

    patch.setattr(CrossregionStore, "known", known)


def _watermark(patch: Patch) -> None:
    """What is committed counts as announced."""
    real = lease.advance

    async def advance(tx: Any, service: str, steps: Sequence[Any]) -> None:
        for one, by in steps:
            one.relayed_seq = by.out_seq
        await real(tx, service, steps)

    patch.setattr(lease, "advance", advance)


def _relay(patch: Patch) -> None:
    """Who takes a lease announces nothing again."""

    async def announce_again(*arguments: Any, **_: Any) -> int:
        arguments[-1].relayed_seq = arguments[-1].out_seq
        return 0

    patch.setattr(takeover, "announce_again", announce_again)


def _acknowledgement(patch: Patch) -> None:
    """A step without a table moves its offset first, and announces afterwards."""

    async def nothing(*_: Any) -> None: ...

    patch.setattr(Loop, "_announce_first", nothing)


def _order_of_leases(patch: Patch) -> None:
    """Two workers lock the same leases, each in an order of its own (in the loop, and in the statement)."""

    async def fence(tx: Connection, service: str, topics: Sequence[str], partitions: Sequence[int]) -> list[Any]:
        places = list(zip(topics, partitions, strict=True))
        tx.books.chance.shuffle(places)
        found = []
        for topic, partition in places:
            await tx.statement("fence")
            await tx.lock(statements.LEASE, (service, topic, partition))
            row = tx.get(statements.LEASE, (service, topic, partition))
            found.append({"topic": topic, "partition": partition, "epoch": row["epoch"]})
        return found

    patch.setitem(statements._STATEMENTS, lease._FENCE, fence)


def _order_of_accounts(patch: Patch) -> None:
    real = AccountStore.balances

    async def balances(self: AccountStore, tx: Connection, moving: Any, shown: Any) -> dict[str, int]:
        found: dict[str, int] = {}
        order = sorted(moving)
        tx.books.chance.shuffle(order)
        for member in order:
            found |= await real(self, tx, [member], ())
        return found | await real(self, tx, (), shown)

    patch.setattr(AccountStore, "balances", balances)


def _digest(patch: Patch) -> None:
    patch.setattr(holdings, "proves", lambda *_, **__: True)


def _projected(patch: Patch) -> None:
    """What could not be shown counts as shown."""
    real = Holdings.project

    async def project(self: Holdings, filed: Any, held: Any) -> None:
        held = list(held)
        await real(self, filed, held)
        for one in held if self._projection is not None else ():
            one.projection_broken, one.projected_seq = False, one.out_seq

    patch.setattr(Holdings, "project", project)


def _unknown(patch: Patch) -> None:
    """A commit without an answer counts as not done: the lease is kept as it was."""

    async def trouble(self: Holdings, why: Any, touched: Any) -> None:
        self._telemetry.trouble(why)
        for place in touched:
            if (one := self._held.get(place)) is not None and self.log is not None:
                self.log.go(place, one.next_offset)

    patch.setattr(Holdings, "trouble", trouble)


def _hold_back(patch: Patch) -> None:
    def nothing(entries: Sequence[Any], _: Any) -> None:
        for entry in entries:
            entry.behind = None

    patch.setattr(batch, "hold_back", nothing)


def _overtaking(patch: Patch) -> None:
    async def unannounced(*_: Any) -> int:
        return 0

    patch.setattr(IntakeStore, "unannounced", unannounced)


def _admission(patch: Patch) -> None:
    """Records that were applied are applied once more when they come once more."""
    patch.setattr(Holdings, "admit", lambda self, records: [one for one in records if (one.topic, one.partition) in self._held])


def _bounds(patch: Patch) -> None:
    """The first bounds stand, however old they are."""
    real = Taker.take

    async def take(self: Taker, place: Any, bounds: Any, _: Any) -> Any:
        async def same() -> Any:
            return bounds

        return await real(self, place, bounds, same)

    patch.setattr(Taker, "take", take)


def _broken_connection(patch: Patch) -> None:
    """asyncpg's word for a backend that was ended between two statements is taken for a bug of ours."""
    narrow = tuple(kind for kind in database.TROUBLE if kind is not asyncpg.InternalClientError)
    for module in (database, loop, takeover):
        patch.setattr(module, "TROUBLE", narrow)


PLANTED: Final[dict[str, Callable[[Patch], None]]] = {
    "fence: another epoch is passed over": _fence,
    "inbox of adjudication": _inbox,
    "inbox of crossregion": _clearing_inbox,
    "relay watermark: committed counts as announced": _watermark,
    "relay after a take-over": _relay,
    "acknowledged before the offset moves (eligibility)": _acknowledgement,
    "order of locks: leases": _order_of_leases,
    "order of locks: accounts": _order_of_accounts,
    "digest of the last record": _digest,
    "projected mark": _projected,
    "unknown outcome is read": _unknown,
    "held back behind quarantine": _hold_back,
    "a reversal waits for its claim's announcement": _overtaking,
    "admitted from next_offset on": _admission,
    "a broken connection is trouble, whatever it calls itself": _broken_connection,
    "bounds asked for again after the lease is taken": _bounds,
}


@contextmanager
def planted(name: str) -> Iterator[None]:
    """The program without one of its safeties."""
    with pytest.MonkeyPatch.context() as patch:
        PLANTED[name](patch)
        yield
