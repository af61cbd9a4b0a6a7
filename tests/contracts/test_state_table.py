import asyncio

import pytest

from shared.errors import ConflictError
from shared.ports import StateTable, StateValue


async def test_a_row_is_read_as_it_was_written(state_table: StateTable) -> None:
    values: dict[str, StateValue] = {"text": "é", "number": 1, "real": 0.5, "flag": True}
    version = await state_table.put("fhir", "p", "k", values)
    row = await state_table.get("fhir", "p", "k")
    assert row is not None
    assert (row.key, row.values, row.version) == ("k", values, version)


async def test_large_numbers_and_texts_of_any_kind_are_kept(state_table: StateTable) -> None:
    values: dict[str, StateValue] = {
        "large": 2**62,
        "negative": -1,
        "no": False,
        "empty": "",
        "quoted": 'it\'s "so"\n\t',
        "whole": 3.0,
    }
    await state_table.put("fhir", "p", "k", values)
    row = await state_table.get("fhir", "p", "k")
    assert row is not None
    assert row.values == values
    assert {name: type(value) for name, value in row.values.items()} == {
        name: type(value) for name, value in values.items()
    }


@pytest.mark.parametrize(
    "key",
    ["a/b", "a\\b", "a#b", "a?b", "a%2Fb", "a!2Fb", "!", "é ü", "o'clock", "1.2.840", "\x01\x9f"],
)
async def test_keys_are_any_text(state_table: StateTable, key: str) -> None:
    await state_table.put("fhir", key, key, {"a": 1})
    row = await state_table.get("fhir", key, key)
    assert row is not None
    assert row.key == key
    assert [row.key async for row in state_table.list("fhir", key)] == [key]
    version = await state_table.put("fhir", key, key, {"a": 2}, if_version=row.version)
    assert version != row.version
    await state_table.delete("fhir", key, key)
    assert await state_table.get("fhir", key, key) is None


async def test_a_table_that_nobody_wrote_to_is_empty(state_table: StateTable) -> None:
    assert await state_table.get("unknown", "p", "k") is None
    assert [row async for row in state_table.list("unknown", "p")] == []
    await state_table.delete("unknown", "p", "k")
    version = await state_table.put("known", "p", "k", {})
    with pytest.raises(ConflictError):
        await state_table.put("unknown", "p", "k", {}, if_version=version)


async def test_a_row_that_is_not_there_is_none(state_table: StateTable) -> None:
    assert await state_table.get("fhir", "p", "k") is None


async def test_a_row_is_replaced_whole(state_table: StateTable) -> None:
    await state_table.put("fhir", "p", "k", {"a": 1, "b": 2})
    await state_table.put("fhir", "p", "k", {"a": 3})
    row = await state_table.get("fhir", "p", "k")
    assert row is not None
    assert row.values == {"a": 3}


async def test_tables_and_partitions_keep_rows_apart(state_table: StateTable) -> None:
    await state_table.put("one", "p", "k", {"a": 1})
    assert await state_table.get("two", "p", "k") is None
    assert await state_table.get("one", "q", "k") is None


async def test_every_write_changes_the_version(state_table: StateTable) -> None:
    first = await state_table.put("fhir", "p", "k", {"a": 1})
    assert await state_table.put("fhir", "p", "k", {"a": 1}) != first


async def test_a_row_of_the_version_is_replaced(state_table: StateTable) -> None:
    version = await state_table.put("fhir", "p", "k", {"a": 1})
    await state_table.put("fhir", "p", "k", {"a": 2}, if_version=version)
    row = await state_table.get("fhir", "p", "k")
    assert row is not None
    assert row.values == {"a": 2}


async def test_a_row_of_another_version_is_a_conflict(state_table: StateTable) -> None:
    version = await state_table.put("fhir", "p", "k", {"a": 1})
    await state_table.put("fhir", "p", "k", {"a": 2})
    with pytest.raises(ConflictError):
        await state_table.put("fhir", "p", "k", {"a": 3}, if_version=version)


async def test_a_version_of_a_removed_row_is_a_conflict(state_table: StateTable) -> None:
    version = await state_table.put("fhir", "p", "k", {"a": 1})
    await state_table.delete("fhir", "p", "k")
    with pytest.raises(ConflictError):
        await state_table.put("fhir", "p", "k", {"a": 3}, if_version=version)


async def test_an_empty_version_makes_only_a_new_row(state_table: StateTable) -> None:
    await state_table.put("fhir", "p", "k", {"a": 1}, if_version="")
    with pytest.raises(ConflictError):
        await state_table.put("fhir", "p", "k", {"a": 2}, if_version="")


async def test_of_racing_writers_of_one_version_one_wins(state_table: StateTable) -> None:
    version = await state_table.put("fhir", "p", "k", {"a": 0})
    results = await asyncio.gather(
        *(state_table.put("fhir", "p", "k", {"a": n}, if_version=version) for n in range(10)),
        return_exceptions=True,
    )
    assert sum(isinstance(result, str) for result in results) == 1
    assert sum(isinstance(result, ConflictError) for result in results) == 9


async def test_removing_a_row_that_is_not_there_is_no_error(state_table: StateTable) -> None:
    await state_table.delete("fhir", "p", "k")


async def test_the_rows_of_a_partition_are_listed_by_key(state_table: StateTable) -> None:
    keys = [f"{number:04}" for number in range(120)]
    await asyncio.gather(*(state_table.put("fhir", "p", key, {}) for key in reversed(keys)))
    await state_table.put("fhir", "q", "other", {})
    assert [row.key async for row in state_table.list("fhir", "p")] == keys
    assert [row.key async for row in state_table.list("fhir", "none")] == []
