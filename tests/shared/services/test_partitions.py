from pathlib import Path

import pytest

from shared.errors import InvalidRequestError, StoreUnavailableError
from shared.ports import DEFAULT_PARTITION_NAME, Index
from shared.services.partitions import Partitions
from shared.wiring import Services
from tests.archive import open_archive


def _served(index: Index) -> Partitions:
    return Partitions(index, are_served=True, are_required=False)


def _off(index: Index) -> Partitions:
    return Partitions(index, are_served=False, are_required=False)


async def test_a_partition_is_made_only_where_that_is_asked_for(services: Services) -> None:
    with pytest.raises(InvalidRequestError, match=r"^Specified PartitionName does not exist\.$"):
        await services.partitions.resolve("new", create=False)
    made = await services.partitions.resolve("new", create=True)
    assert await services.partitions.resolve("new", create=False) == made
    assert [partition.name for partition in await services.partitions.list()] == [
        DEFAULT_PARTITION_NAME,
        "new",
    ]


@pytest.mark.parametrize("name", ["", "a b", "a/b", "a\n", "ä", "a" * 65, "a%"])
async def test_a_malformed_name_makes_no_partition(services: Services, name: str) -> None:
    with pytest.raises(InvalidRequestError, match="1 to 64"):
        await services.partitions.resolve(name, create=True)
    assert len(await services.partitions.list()) == 1


@pytest.mark.parametrize("name", ["a", "A.b-c_9", "..", "a" * 64])
async def test_letters_digits_dots_dashes_and_underscores_make_a_name(
    services: Services, name: str
) -> None:
    assert (await services.partitions.resolve(name, create=True)).name == name


async def test_where_partitions_are_off_there_is_only_the_default_one(services: Services) -> None:
    partitions = _off(services.index)
    assert (await partitions.resolve(None, create=True)).name == DEFAULT_PARTITION_NAME
    for name in (DEFAULT_PARTITION_NAME, "a b"):
        with pytest.raises(InvalidRequestError, match=r"^Data partitions feature is disabled\.$"):
            await partitions.resolve(name, create=True)
    with pytest.raises(InvalidRequestError, match=r"^Data partitions feature is disabled\.$"):
        await partitions.list()


async def test_where_partitions_are_required_there_is_no_default(services: Services) -> None:
    partitions = Partitions(services.index, are_served=True, are_required=True)
    with pytest.raises(InvalidRequestError, match=r"^PartitionName value is missing in the route"):
        await partitions.resolve(None, create=True)
    assert (await partitions.resolve(DEFAULT_PARTITION_NAME, create=False)).key == 1


async def test_partitions_cannot_be_switched_off_once_there_are_others(tmp_path: Path) -> None:
    async with open_archive(tmp_path) as services:
        await _off(services.index).check()
        await _served(services.index).resolve("other", create=True)
        hiding = _off(services.index)
        with pytest.raises(StoreUnavailableError, match="set it to optional or required"):
            await hiding.check()
        with pytest.raises(StoreUnavailableError, match="set it to optional or required"):
            await hiding.resolve(None, create=True)
        await _served(services.index).check()


async def test_addresses_name_the_partition_where_a_plain_one_would_not_do(
    services: Services,
) -> None:
    root = "http://archive.test/v2"
    required = Partitions(services.index, are_served=True, are_required=True)
    default = f"{root}/partitions/{DEFAULT_PARTITION_NAME}"
    assert _served(services.index).base_url(root, DEFAULT_PARTITION_NAME) == root
    assert required.base_url(root, DEFAULT_PARTITION_NAME) == default
    assert _served(services.index).base_url(root, "a") == f"{root}/partitions/a"
