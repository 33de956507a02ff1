"""Monthly credits, closed accounts, the work list."""

from pathlib import Path

from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

SQL = Path(__file__).resolve().parents[1] / "sql"
FILES = ("crediting", "grants")


def upgrade() -> None:
    """Runs the plain SQL files in order."""
    for name in FILES:
        cursor = op.get_bind().connection.cursor()
        cursor.execute((SQL / f"0002_{name}.sql").read_text(encoding="utf-8"))


def downgrade() -> None:
    """There is no way back from books: restore a backup instead."""
    raise RuntimeError("books are not unmade; restore a backup")
