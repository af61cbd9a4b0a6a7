"""Bytes made to hurt: nothing but our own refusals, in bounded time and memory."""

import random
import tracemalloc
import zlib
from io import BytesIO
from pathlib import Path
from struct import pack

import pytest
from hypothesis import strategies as st

from shared.dicom.header import Header, Limits, NeedsPydicom
from shared.dicom.json_model import dumps
from shared.dicom.part10 import Part10Scanner, scan
from shared.dicom.pydicom_reader import read_with_pydicom
from shared.errors import InvalidInstanceError
from tests.shared.dicom import corpus
from tests.shared.dicom.data_sets import ITEM, SEQUENCE_END, UNDEFINED, Encoded, part10, write
from tests.shared.dicom.properties import for_any

SEQUENCE = b"\x08\0\x40\x11SQ\0\0"
FRAGMENTED = pack("<HH2sHI", 0x7FE0, 0x10, b"OB", 0, UNDEFINED)
DEFLATED = "1.2.840.10008.1.2.1.99"
SMALL = [path for path in corpus.FILES if path.stat().st_size < 12_000]


def header_of(content: bytes) -> Header | None:
    """What Store would make of it: a header, or None for a refusal."""
    try:
        return scan(content)
    except NeedsPydicom:
        pass
    except InvalidInstanceError:
        return None
    try:
        return read_with_pydicom(BytesIO(content))
    except InvalidInstanceError:
        return None


def refused(content: bytes, limits: Limits | None = None) -> None:
    with pytest.raises(InvalidInstanceError):
        scan(content, limits)


@corpus.by_path(SMALL[::5])
def test_a_file_cut_anywhere_is_read_or_refused(path: Path) -> None:
    content = path.read_bytes()
    chosen = random.Random(path.name)
    for _ in range(25):
        header = header_of(content[: chosen.randrange(len(content))])
        assert header is None or dumps(header.document)


@corpus.by_path(SMALL[::5])
def test_a_file_with_flipped_bits_is_read_or_refused(path: Path) -> None:
    content = path.read_bytes()
    chosen = random.Random(path.name)
    for _ in range(25):
        broken = bytearray(content)
        for _ in range(chosen.randint(1, 8)):
            broken[chosen.randrange(132, min(len(broken), 3000))] ^= 1 << chosen.randrange(8)
        header = header_of(bytes(broken))
        assert header is None or dumps(header.document)


@for_any(150, tail=st.binary(max_size=400), explicit=st.booleans())
def test_random_bytes_are_read_or_refused(tail: bytes, *, explicit: bool) -> None:
    for content in (tail, part10(tail, explicit=explicit)):
        header = header_of(content)
        assert header is None or dumps(header.document)


@pytest.mark.parametrize("depth", [65, 5000])
def test_sequences_nested_too_deeply_are_refused(depth: int) -> None:
    opened = SEQUENCE + pack("<I", UNDEFINED) + ITEM + pack("<I", UNDEFINED)
    refused(part10(opened * depth))


def test_sequences_nested_as_deeply_as_allowed_are_read() -> None:
    content = b""
    for _ in range(64):
        item = ITEM + pack("<I", len(content)) + content
        content = SEQUENCE + pack("<I", len(item)) + item
    assert scan(part10(content)) == read_with_pydicom(BytesIO(part10(content)))


def test_nesting_that_pydicom_recurses_on_is_refused() -> None:
    opened = SEQUENCE + pack("<I", UNDEFINED) + ITEM + pack("<I", UNDEFINED)
    with pytest.raises(InvalidInstanceError):
        read_with_pydicom(BytesIO(part10(opened * 20_000)))


def test_a_length_that_is_not_there_holds_no_memory() -> None:
    for vr in (b"OB", b"UT", b"UN", b"UC", b"UR", b"SQ"):
        content = part10(pack("<HH2sHI", 0x42, 0x11, vr, 0, 0xFFFFFFF0) + bytes(1000))
        tracemalloc.start()
        assert header_of(content) is None or vr != b"UR"
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        assert peak < 8 << 20


def test_a_text_longer_than_its_vr_can_be_is_refused() -> None:
    long_uri = write(Encoded(0x00081190, "UR", b"a" * (2 << 20), {}), explicit=True)
    refused(part10(long_uri))


def test_a_very_long_text_is_given_by_reference() -> None:
    text = write(Encoded(0x0040A160, "UT", b"a" * (2 << 20), {}), explicit=True)
    header = scan(part10(text))
    assert header.document["0040A160"] == {"vr": "UT", "BulkDataURI": "0040A160"}
    assert header.bulk_values[0].length == 2 << 20
    assert header == read_with_pydicom(BytesIO(part10(text)))


def test_more_elements_than_allowed_are_refused() -> None:
    items = (ITEM + pack("<I", 0)) * 2000
    refused(part10(SEQUENCE + pack("<I", len(items)) + items), Limits(max_elements=1000))


def test_more_bytes_than_may_be_held_are_refused() -> None:
    text = b"".join(
        write(Encoded(0x00090000 + tag, "LT", b"a" * 60_000, {}), explicit=True)
        for tag in range(0x1000, 0x1020)
    )
    refused(part10(text), Limits(max_held_length=1 << 20))


def test_more_fragments_than_allowed_are_refused() -> None:
    fragments = (ITEM + pack("<I", 0)) * 100 + SEQUENCE_END + bytes(4)
    refused(part10(FRAGMENTED + fragments), Limits(max_fragments=50))


def test_encapsulated_pixel_data_that_never_ends_is_refused() -> None:
    content = part10(FRAGMENTED + ITEM + bytes(4) + ITEM + pack("<I", 50) + bytes(20))
    assert header_of(content) is None


def test_a_large_file_is_scanned_in_little_memory() -> None:
    size = 64 << 20
    start = part10(pack("<HH2sHI", 0x7FE0, 0x10, b"OW", 0, size))
    chunk = bytes(1 << 20)
    tracemalloc.start()
    scanner = Part10Scanner()
    scanner.feed(start)
    for _ in range(size >> 20):
        scanner.feed(chunk)
    header = scanner.finish()
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert header.pixel_data is not None
    assert header.pixel_data.length == size
    assert not header.is_truncated
    assert peak < 4 << 20


def test_work_is_linear_in_a_value_fed_byte_by_byte() -> None:
    text = write(Encoded(0x0040A160, "UT", b"a" * 200_000, {}), explicit=True)
    scanner = Part10Scanner()
    for byte in part10(text):
        scanner.feed(bytes([byte]))
    assert len(scanner.finish().document["0040A160"]["Value"][0]) == 200_000


def deflated(content: bytes) -> bytes:
    deflater = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    return part10(b"", syntax=DEFLATED) + deflater.compress(content) + deflater.flush()


def test_a_deflated_bomb_is_refused_before_it_is_inflated() -> None:
    deflater = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    start = deflater.compress(pack("<HH2sHI", 0x42, 0x11, b"OB", 0, 200 << 20))
    start += deflater.flush(zlib.Z_FULL_FLUSH)
    # Blocks that refer to nothing before them may be repeated.
    mebibyte = deflater.compress(bytes(1 << 20)) + deflater.flush(zlib.Z_FULL_FLUSH)
    bomb = part10(b"", syntax=DEFLATED) + start + mebibyte * 200 + deflater.flush()
    tracemalloc.start()
    with pytest.raises(InvalidInstanceError, match="believable"):
        read_with_pydicom(BytesIO(bomb))
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 16 << 20


@pytest.mark.parametrize("cut", [1, 5])
def test_a_deflated_data_set_that_ends_early_is_refused(cut: int) -> None:
    name = write(Encoded(0x00100010, "PN", b"Doe^Jane", {}), explicit=True)
    with pytest.raises(InvalidInstanceError):
        read_with_pydicom(BytesIO(deflated(name)[:-cut]))


def test_a_deflated_data_set_is_read_as_if_it_were_not() -> None:
    name = write(Encoded(0x00100010, "PN", b"Doe^Jane", {}), explicit=True)
    overlay = write(Encoded(0x00420011, "OB", bytes(range(256)) * 8, {}), explicit=True)
    header = read_with_pydicom(BytesIO(deflated(name + overlay)))
    plain = scan(part10(name + overlay))
    assert header.document == plain.document
    assert header.is_inflated
    shift = len(part10(b"", syntax=DEFLATED)) - len(part10(b""))
    assert header.bulk_values[0].offset == plain.bulk_values[0].offset + shift


@pytest.mark.parametrize("syntax", ["", "abc", "1.2.3\n", "9" * 65])
def test_a_transfer_syntax_that_is_no_uid_is_refused(syntax: str) -> None:
    content = write(Encoded(0x00100010, "PN", b"Doe^Jane", {}), explicit=True)
    uid = syntax.encode() or b" "
    meta = write(Encoded(0x00020010, "UI", uid, {}), explicit=True)
    refused(bytes(128) + b"DICM" + meta + content)


def test_a_specific_character_set_cannot_call_any_codec() -> None:
    for term in (b"punycode", b"zlib", b"unicode_escape", b"idna", b"rot13 "):
        declared = write(Encoded(0x00080005, "CS", term + bytes(len(term) % 2), {}), explicit=True)
        named = write(Encoded(0x00100010, "PN", b"\\x41-\xe4 ", {}), explicit=True)
        header = scan(part10(declared + named))
        assert header.document["00100010"]["Value"][-1] == {"Alphabetic": "x41-ä"}
        assert header == read_with_pydicom(BytesIO(part10(declared + named)))
