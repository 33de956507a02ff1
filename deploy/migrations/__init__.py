"""Migrations: plain SQL with named constraints, run by the program at start under an advisory lock."""

from pathlib import Path

import sqlalchemy
from alembic import command
from alembic.config import Config
from alembic.util import CommandError

from shared.errors import Stop

HERE = Path(__file__).resolve().parent
_LOCK = 0x676F6E67  # "gong": one migration at a time per database


def run(dsn: str) -> None:
    """Brings the database up to the newest version; does nothing where it is. Safe to call from many processes.

    All of it is one transaction: a migration that is killed leaves nothing. Raises sqlalchemy.exc.OperationalError if Postgres
    does not answer, Stop where a later version of the program has been at the database.
    """
    url = sqlalchemy.make_url(dsn).set(drivername="postgresql+psycopg")
    engine = sqlalchemy.create_engine(url, poolclass=sqlalchemy.NullPool)
    try:
        with engine.begin() as connection:
            connection.execute(sqlalchemy.text("select pg_advisory_xact_lock(:key)"), {"key": _LOCK})
            config = Config()
            config.set_main_option("script_location", str(HERE))
            config.attributes["connection"] = connection
            try:
                command.upgrade(config, "heads")
            except CommandError as unknown:
                raise Stop(
                    f"the books are of another version than this program ({unknown}): start the version they are of"
                ) from unknown
    finally:
        engine.dispose()
