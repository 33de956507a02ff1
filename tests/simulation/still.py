"""The books alone, without a run: a connection for the contract tests, on which nothing goes wrong and nothing takes time."""

from simulation import statements
from simulation.books import Books
from simulation.chance import Chance
from simulation.session import Connection
from simulation.statements import constrain


class Still:
    """A process that always runs."""

    name = "contract"

    async def call(self) -> None: ...

    async def crash(self) -> None: ...


def books() -> Books:
    """Empty tables with their constraints."""
    made = Books(Chance(0, calm=True))
    constrain(made)
    return made


def connection(to: Books | None = None) -> Connection:
    """A session; of books of its own where none are given."""
    return Connection(to or books(), Still(), statements.run)
