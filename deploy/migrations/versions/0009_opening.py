"""Accounts that are opened anew after a closing."""

from pathlib import Path

from alembic import op

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None

SQL = Path(__file__).resolve().parents[1] / "sql"


def upgrade() -> None:
    """Runs the plain SQL files."""
    cursor = op.get_bind().connection.cursor()
    for name in ("0009_opening.sql", "0009_grants.sql"):
        cursor.execute((SQL / name).read_text(encoding="utf-8"))


def downgrade() -> None:
    """There is no way back from books: restore a backup instead."""
    raise RuntimeError("books are not unmade; restore a backup")
