import pytest

from shared.dicom.codestream import JPEG_2000_LOSSLESS, JPEG_BASELINE
from shared.dicom.transfer_syntax import EXPLICIT_VR_LITTLE_ENDIAN, IMPLICIT_VR_LITTLE_ENDIAN
from shared.services.available_syntaxes import available_syntaxes

MPEG_4 = "1.2.840.10008.1.2.4.102"


def test_the_stored_syntax_comes_first_and_once() -> None:
    found = available_syntaxes(JPEG_2000_LOSSLESS, has_pixels=True, bits_allocated=16)
    assert found[0] == JPEG_2000_LOSSLESS
    assert len(found) == len(set(found)) > 5
    assert EXPLICIT_VR_LITTLE_ENDIAN in found


def test_a_lossy_syntax_is_available_only_where_it_is_stored() -> None:
    found = available_syntaxes(EXPLICIT_VR_LITTLE_ENDIAN, has_pixels=True, bits_allocated=8)
    assert JPEG_BASELINE not in found
    found = available_syntaxes(JPEG_BASELINE, has_pixels=True, bits_allocated=8)
    assert found[0] == JPEG_BASELINE


@pytest.mark.parametrize("bits", [1, 32, 64, None])
def test_unusual_pixels_fit_into_native_ones_alone(bits: int | None) -> None:
    assert available_syntaxes(IMPLICIT_VR_LITTLE_ENDIAN, has_pixels=True, bits_allocated=bits) == (
        IMPLICIT_VR_LITTLE_ENDIAN,
        EXPLICIT_VR_LITTLE_ENDIAN,
    )


def test_a_video_is_available_as_it_is() -> None:
    assert available_syntaxes(MPEG_4, has_pixels=True, bits_allocated=8) == (MPEG_4,)


def test_what_has_no_pixels_is_available_in_plain_explicit_vr() -> None:
    assert available_syntaxes(IMPLICIT_VR_LITTLE_ENDIAN, has_pixels=False, bits_allocated=None) == (
        IMPLICIT_VR_LITTLE_ENDIAN,
        EXPLICIT_VR_LITTLE_ENDIAN,
    )
