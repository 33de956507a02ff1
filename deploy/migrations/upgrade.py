"""The way up, by Alembic: all that is missing in one transaction, under an advisory lock."""

from pathlib import Path

import sqlalchemy
from alembic import command
from alembic.config import Config
from alembic.util import CommandError

from shared.errors import Stop

HERE = Path(__file__).resolve().parent
_LOCK = 0x676F6E67  # "gong": one migration at a time per database


def upgrade(dsn: str, to: str = "heads") -> None:
    """See ``deploy.migrations.run``. ``to``: the revision to stop at."""
    url = sqlalchemy.make_url(dsn).set(drivername="postgresql+psycopg")
    engine = sqlalchemy.create_engine(url, poolclass=sqlalchemy.NullPool)
    try:
        with engine.begin() as connection:
            connection.execute(sqlalchemy.text("select pg_advisory_xact_lock(:key)"), {"key": _LOCK})
            config = Config()
            config.set_main_option("script_location", str(HERE))
            config.attributes["connection"] = connection
            try:
                command.upgrade(config, to)
            except CommandError as unknown:
                raise Stop(
                    f"the books are of another version than this program ({unknown}): start the version they are of"
                ) from unknown
    finally:
        engine.dispose()
