"""Keep the heads of updated instances."""

from alembic import op
from sqlalchemy import BigInteger, Column, String, text

revision = "0007"
down_revision = "0006"

_UPDATED = text("head_id IS NOT NULL")


def upgrade() -> None:
    head_id = String(32).with_variant(String(32, "Latin1_General_100_BIN2"), "mssql")
    op.add_column("instance", Column("head_id", head_id))
    op.add_column("instance", Column("head_length", BigInteger))
    op.add_column("instance", Column("body_offset", BigInteger))
    op.create_index(
        "ix_instance_head_id",
        "instance",
        ["head_id"],
        unique=True,
        sqlite_where=_UPDATED,
        mssql_where=_UPDATED,
    )
