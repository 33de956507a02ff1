"""The books of the loop and of the five services."""

from pathlib import Path

from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

SQL = Path(__file__).resolve().parents[1] / "sql"
FILES = ("runtime", "intake", "eligibility", "adjudication", "account", "crossregion", "roles")


def upgrade() -> None:
    """Runs the plain SQL files in order."""
    for name in FILES:
        cursor = op.get_bind().connection.cursor()
        cursor.execute((SQL / f"0001_{name}.sql").read_text(encoding="utf-8"))


def downgrade() -> None:
    """There is no way back from books: restore a backup instead."""
    raise RuntimeError("books are not unmade; restore a backup")
