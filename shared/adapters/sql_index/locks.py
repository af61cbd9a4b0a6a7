"""Locks of rows that are read to be changed, on SQL Server; SQLite has one writer.

A job that writes has its studies for itself before its first statement (see Backend), and with them
all that is below. What these statements lock is what others may reach by other names: a series
whose document is recorded while its study is deleted, and rows that belong to no study. Readers
take no locks and meet none: SQL Server keeps versions of rows for them.

Microsoft: Table hints (Transact-SQL); Transaction locking and row versioning guide.
"""

from typing import Any

from sqlalchemy import Select, Table

type _Select = Select[*tuple[Any, ...]]


def locking_rows(statement: _Select, table: Table) -> _Select:
    """A statement that locks the rows it reads of a table, until the transaction ends."""
    return statement.with_hint(table, "WITH (UPDLOCK, ROWLOCK)", "mssql")


def locking_keys(statement: _Select, table: Table) -> _Select:
    """A statement that locks the keys it looks up in a table, whether there is a row or not."""
    return statement.with_hint(table, "WITH (UPDLOCK, HOLDLOCK, ROWLOCK)", "mssql")
