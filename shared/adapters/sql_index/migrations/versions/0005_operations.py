"""Keep long-running operations."""

from alembic import op
from sqlalchemy import Column, DateTime, Integer, String, UnicodeText
from sqlalchemy.dialects.mssql import DATETIME2

revision = "0005"
down_revision = "0004"

_BINARY = "Latin1_General_100_BIN2"


def _ascii(length: int) -> String:
    return String(length).with_variant(String(length, _BINARY), "mssql")


def upgrade() -> None:
    moment = DateTime().with_variant(DATETIME2(6), "mssql")  # type: ignore[no-untyped-call]
    op.create_table(
        "operation",
        Column("operation_id", _ascii(32), primary_key=True),
        Column("type", _ascii(16), nullable=False),
        Column("status", _ascii(16), nullable=False),
        Column("created", moment, nullable=False),
        Column("last_updated", moment, nullable=False),
        Column("percent_complete", Integer),
        Column("input", UnicodeText, nullable=False),
        Column("results", UnicodeText),
    )
    op.create_index("ix_operation_status", "operation", ["status", "created"])
    op.create_index("ix_operation_created", "operation", ["created"])
