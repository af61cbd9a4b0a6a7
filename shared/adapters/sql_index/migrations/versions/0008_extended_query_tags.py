"""Keep extended query tags, the values that instances have of them, and their re-indexing."""

from typing import Any

from alembic import op
from sqlalchemy import (
    BigInteger,
    Column,
    DateTime,
    Double,
    ForeignKey,
    Integer,
    SmallInteger,
    String,
    Unicode,
    text,
)
from sqlalchemy.dialects.mssql import DATETIME2
from sqlalchemy.types import TypeEngine

revision = "0008"
down_revision = "0007"

_BINARY = "Latin1_General_100_BIN2"
_KEY = BigInteger().with_variant(Integer(), "sqlite")
_OF_OWNERS = text("is_newest = 1")


def _ascii(length: int) -> String:
    return String(length).with_variant(String(length, _BINARY), "mssql")


def _folded(length: int) -> Unicode:
    return Unicode(length).with_variant(Unicode(length, _BINARY), "mssql")


def upgrade() -> None:
    moment = DateTime().with_variant(DATETIME2(6), "mssql")  # type: ignore[no-untyped-call]
    op.create_table(
        "extended_query_tag",
        Column("tag_key", _KEY, primary_key=True, autoincrement=True),
        Column("path", _ascii(8), nullable=False, unique=True),
        Column("vr", _ascii(2), nullable=False),
        Column("private_creator", _folded(64)),
        Column("level", SmallInteger, nullable=False),
        Column("status", _ascii(8), nullable=False),
        Column("query_status", _ascii(8), nullable=False),
        Column("operation_id", _ascii(32)),
        sqlite_autoincrement=True,
    )
    op.create_table(
        "extended_query_tag_error",
        Column("tag_key", _KEY, ForeignKey("extended_query_tag.tag_key"), primary_key=True),
        Column("watermark", _KEY, primary_key=True, autoincrement=False),
        Column("created", moment, nullable=False),
        Column("message", _ascii(200), nullable=False),
        sqlite_with_rowid=False,
    )
    op.create_index(
        "ix_extended_query_tag_error_watermark", "extended_query_tag_error", ["watermark"]
    )
    _tag_values("string", _folded(200))
    _tag_values("integer", BigInteger())
    _tag_values("real", Double())
    _tag_values("datetime", _ascii(21))
    _tag_values("person_name", _folded(200))
    _tag_values("word", _folded(64), has_many=True)
    op.create_table(
        "reindexing",
        Column("operation_id", _ascii(32), primary_key=True),
        Column("highest", BigInteger, nullable=False),
        Column("lowest", BigInteger, nullable=False),
    )


def _tag_values(kind: str, value: TypeEngine[Any], *, has_many: bool = False) -> None:
    table = f"tag_value_{kind}"
    op.create_table(
        table,
        Column("watermark", _KEY, primary_key=True, autoincrement=False),
        Column("tag_key", _KEY, ForeignKey("extended_query_tag.tag_key"), primary_key=True),
        Column("value", value, nullable=False, primary_key=has_many),
        Column("partition_key", _KEY, ForeignKey("partition.partition_key"), nullable=False),
        Column("owner_key", _KEY, nullable=False),
        Column("is_newest", SmallInteger, nullable=False),
        sqlite_with_rowid=False,
    )
    op.create_index(
        f"ix_{table}_value",
        table,
        ["tag_key", "partition_key", "value", "owner_key"],
        sqlite_where=_OF_OWNERS,
        mssql_where=_OF_OWNERS,
    )
    op.create_index(f"ix_{table}_owner", table, ["tag_key", "owner_key", "watermark"])
