"""Where a study, series or instance lies: the paths of DICOMweb as values."""

from collections.abc import Iterable
from dataclasses import dataclass
from enum import IntEnum

from shared.dicom.uid import Uid, parse_uid
from shared.errors import InvalidFrameListError


class Level(IntEnum):
    """The levels of the information model that are searched and retrieved."""

    STUDY = 1
    SERIES = 2
    INSTANCE = 3


@dataclass(frozen=True, slots=True, order=True)
class ResourcePath:
    """A study, one of its series, or one of its instances; not yet known to exist.

    Standard: PS3.18 Table 10.1.2-1 (2025b).
    """

    study: Uid
    series: Uid | None = None
    instance: Uid | None = None

    @property
    def level(self) -> Level:
        """Which of the three this path names."""
        if self.instance is not None:
            return Level.INSTANCE
        return Level.STUDY if self.series is None else Level.SERIES

    def __str__(self) -> str:
        """The path below the service root, as in a Retrieve URL."""
        text = f"studies/{self.study}"
        if self.series is not None:
            text += f"/series/{self.series}"
        if self.instance is not None:
            text += f"/instances/{self.instance}"
        return text


def parse_path(study: str, series: str | None = None, instance: str | None = None) -> ResourcePath:
    """Read the UIDs of a URL.

    Raises:
        InvalidUidError: One of them is not a UID.
    """
    return ResourcePath(
        parse_uid(study),
        None if series is None else parse_uid(series),
        None if instance is None else parse_uid(instance),
    )


def parse_frame_list(text: str, *, at_most: int = 10_000) -> tuple[int, ...]:
    """Read a comma-separated list of frame numbers, 1-based, in the order asked.

    Raises:
        InvalidFrameListError: It is empty, too long, repeats itself or holds anything but
            integers from 1.

    Standard: PS3.18 Table 10.1.2-1, the {frames} list (2025b).
    """
    items = text.split(",") if len(text) <= at_most * 11 else []
    numbers = tuple(_frame_numbers(items))
    if not numbers or len(numbers) > at_most or len(set(numbers)) != len(numbers):
        raise InvalidFrameListError("Frames must be a list of distinct frame numbers from 1.")
    return numbers


def _frame_numbers(items: Iterable[str]) -> Iterable[int]:
    for item in items:
        digits = item.strip()
        if not (digits.isascii() and digits.isdigit()) or len(digits) > 10 or int(digits) < 1:  # noqa: PLR2004
            raise InvalidFrameListError("Frames must be a list of distinct frame numbers from 1.")
        yield int(digits)
