"""The order of the tests."""

import pytest


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with what takes long, so that no process is left alone with it in the end."""
    items.sort(key=_rank)


def _rank(item: pytest.Item) -> bool:
    return item.get_closest_marker("slow") is None
