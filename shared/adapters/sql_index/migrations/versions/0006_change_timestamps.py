"""Find where a time window of the change feed begins and ends."""

from alembic import op
from sqlalchemy import text

revision = "0006"
down_revision = "0005"

_NUMBERED = text("sequence IS NOT NULL")


def upgrade() -> None:
    op.create_index(
        "ix_change_timestamp",
        "change",
        ["timestamp", "sequence"],
        sqlite_where=_NUMBERED,
        mssql_where=_NUMBERED,
    )
