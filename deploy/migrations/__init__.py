"""Migrations: plain SQL with named constraints, run by the program at start."""

from pathlib import Path

import asyncpg

HERE = Path(__file__).resolve().parent


def run(dsn: str) -> None:
    """Brings the database up to the newest version; does nothing where it is. Safe to call from many processes.

    All of it is one transaction: a migration that is killed leaves nothing. Raises sqlalchemy.exc.OperationalError if Postgres
    does not answer, Stop where a later version of the program has been at the database.
    """
    from deploy.migrations.upgrade import upgrade  # noqa: PLC0415 - half a second to import, and hardly any start needs it

    upgrade(dsn)


async def is_newest(dsn: str) -> bool:
    """Whether the database is known to be at this program's newest version."""
    newest = max(path.name[:4] for path in (HERE / "versions").glob("[0-9]*_*.py"))
    try:
        connection = await asyncpg.connect(dsn)
        try:
            return [row[0] for row in await connection.fetch("select version_num from public.alembic_version")] == [newest]
        finally:
            await connection.close()
    except (
        asyncpg.PostgresError,
        asyncpg.InterfaceError,
        OSError,
    ):  # no such table, no answer: the way up finds out, and says so
        return False
