"""Find the deletions of a study, series or instance, to tell what is gone from what never was."""

from alembic import op
from sqlalchemy import text

revision = "0003"
down_revision = "0002"

_OF_DELETION = text("action = 1")


def upgrade() -> None:
    op.create_index(
        "ix_change_deleted",
        "change",
        ["partition_key", "study_instance_uid", "series_instance_uid", "sop_instance_uid"],
        sqlite_where=_OF_DELETION,
        mssql_where=_OF_DELETION,
    )
