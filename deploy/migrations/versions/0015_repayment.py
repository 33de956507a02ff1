"""What an institution pays back is booked."""

from pathlib import Path

from alembic import op

revision = "0015"
down_revision = "0014"
branch_labels = None
depends_on = None

SQL = Path(__file__).resolve().parents[1] / "sql"


def upgrade() -> None:
    """Runs the plain SQL file."""
    cursor = op.get_bind().connection.cursor()
    cursor.execute((SQL / "0015_repayment.sql").read_text(encoding="utf-8"))


def downgrade() -> None:
    """There is no way back from books: restore a backup instead."""
    raise RuntimeError("books are not unmade; restore a backup")
