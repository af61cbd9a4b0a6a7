import asyncio

import pytest

from shared.adapters.sql_index.index import SqlIndex
from shared.errors import StoreUnavailableError
from shared.ports import DEFAULT_PARTITION_KEY, DEFAULT_PARTITION_NAME, Index


async def test_the_default_partition_is_there_from_the_start(index: Index) -> None:
    [partition] = await index.list_partitions()
    assert (partition.key, partition.name) == (DEFAULT_PARTITION_KEY, DEFAULT_PARTITION_NAME)


async def test_an_unknown_partition_is_not_found(index: Index) -> None:
    assert await index.find_partition("other") is None


async def test_concurrent_calls_make_one_partition(index: Index) -> None:
    made = await asyncio.gather(*(index.create_partition("other") for _ in range(10)))
    assert set(made) == {await index.find_partition("other")}
    assert [partition.name for partition in await index.list_partitions()] == [
        DEFAULT_PARTITION_NAME,
        "other",
    ]


async def test_names_of_partitions_differ_by_case(index: Index) -> None:
    assert await index.create_partition("a") != await index.create_partition("A")


async def test_an_index_that_answers_passes_the_check(index: Index) -> None:
    await index.check()


async def test_an_index_that_was_not_migrated_says_what_to_run(tmp_path: object) -> None:
    index = SqlIndex(f"sqlite:///{tmp_path}/empty.db")
    with pytest.raises(StoreUnavailableError, match="migrate"):
        await index.check()
    await index.close()
