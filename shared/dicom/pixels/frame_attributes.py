"""What a data set says of one frame, and its numbers.

Standard: PS3.3 C.7.6.16 (2025b).
"""

from math import isfinite

from pydicom import Dataset
from pydicom.sequence import Sequence


def attributes_of_frame(dataset: Dataset, frame: int, macro: str) -> Dataset:
    """Where the attributes of a functional group macro are for a frame, counted from 0.

    That is the item of the sequence `macro` for the frame, or for all of them, or the data set
    itself where it has no functional groups.
    """
    for keyword, index in (
        ("PerFrameFunctionalGroupsSequence", frame),
        ("SharedFunctionalGroupsSequence", 0),
    ):
        groups = _item(dataset, keyword, index)
        found = None if groups is None else _item(groups, macro, 0)
        if found is not None:
            return found
    return dataset


def decimals(dataset: Dataset, keyword: str) -> list[float]:
    """The values of an attribute as finite numbers; none where one of them is no such number."""
    value = dataset.get(keyword)
    values = [value] if isinstance(value, str | float | int) else value or ()
    try:
        numbers = [float(one) for one in values]
    except (TypeError, ValueError):
        return []
    return numbers if all(map(isfinite, numbers)) else []


def decimal(dataset: Dataset, keyword: str, default: float) -> float:
    """The first value of an attribute as a finite number."""
    return next(iter(decimals(dataset, keyword)), default)


def _item(dataset: Dataset, keyword: str, index: int) -> Dataset | None:
    items = dataset.get(keyword)
    return items[index] if isinstance(items, Sequence) and index < len(items) else None
