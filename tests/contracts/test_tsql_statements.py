"""Every statement of the index as SQL Server gets it, before judges of T-SQL.

The statements are not listed: modules are searched for those they prepare, an index on SQLite is
used in every way while what it issues is noted, and the migrations are run. All of it is then sent
over SQLAlchemy's dialect for SQL Server, to a driver that notes texts, parameters and types.
"""

import asyncio
import re
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import pytest
from alembic import command
from alembic.config import Config
from sqlalchemy import ClauseElement, Connection, Select
from sqlalchemy.dialects import sqlite

from shared.adapters.sql_deletions import SqlDeletions
from shared.adapters.sql_index import changes, migrate
from shared.adapters.sql_index.commit import FIND, commit_all
from shared.adapters.sql_index.delete import delete_at
from shared.adapters.sql_index.index import SqlIndex
from shared.adapters.sql_index.locks import lock_studies
from shared.adapters.sql_index.update import SqlStudyUpdates
from shared.adapters.sql_reindex_table import write_missing
from shared.dicom.extended_query_tag import TagValues
from shared.dicom.resource import ResourcePath
from shared.ports import (
    ChangeAction,
    InstanceTags,
    InstanceToIndex,
    Partition,
    UpdateOutcome,
    UpdateProgress,
)
from tests.contracts.index_data import new_instance, path
from tests.contracts.tsql.judges import (
    MAX_PARAMETERS,
    as_batch,
    beyond_limits,
    denied,
    not_parsed,
)
from tests.contracts.tsql.script_dom import faults, needs_script_dom
from tests.contracts.tsql.statements import (
    Issued,
    noted,
    prepared,
    takes_its_columns_from_rows,
    unlike_in_type,
    with_values,
    written,
)
from tests.contracts.tsql.usage import LATER, NOW, search_statements, use
from tests.contracts.tsql.wire import SQL_VARCHAR, SQL_WVARCHAR, Sent, Wire

PARTITION = Partition(1, "one", NOW)

_LOCKED = re.compile(r"(\S+) WITH \((?:[^()]|\([^()]*\))*\bUPDLOCK\b")


@dataclass(frozen=True, slots=True)
class All:
    """What was issued, and how it was sent."""

    statements: list[ClauseElement]
    of_index: list[Sent]
    sent: list[Sent]
    texts: list[str]


@pytest.fixture(scope="module")
def everything(migrated: Path, tmp_path_factory: pytest.TempPathFactory) -> All:
    """All that the index does, except that nothing of it happens in SQL Server."""
    file = shutil.copy(migrated, tmp_path_factory.mktemp("used") / "index.db")
    used = asyncio.run(_used(f"sqlite:///{file}"))
    issued = list(used)
    for where, statement in prepared().items():
        if not isinstance(statement, Select):
            assert any(_is_of(item, statement) for item in used), f"{where} is never issued"
        if not takes_its_columns_from_rows(statement):
            issued.append(with_values(statement))
    issued += search_statements()
    with Wire().connected() as (wire, connection):
        for item in issued:
            item.send(connection)
        lock_studies(connection, 1, [f"2.25.{number}" for number in range(60)])
        of_index = list(wire.sent)
        changes.number_changes(connection)
        _migrate(connection)
    texts = list(dict.fromkeys(wire.texts + written()))
    return All([item.statement for item in issued], of_index, wire.sent, texts)


async def _used(url: str) -> list[Issued]:
    index = SqlIndex(url, sync=False)
    with noted() as issued:
        await use(index)
    await index.close()
    return issued


def _is_of(item: Issued, statement: ClauseElement) -> bool:
    """Whether it is a statement, or one that was made of it by telling values."""
    if takes_its_columns_from_rows(statement):
        return _target(item.statement) == _target(statement)
    return item.statement is statement


def _target(statement: ClauseElement) -> tuple[object, ...]:
    """What a statement does to which rows of which table, apart from what it sets."""
    conditions = getattr(statement, "_where_criteria", ())
    return type(statement), getattr(statement, "table", None), [id(one) for one in conditions]


def _migrate(connection: object) -> None:
    config = Config()
    config.set_main_option("script_location", str(Path(migrate.__file__).parent / "migrations"))
    config.attributes["connection"] = connection
    command.upgrade(config, "head")


@needs_script_dom
def test_microsofts_parser_finds_no_fault_in_any_statement(everything: All) -> None:
    found = faults([as_batch(text) for text in everything.texts])
    assert {text: why for text, why in zip(everything.texts, found, strict=True) if why} == {}
    assert len(everything.texts) > 400


def test_no_statement_has_what_t_sql_lacks_or_exceeds_its_limits(everything: All) -> None:
    assert {text: why for text in everything.texts if (why := denied(text))} == {}
    # Not what is written by hand: sqlglot does not know IF before ALTER DATABASE.
    assert list(not_parsed(item.text for item in everything.sent)) == []
    assert {item.text: why for item in everything.sent if (why := list(beyond_limits(item)))} == {}
    assert max(len(item.parameters) for item in everything.sent) > MAX_PARAMETERS - 10


def test_no_index_is_lost_to_a_conversion(everything: All) -> None:
    """What is sought by an index must be compared as it is stored (VARCHAR or NVARCHAR)."""
    assert [why for statement in everything.statements for why in unlike_in_type(statement)] == []
    for item in everything.of_index:
        texts = [kind for kind in item.types if kind in {SQL_VARCHAR, SQL_WVARCHAR}]
        assert len(texts) >= sum(isinstance(value, str) for value in item.parameters), item.text


def test_rows_that_are_read_to_be_changed_are_locked(everything: All) -> None:
    texts = [text for text in everything.texts if _locks(text)]
    assert {table for text in texts for table in _LOCKED.findall(text)} == {
        *("study", "series", "partition", "state_row", "operation", "[change]", "deleted_blob"),
        *("extended_query_tag", "reindexing"),
    }
    keys = "study WITH (UPDLOCK, HOLDLOCK, ROWLOCK, FORCESEEK(ix_study_study_instance_uid(partition"
    assert any(f"FROM {keys}" in text for text in texts)


def _locks(text: str) -> bool:
    return "WITH (" in text and "UPDLOCK" in text


def test_no_tag_is_added_or_deleted_while_values_of_the_tags_are_written(everything: All) -> None:
    """The version is read under a shared lock that is kept, and changed by whoever changes tags."""
    held = {text for text in everything.texts if "WITH (REPEATABLEREAD" in text}
    reading = {text.split("FROM ")[1].split()[0] for text in held}
    assert reading == {"tag_set"}
    joined = {text for text in held if " LEFT OUTER JOIN study ON " in text}
    assert joined
    assert len(held - joined) == 1
    unheld = [text for text in everything.texts if "FROM tag_set" in text and text not in held]
    assert all("(SELECT tag_set.version" in text for text in unheld)
    assert " WITH (" not in str(FIND.compile(dialect=sqlite.dialect()))


def test_studies_are_locked_in_the_order_of_their_uids() -> None:
    with Wire().connected() as (wire, connection):
        lock_studies(connection, 1, [f"2.25.{number}" for number in range(2500, 0, -1)])
    uids = [uid for item in wire.sent for uid in item.parameters[1:]]
    assert len(uids) == 2500
    assert all(one < other for one, other in pairwise(uids))
    assert all("ORDER BY study.study_instance_uid" in item.text for item in wire.sent)


def test_changes_get_their_numbers_in_the_order_of_their_rows() -> None:
    """Of rows that are selected in an order, IDENTITY is given in that order.

    Microsoft: INSERT (Transact-SQL), on INSERT with SELECT and ORDER BY.
    """
    several = [(ChangeAction.CREATE, path(instance=number)) for number in range(1000)]
    with Wire().connected() as (wire, connection):
        numbers = changes.add_changes(connection, 1, several)
    assert len(numbers) == len(several)
    sent = [item for item in wire.sent if item.text.startswith("INSERT INTO change ")]
    assert all(item.text.endswith("sen_counter) ORDER BY sen_counter") for item in sent)
    uids = [uid for item in sent for uid in item.parameters[3::5]]
    assert uids == [at.instance for _, at in several]


def test_a_deletion_locks_its_study_before_it_reads() -> None:
    with Wire().connected() as (wire, connection):
        assert delete_at(connection, 1, ResourcePath(path().study), LATER) == []
    first, second = wire.sent
    assert _locks(first.text)
    assert first.parameters == (1, path().study)
    assert second.text.startswith("SELECT TOP 500 ")


@dataclass(frozen=True, slots=True)
class _Database:
    """That of an index whose transactions are all one."""

    connection: Connection

    async def write[T](self, job: Callable[[Connection], T]) -> T:
        return job(self.connection)


def _index_over(connection: Connection) -> SqlIndex:
    return cast("SqlIndex", SimpleNamespace(database=_Database(connection)))


def test_an_update_locks_its_study_and_then_its_operation_before_it_reads() -> None:
    progress = UpdateProgress("0" * 32, {}, {}, 50)
    with Wire().connected() as (wire, connection):
        table = SqlStudyUpdates(_index_over(connection))
        outcome = asyncio.run(table.commit(PARTITION, path().study, [], progress, LATER))
    assert outcome is UpdateOutcome.ENDED
    study, operation = wire.sent
    assert _locks(study.text)
    assert study.parameters == (1, path().study)
    assert "FROM operation WITH (UPDLOCK, ROWLOCK)" in operation.text


def test_a_restore_locks_its_study_and_then_what_waits_however_much_it_is() -> None:
    items = [new_instance(path(instance=number)) for number in range(MAX_PARAMETERS + 1)]
    with Wire().connected() as (wire, connection):
        table = SqlDeletions(_index_over(connection))
        refused = asyncio.run(table.restore(PARTITION, items))
    assert len(refused) == len(items)
    assert _locks(wire.sent[0].text)
    assert wire.sent[0].parameters == (1, path().study)
    assert [why for item in wire.sent for why in beyond_limits(item)] == []
    waiting = [item.text for item in wire.sent if "FROM deleted_blob" in item.text]
    assert waiting
    assert all("FROM deleted_blob WITH (UPDLOCK, ROWLOCK)" in text for text in waiting)


def test_a_reindex_locks_studies_and_then_the_set_of_tags_before_it_reads() -> None:
    found = InstanceTags(InstanceToIndex(1, path().study, 7, "0" * 32), TagValues(), {})
    with Wire().connected() as (wire, connection):
        write_missing(connection, [found])
    study, tags, *others = wire.sent
    assert _locks(study.text)
    assert study.parameters == (1, path().study)
    assert "FROM tag_set WITH (REPEATABLEREAD, ROWLOCK)" in tags.text
    assert others


@pytest.mark.parametrize("instances", [1, 100])
def test_a_commit_locks_its_study_and_then_sends_so_many_statements(instances: int) -> None:
    """However many instances there are: to each statement there and back takes milliseconds."""
    items = [new_instance(path(instance=number)) for number in range(instances)]
    with Wire().connected() as (wire, connection):
        [outcomes] = commit_all(connection, [(1, items)])
    assert len(outcomes) == instances
    lock, find, *others = (item.text for item in wire.sent)
    assert _locks(lock)
    assert find.startswith("SELECT tag_set.version AS tag_set_version, study.")
    assert "FROM tag_set WITH (REPEATABLEREAD, ROWLOCK) LEFT OUTER JOIN study ON " in find
    assert [text.split(" (")[0] for text in others if text.startswith("INSERT")] == [
        "INSERT INTO change",
        "INSERT INTO study",
        "INSERT INTO person_name_word",
        "INSERT INTO series",
        "INSERT INTO study_attributes",
        "INSERT INTO series_attributes",
        "INSERT INTO instance",
    ]
