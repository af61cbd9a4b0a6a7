"""Keep which deletion blobs wait for, so that it can be undone."""

from alembic import op
from sqlalchemy import BigInteger, Column, String, text

revision = "0009"
down_revision = "0008"


def upgrade() -> None:
    head_id = String(32).with_variant(String(32, "Latin1_General_100_BIN2"), "mssql")
    op.add_column("deleted_blob", Column("head_id", head_id))
    op.add_column("deleted_blob", Column("change_id", BigInteger))
    for column in ("head_id", "change_id"):
        given = text(f"{column} IS NOT NULL")
        op.create_index(
            f"ix_deleted_blob_{column}",
            "deleted_blob",
            [column],
            unique=True,
            sqlite_where=given,
            mssql_where=given,
        )
