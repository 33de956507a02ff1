"""Migrations: plain SQL with named constraints, run by the program at start under an advisory lock."""

from pathlib import Path

import sqlalchemy
from alembic import command
from alembic.config import Config

HERE = Path(__file__).resolve().parent
_LOCK = 0x676F6E67  # "gong": one migration at a time per database


def run(dsn: str) -> None:
    """Brings the database up to the newest version; does nothing where it is. Safe to call from many processes.

    Raises sqlalchemy.exc.OperationalError if Postgres does not answer.
    """
    url = sqlalchemy.make_url(dsn).set(drivername="postgresql+psycopg")
    engine = sqlalchemy.create_engine(url, poolclass=sqlalchemy.NullPool)
    try:
        with engine.begin() as connection:
            connection.execute(sqlalchemy.text("select pg_advisory_xact_lock(:key)"), {"key": _LOCK})
            config = Config()
            config.set_main_option("script_location", str(HERE))
            config.attributes["connection"] = connection
            command.upgrade(config, "heads")
    finally:
        engine.dispose()
