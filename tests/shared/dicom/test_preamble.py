import pytest

from shared.dicom.part10 import scan
from shared.dicom.preamble import PreambleKind, kind_of_preamble
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
