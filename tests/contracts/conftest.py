import shutil
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from localhost.azurite import azurite
from shared.adapters.azure_account import StorageAccount
from shared.adapters.azure_state_table import AzureStateTable
from shared.adapters.sql_index.database import Database
from shared.adapters.sql_index.index import SqlIndex
from shared.adapters.sql_index.migrate import migrate
from shared.adapters.sql_state_table import SqlStateTable
from shared.ports import DEFAULT_PARTITION_NAME, Index, Partition, StateTable
from tests import odbc
from tests.contracts import mssql_database


@pytest.fixture(scope="session")
def migrated(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An empty database, to be copied: migrating costs more than most tests."""
    file = tmp_path_factory.mktemp("migrated") / "index.db"
    migrate(f"sqlite:///{file}")
    return file


@pytest.fixture(scope="session")
def odbc_driver(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Microsoft's driver, loaded and registered under its name."""
    found = odbc.environment(tmp_path_factory.mktemp("odbc"))
    odbc.load()
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ODBCSYSINI", found["ODBCSYSINI"])
        yield


@pytest.fixture
def database_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """A migrated database of its own for each test; on SQL Server, one that was emptied."""
    if mssql_database.URL:
        request.getfixturevalue("odbc_driver")
        mssql_database.empty()
        return mssql_database.URL
    migrated: Path = request.getfixturevalue("migrated")
    return f"sqlite:///{shutil.copy(migrated, tmp_path / 'index.db')}"


@pytest.fixture
async def sql_index(database_url: str) -> AsyncIterator[SqlIndex]:
    index = SqlIndex(database_url, sync=False)
    yield index
    await index.close()


@pytest.fixture
def index(sql_index: SqlIndex) -> Index:
    return sql_index


@pytest.fixture
def database(sql_index: SqlIndex) -> Database:
    return sql_index.database


@pytest.fixture(params=["sql", pytest.param("azurite", marks=pytest.mark.host)])
def state_table(request: pytest.FixtureRequest) -> StateTable:
    if request.param == "sql":
        return SqlStateTable(request.getfixturevalue("sql_index"))
    account: StorageAccount = request.getfixturevalue("account")
    for table in account.tables.list_tables():
        account.tables.delete_table(table.name)
    return AzureStateTable(account, page_rows=50)


@pytest.fixture
async def partition(index: Index) -> Partition:
    found = await index.find_partition(DEFAULT_PARTITION_NAME)
    assert found is not None
    return found


@pytest.fixture(scope="session")
def account() -> Iterator[StorageAccount]:
    """An emulator for all tests; each takes a container and tables of its own."""
    with azurite() as emulator:
        reached = StorageAccount(connection_string=emulator.connection_string)
        yield reached
        reached.close()
