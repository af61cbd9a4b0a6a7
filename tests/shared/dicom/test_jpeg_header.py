from struct import pack

import pytest

from shared.dicom.jpeg_header import BASELINE, BrokenHeaderError, read_jpeg_header

FRAME = b"\xff\xc0" + pack(">HBHHB", 17, 8, 2, 3, 3) + b"\1\x21\0\2\x11\0\3\x11\0"
SCAN = b"\xff\xda" + pack(">HB", 12, 3) + b"\1\0\2\0\3\0" + b"\6\x3f\0"
START = b"\xff\xd8"


def adobe(transform: int) -> bytes:
    return b"\xff\xee" + pack(">H5sHHHB", 14, b"Adobe", 100, 0, 0, transform)


def test_a_frame_header_tells_size_and_components() -> None:
    header = read_jpeg_header(START + FRAME + SCAN, to_scan=True)
    assert (header.process, header.rows, header.columns) == (BASELINE, 2, 3)
    assert (header.samples, header.precision) == (3, 8)
    assert (header.identifiers, header.samplings) == (b"\1\2\3", b"\x21\x11\x11")
    assert header.scan_parameter == 6


def test_a_header_cut_before_its_scan_is_read_by_who_needs_no_scan() -> None:
    assert read_jpeg_header(START + FRAME, to_scan=False).scan_parameter is None
    with pytest.raises(BrokenHeaderError) as refused:
        read_jpeg_header(START + FRAME, to_scan=True)
    assert refused.value.ends_early


def test_a_scan_without_a_frame_is_no_header() -> None:
    for to_scan in (True, False):
        with pytest.raises(BrokenHeaderError) as refused:
            read_jpeg_header(START + SCAN + FRAME, to_scan=to_scan)
        assert not refused.value.ends_early


@pytest.mark.parametrize("between", [b"\xff\x01", b"\xff\xd0", b"\xff\xff\xff"])
def test_markers_without_parameters_and_fill_bytes_mean_nothing(between: bytes) -> None:
    assert read_jpeg_header(START + between + FRAME + SCAN, to_scan=True).rows == 2


def test_application_segments_tell_the_colour_transform() -> None:
    jfif = b"\xff\xe0" + pack(">H5s", 7, b"JFIF\0")
    extension = b"\xff\xe0" + pack(">H5s", 7, b"JFXX\0")
    plain = read_jpeg_header(START + FRAME, to_scan=False)
    assert (plain.is_jfif, plain.adobe_transform) == (False, None)
    told = read_jpeg_header(START + jfif + extension + adobe(1) + FRAME, to_scan=False)
    assert (told.is_jfif, told.adobe_transform) == (True, 1)


def test_the_last_of_two_adobe_segments_counts_as_in_libjpeg() -> None:
    content = START + adobe(1) + adobe(0) + FRAME
    assert read_jpeg_header(content, to_scan=False).adobe_transform == 0
