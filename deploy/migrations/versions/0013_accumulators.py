"""Each city's accumulators are its own."""

from pathlib import Path

from alembic import op

revision = "0013"
down_revision = "0012"
branch_labels = None
depends_on = None

SQL = Path(__file__).resolve().parents[1] / "sql"


def upgrade() -> None:
    """Runs the plain SQL file."""
    cursor = op.get_bind().connection.cursor()
    cursor.execute((SQL / "0013_adjudication.sql").read_text(encoding="utf-8"))


def downgrade() -> None:
    """There is no way back from books: restore a backup instead."""
    raise RuntimeError("books are not unmade; restore a backup")
