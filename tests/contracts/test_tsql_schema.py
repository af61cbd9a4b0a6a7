"""The schema against the limits and habits of SQL Server, read from the tables themselves.

Limits: Microsoft, "Maximum capacity specifications for SQL Server"; filtered indexes: "Create
filtered indexes"; identities: "CREATE TABLE (Transact-SQL) IDENTITY (Property)".
"""

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import (
    BigInteger,
    Column,
    Date,
    DateTime,
    Index,
    Integer,
    MetaData,
    SmallInteger,
    String,
    Table,
    Unicode,
    UnicodeText,
)
from sqlalchemy.dialects import mssql, sqlite
from sqlalchemy.schema import CreateIndex, CreateTable

from shared.adapters.sql_index.matching import Sign, criterion_of
from shared.adapters.sql_index.schema import metadata
from shared.dicom.searchable import SEARCH_ATTRIBUTES, Kind
from shared.dicomweb.condition import Wildcard

MSSQL = mssql.dialect(deprecate_large_types=True)  # type: ignore[no-untyped-call]
SQLITE = sqlite.dialect()
TABLES = metadata.sorted_tables
INDEXES = [
    index for table in TABLES for index in sorted(table.indexes, key=lambda one: str(one.name))
]

MAX_CLUSTERED_KEY_BYTES = 900
MAX_INDEX_KEY_BYTES = 1700
MAX_ROW_BYTES = 8060
MAX_NAME = 128
MAX_KEY_COLUMNS = 32
BYTES_OF_LARGE_VALUE = 24  # In the row lies a pointer.
BYTES_OF_ROW = 4 + 2 + 2  # Its header, and the number of its columns and of those of any length.


def _bytes(column: Column[object]) -> int:
    """The most that a column takes in a row or a key."""
    kind = column.type.dialect_impl(MSSQL)
    text = kind.compile(MSSQL)
    if text.startswith("NVARCHAR(max)"):
        return BYTES_OF_LARGE_VALUE
    length: int = getattr(kind, "length", None) or 0
    sizes = {"BIGINT": 8, "FLOAT": 8, "INTEGER": 4, "SMALLINT": 2, "DATETIME2(6)": 8}
    if text.startswith("NVARCHAR"):
        return 2 * length
    return length if text.startswith("VARCHAR") else sizes[text]


def _ddl(item: Table | Index) -> str:
    statement = CreateTable(item) if isinstance(item, Table) else CreateIndex(item)
    return str(statement.compile(dialect=MSSQL))


@pytest.mark.parametrize("table", TABLES, ids=lambda table: str(table.name))
def test_rows_and_clustered_keys_fit(table: Table) -> None:
    lengths = 2 * len(table.c) + len(table.c) // 8 + 1  # Of each value of any length; NULLs.
    assert BYTES_OF_ROW + lengths + sum(map(_bytes, table.c)) <= MAX_ROW_BYTES
    assert sum(map(_bytes, table.primary_key.columns)) <= MAX_CLUSTERED_KEY_BYTES
    assert all(len(column.name) <= MAX_NAME for column in table.c)


@pytest.mark.parametrize("index", INDEXES, ids=lambda index: str(index.name))
def test_keys_of_indexes_fit_together_with_the_key_of_the_row(index: Index) -> None:
    """An index that is not unique ends in the key of the clustered index."""
    assert index.table is not None
    columns = dict.fromkeys([*index.columns, *index.table.primary_key.columns])
    assert sum(map(_bytes, columns)) <= MAX_INDEX_KEY_BYTES
    assert len(columns) <= MAX_KEY_COLUMNS
    assert len(str(index.name)) <= MAX_NAME
    assert BYTES_OF_LARGE_VALUE not in map(_bytes, index.columns)


def test_every_text_that_is_compared_says_how() -> None:
    """No column depends on the collation of the database, which whoever creates it chooses."""
    texts = [column for table in TABLES for column in table.c if isinstance(column.type, String)]
    for column in texts:
        kind = column.type.dialect_impl(MSSQL)
        is_large = kind.compile(MSSQL) == "NVARCHAR(max)"
        assert is_large or getattr(kind, "collation", None) == "Latin1_General_100_BIN2", column
        assert isinstance(column.type, UnicodeText) == is_large, column
    assert len(texts) > 40


def test_every_time_keeps_its_microseconds() -> None:
    times = [column for table in TABLES for column in table.c if _is_time(column)]
    assert len(times) > 5
    assert {column.type.dialect_impl(MSSQL).compile(MSSQL) for column in times} == {"DATETIME2(6)"}


def _is_time(column: Column[object]) -> bool:
    kind = getattr(column.type, "impl", column.type)
    return isinstance(kind, DateTime | Date)


def test_keys_are_numbered_by_the_database_and_never_used_again() -> None:
    """IDENTITY counts on after a rollback and after a deletion, as AUTOINCREMENT does."""
    numbered = [table for table in TABLES if table.autoincrement_column is not None]
    assert len(numbered) > 6
    for table in numbered:
        assert " BIGINT NOT NULL IDENTITY" in _ddl(table)
        assert " AUTOINCREMENT" in str(CreateTable(table).compile(dialect=SQLITE))


@pytest.mark.parametrize("index", INDEXES, ids=lambda index: str(index.name))
def test_an_index_is_filtered_the_same_on_both_databases(index: Index) -> None:
    """By literals: a parameter says nothing when a plan is made."""
    filters = [
        str(CreateIndex(index).compile(dialect=dialect)).partition(" WHERE ")[2]
        for dialect in (MSSQL, SQLITE)
    ]
    assert filters[0] == filters[1]
    assert "?" not in filters[0]


def test_no_unique_index_holds_more_than_one_null() -> None:
    """To SQL Server two NULLs are the same; so rows without a value are left out, if there are."""
    for index in INDEXES:
        can_be_null = [column.name for column in index.columns if column.nullable]
        if index.unique and can_be_null:
            [name] = can_be_null
            assert _ddl(index).endswith(f" WHERE {name} IS NOT NULL")


def test_a_filter_on_nulls_has_its_column_in_the_index() -> None:
    """Else SQL Server looks each row up, to see what the filter says already."""
    on_nulls = [index for index in INDEXES if " IS NULL" in _ddl(index)]
    assert [_ddl(index) for index in on_nulls] == [
        "CREATE INDEX ix_change_unnumbered ON change (change_id) INCLUDE (sequence)"
        " WHERE sequence IS NULL"
    ]


def test_nothing_is_deleted_or_done_by_the_database_itself() -> None:
    """OUTPUT without INTO is refused where there are triggers; cascades would go unnoted."""
    keys = [key for table in TABLES for key in table.foreign_keys]
    assert len(keys) > 10
    assert {(key.ondelete, key.onupdate) for key in keys} == {(None, None)}


def test_tables_beyond_the_limits_are_found() -> None:
    wide = Table(
        "wide",
        MetaData(),
        Column("key", Unicode(451), primary_key=True),
        *(Column(f"text_{number}", Unicode(400)) for number in range(10)),
        Column("number", BigInteger),
        Column("small", SmallInteger),
        Column("other", Integer),
    )
    with pytest.raises(AssertionError):
        test_rows_and_clustered_keys_fit(wide)
    with pytest.raises(AssertionError):
        test_keys_of_indexes_fit_together_with_the_key_of_the_row(
            Index("ix_wide", wide.c.text_1, wide.c.text_2)
        )


_ATTRIBUTE = next(one for one in SEARCH_ATTRIBUTES if one.kind is Kind.TEXT)
# Blanks, and the ends of the ranges that come in another order in UTF-16.
_TEXTS = st.text("a! \xff\ud7ff\ue000\uffff\U00010000\U000103ff\U0010ffff", max_size=4)


@given(prefix=_TEXTS.filter(bool), rest=_TEXTS, other=_TEXTS)
def test_a_prefix_finds_the_same_on_both_databases(prefix: str, rest: str, other: str) -> None:
    for text in (prefix + rest, other, prefix.rstrip(" ")):
        for compared in (_as_by_sqlite, _as_by_sql_server):
            assert _finds(prefix, text, compared) == text.startswith(prefix)


def _finds(prefix: str, text: str, compared: Callable[[str], bytes]) -> bool:
    """What the comparisons that a prefix is turned into say of a text."""
    criterion, values = criterion_of(Wildcard(_ATTRIBUTE, f"{prefix}*"))
    [signs] = criterion.signs
    tests: dict[Sign, Callable[[str], bool]] = {
        Sign.FROM: lambda value: compared(text) >= compared(value),
        Sign.BELOW: lambda value: compared(text) < compared(value),
        Sign.LIKE: lambda _: text.startswith(prefix),
    }
    return all(tests[sign](str(value)) for sign, value in zip(signs, values, strict=True))


def _as_by_sqlite(text: str) -> bytes:
    """The bytes of UTF-8, which come in the order of code points."""
    return text.encode()


def _as_by_sql_server(text: str) -> bytes:
    """Units of UTF-16, the shorter of two texts going on in blanks."""
    return text.ljust(20).encode("utf-16-be")
