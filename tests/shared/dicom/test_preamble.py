import pytest

from shared.dicom.part10 import scan
from shared.dicom.preamble import PreambleKind, harmless, kind_of_preamble
from tests import builders


@pytest.mark.parametrize(
    ("start", "kind"),
    [
        (b"MZ\x90\0", PreambleKind.EXECUTABLE),
        (b"\x7fELF", PreambleKind.EXECUTABLE),
        (b"#!/bin/sh\n", PreambleKind.EXECUTABLE),
        (b"\xcf\xfa\xed\xfe", PreambleKind.EXECUTABLE),
        (b"II*\0", PreambleKind.TIFF),
        (b"MM\0*", PreambleKind.TIFF),
        (b"", PreambleKind.EMPTY),
        (b"scanner 7", PreambleKind.OTHER),
    ],
)
def test_a_preamble_is_told_by_its_first_bytes(start: bytes, kind: PreambleKind) -> None:
    preamble = start.ljust(128, b"\0")
    assert kind_of_preamble(preamble) is kind
    assert scan(preamble + builders.part10(builders.dataset())[128:]).preamble is kind


def _sent(content: bytes) -> bytes:
    return b"".join(map(bytes, harmless(content)))


@pytest.mark.parametrize("start", [b"MZ\x90\0", b"\x7fELF", b"#!/bin/sh\n", b"\xca\xfe\xba\xbe"])
def test_a_program_is_sent_without_its_preamble(start: bytes) -> None:
    file = builders.part10(builders.dataset())
    assert _sent(start.ljust(128, b"\x41") + file[128:]) == bytes(128) + file[128:]


@pytest.mark.parametrize("start", [b"II*\0", b"MM\0*", b"scanner 7", b""])
def test_any_other_preamble_is_sent_as_it_is(start: bytes) -> None:
    content = start.ljust(128, b"\0") + b"DICM and more"
    assert _sent(content) == content


@pytest.mark.parametrize("content", [b"", b"MZ", b"MZ".ljust(140, b"\0")])
def test_what_is_no_file_is_sent_as_it_is(content: bytes) -> None:
    assert _sent(content) == content
