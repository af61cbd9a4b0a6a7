import pytest

from shared.dicomweb.byte_range import parse_range
from shared.errors import RangeNotSatisfiableError


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        ("bytes=0-0", (0, 1)),
        ("bytes=2-5", (2, 4)),
        ("bytes=2-", (2, 8)),
        ("bytes=8-100", (8, 2)),
        ("bytes=-3", (7, 3)),
        ("bytes=-100", (0, 10)),
        (" Bytes = 1 - 2 ", (1, 2)),
    ],
)
def test_a_range_is_cut_to_the_value(header: str, expected: tuple[int, int]) -> None:
    assert parse_range(header, 10) == expected


@pytest.mark.parametrize(
    "header",
    [None, "", "bytes=-", "bytes=5-2", "bytes=0-1,3-4", "lines=1-2", "bytes=a-b", "bytes=1", "9-9"],
)
def test_what_is_no_single_range_asks_for_the_whole(header: str | None) -> None:
    assert parse_range(header, 10) is None


@pytest.mark.parametrize("header", ["bytes=10-", "bytes=10-20", "bytes=-0", "bytes=99-"])
def test_a_range_outside_the_value_cannot_be_given(header: str) -> None:
    with pytest.raises(RangeNotSatisfiableError) as refused:
        parse_range(header, 10)
    assert refused.value.length == 10
