from struct import pack

import pytest

from shared.dicom.jpeg_2000_header import read_jpeg_2000_header
from shared.dicom.jpeg_header import BrokenHeaderError


def segment(marker: int, parameters: bytes) -> bytes:
    return pack(">HH", marker, len(parameters) + 2) + parameters


SIZE = segment(0xFF51, pack(">HIIIIIIIIH", 0, 10, 8, 2, 3, 4, 4, 0, 0, 1) + b"\x8b\1\1")
STYLE = segment(0xFF52, bytes([0, 2, 0, 1, 0, 5, 4, 4, 0, 1]))
PRECINCTS = segment(0xFF52, bytes([1, 2, 0, 1, 0, 1, 4, 4, 0, 1, 0x32, 0x77]))
TILE = segment(0xFF90, bytes(8))


def test_a_main_header_tells_size_and_coding() -> None:
    header = read_jpeg_2000_header(b"\xff\x4f" + SIZE + STYLE + TILE)
    assert (header.rows, header.columns, header.samples) == (5, 8, 1)
    assert (header.precision, header.is_signed) == (12, True)
    assert header.tiles == 3 * 2
    assert header.smallest_block == 12
    assert (header.is_reversible, header.has_color_transform) == (True, False)
    assert (header.is_high_throughput, header.is_progressive) == (False, False)


def test_the_smallest_of_blocks_and_precincts_is_told() -> None:
    header = read_jpeg_2000_header(b"\xff\x4f" + SIZE + PRECINCTS + TILE)
    assert header.smallest_block == 5


def test_capabilities_and_tile_lengths_tell_the_kind_of_htj2k() -> None:
    capabilities = segment(0xFF50, pack(">IH", 1 << 17, 0))
    lengths = segment(0xFF55, bytes(4))
    header = read_jpeg_2000_header(b"\xff\x4f" + SIZE + capabilities + STYLE + lengths + TILE)
    assert (header.is_high_throughput, header.is_progressive) == (True, True)


@pytest.mark.parametrize("segments", [SIZE + TILE, STYLE + SIZE + TILE, SIZE + STYLE * 2 + TILE])
def test_a_main_header_has_its_size_first_and_one_coding_style(segments: bytes) -> None:
    with pytest.raises(BrokenHeaderError):
        read_jpeg_2000_header(b"\xff\x4f" + segments)
