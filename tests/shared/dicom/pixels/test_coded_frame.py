from struct import pack
from typing import Any

import pytest

from shared.dicom.pixels.coded_frame import read_coded_frame
from shared.dicom.pixels.encode import encode_frame
from shared.errors import NotAcceptableError
from tests.shared.dicom.pixels.stored_images import GRAY, RGB, describe, smooth

BASELINE, SV1, JPEG_LS, JPEG_2000, HTJ2K = (
    f"1.2.840.10008.1.2.4.{n}" for n in (50, 70, 80, 90, 201)
)


@pytest.mark.parametrize("color", [GRAY, RGB], ids=["gray", "rgb"])
@pytest.mark.parametrize("syntax", [BASELINE, SV1, JPEG_LS, JPEG_2000, HTJ2K])
def test_the_size_is_read_from_every_format(syntax: str, color: dict[str, Any]) -> None:
    frame = smooth(describe(30, 50, **color))
    coded = read_coded_frame(encode_frame(frame, syntax).content)
    assert (coded.rows, coded.columns) == (30, 50)
    assert (coded.samples, coded.precision) == (frame.image.samples_per_pixel, 8)


def test_a_jpeg_2000_file_is_read_by_the_codestream_in_it() -> None:
    codestream = encode_frame(smooth(describe(30, 50)), JPEG_2000).content
    boxes = b"\0\0\0\x0cjP  \r\n\x87\n" + bytes(80)
    assert read_coded_frame(boxes + codestream).rows == 30


@pytest.mark.parametrize("content", [b"", b"\0" * 99, b"GIF89a", b"\xff\xd8\xff\xda\0\x08" * 2])
def test_what_is_of_no_format_is_refused(content: bytes) -> None:
    with pytest.raises(NotAcceptableError):
        read_coded_frame(content)


@pytest.mark.parametrize("marker", [0xC5, 0xC9, 0xCF])
def test_hierarchical_and_arithmetic_processes_are_refused(marker: int) -> None:
    frame = b"\xff\xd8\xff" + bytes([marker]) + pack(">HBHHB", 11, 8, 4, 4, 1) + bytes(3)
    with pytest.raises(NotAcceptableError, match="process"):
        read_coded_frame(frame)


def test_a_progressive_frame_of_very_many_scans_is_refused() -> None:
    start = b"\xff\xd8\xff\xc2" + pack(">HBHHB", 11, 8, 4000, 4000, 1) + b"\x01\x11\x00"
    assert read_coded_frame(start).rows == 4000
    with pytest.raises(NotAcceptableError, match="scans"):
        read_coded_frame(start + b"\xff\xda\0\x08\x01\x01\0\0\0\0" * 1000)


def size(*, tile: int = 4096, sampling: int = 1, samples: int = 1) -> bytes:
    kind = bytes([7, sampling, sampling])
    fields = pack(">HIIIIIIIIH", 0, 4096, 4096, 0, 0, tile, tile, 0, 0, samples)
    segment = fields + kind * samples
    return b"\xff\x4f\xff\x51" + pack(">H", len(segment) + 2) + segment


def style(*, block: int = 4, precincts: bytes = b"") -> bytes:
    fields = bytes([bool(precincts), 0, 0, 1, 0, max(0, len(precincts) - 1), block, block, 0, 1])
    return b"\xff\x52" + pack(">H", len(fields + precincts) + 2) + fields + precincts


def component_style(precincts: bytes, component: bytes = b"\0") -> bytes:
    fields = component + bytes([1, len(precincts) - 1, 4, 4, 0, 1]) + precincts
    return b"\xff\x53" + pack(">H", len(fields) + 2) + fields


def tile(header: bytes = b"", *, length: int | None = None) -> bytes:
    content = header + b"\xff\x93" + bytes(9)
    return b"\xff\x90" + pack(">HHIBB", 10, 0, length or 12 + len(content), 0, 1) + content


TINY = b"\x00\x11"
END = tile()


def test_a_plain_header_of_jpeg_2000_is_taken() -> None:
    assert read_coded_frame(size() + style() + END).columns == 4096


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (size(tile=1) + style() + END, "tiles"),
        (size(tile=0) + style() + END, "kinds"),
        (size(sampling=2) + style() + END, "kinds"),
        (size(samples=60) + style(block=0) + END, "blocks"),
        (size() + style(precincts=TINY) + END, "blocks"),
        (size() + style() + component_style(TINY) + END, "blocks"),
        (size(samples=257) + style() + component_style(TINY, b"\0\0") + END, "blocks"),
        (size() + style() + tile(style(precincts=TINY)), "blocks"),
        (size() + style() + tile() + tile(component_style(TINY)), "blocks"),
        (size() + style() + tile() * 70_000, "tiles"),
        (size() + style() + tile(b"\xff\x64\0\2" * 2000), "format"),
    ],
)
def test_a_header_that_would_exhaust_its_decoder_is_refused(content: bytes, reason: str) -> None:
    with pytest.raises(NotAcceptableError, match=reason):
        read_coded_frame(content)


def test_large_blocks_of_a_tile_or_a_component_are_taken() -> None:
    large = style(precincts=b"\x77\x88") + component_style(b"\x77\x88")
    assert read_coded_frame(size() + large + tile(large) * 3 + b"\xff\xd9").rows == 4096


def test_components_of_different_kinds_are_refused() -> None:
    content = bytearray(size(samples=3) + style() + END)
    content[45] = 11
    with pytest.raises(NotAcceptableError, match="kinds"):
        read_coded_frame(bytes(content))


def test_a_header_that_ends_early_is_refused() -> None:
    with pytest.raises(NotAcceptableError, match="ends"):
        read_coded_frame(size())
