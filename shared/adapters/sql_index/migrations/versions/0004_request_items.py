"""Keep every item of RequestAttributesSequence, where there was one value for a whole series."""

from collections.abc import Iterator
from itertools import batched
from typing import Any

import orjson
from alembic import op
from sqlalchemy import (
    BigInteger,
    Column,
    Connection,
    ForeignKey,
    Integer,
    MetaData,
    Table,
    Unicode,
    insert,
    text,
)

revision = "0004"
down_revision = "0003"

_BINARY = "Latin1_General_100_BIN2"
_SEQUENCE = "00400275"
_COLUMNS = {"scheduled_procedure_step_id": "00400009", "requested_procedure_id": "00401001"}
_MAX_ITEMS = 100
_AT_ONCE = 500
_KEY = BigInteger().with_variant(Integer(), "sqlite")
_FOLDED = Unicode(200).with_variant(Unicode(200, _BINARY), "mssql")

_ITEMS = Table(
    "request_item",
    MetaData(),
    Column("series_key", _KEY, primary_key=True),
    Column("item", Integer, primary_key=True, autoincrement=False),
    Column("partition_key", _KEY, nullable=False),
    *(Column(name, _FOLDED) for name in _COLUMNS),
)


def upgrade() -> None:
    op.create_table(
        "request_item",
        Column("series_key", _KEY, ForeignKey("series.series_key"), primary_key=True),
        Column("item", Integer, primary_key=True, autoincrement=False),
        Column("partition_key", _KEY, ForeignKey("partition.partition_key"), nullable=False),
        *(Column(name, _FOLDED) for name in _COLUMNS),
        sqlite_with_rowid=False,
    )
    bind = op.get_bind()
    for rows in batched(_items(bind), _AT_ONCE, strict=False):
        bind.execute(insert(_ITEMS), list(rows))
    for name in _COLUMNS:
        op.create_index(
            f"ix_request_item_{name}_in_partition", "request_item", ["partition_key", name]
        )
        op.drop_index(f"ix_series_{name}_in_partition", "series")
        op.drop_column("series", name)
    if bind.dialect.name == "sqlite":
        _tell_statistics(bind)


def _items(bind: Connection) -> Iterator[dict[str, Any]]:
    """The items of all series, as they were brought to the rows of their series."""
    found = bind.execute(
        text("SELECT series_key, partition_key, attributes FROM series WHERE attributes LIKE :has"),
        {"has": f'%"{_SEQUENCE}"%'},
    ).all()
    for series_key, partition_key, attributes in found:
        items = orjson.loads(attributes)[_SEQUENCE].get("Value", ())[:_MAX_ITEMS]
        for number, item in enumerate(item for item in items if isinstance(item, dict)):
            values = {name: _folded(item, tag) for name, tag in _COLUMNS.items()}
            yield {
                "series_key": series_key,
                "partition_key": partition_key,
                "item": number,
                **values,
            }


def _folded(item: dict[str, Any], tag: str) -> str | None:
    values = item.get(tag, {}).get("Value", ())
    if not values or values[0] is None:
        return None
    return str(values[0]).strip(" \0").casefold()[:200] or None


def _tell_statistics(bind: Connection) -> None:
    """How selective the indexes are, as the second migration told of the others.

    A partition must seem to be less than all: now that a row is shorter, SQLite would rather read
    all series than look up those of the partition.
    """
    bind.execute(
        text("UPDATE sqlite_stat1 SET stat = '300000 150000' WHERE idx = 'ix_series_partition'")
    )
    bind.execute(
        text("INSERT INTO sqlite_stat1 (tbl, idx, stat) VALUES ('request_item', :index, :numbers)"),
        [
            {"index": "request_item", "numbers": "300000 1 1"},
            *(
                {"index": f"ix_request_item_{name}_in_partition", "numbers": "300000 300000 5"}
                for name in _COLUMNS
            ),
        ],
    )
