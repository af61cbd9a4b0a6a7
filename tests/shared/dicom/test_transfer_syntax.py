import pytest

from shared.dicom.transfer_syntax import TRANSFER_SYNTAXES, transfer_syntax


@pytest.mark.parametrize(
    ("uid", "media_type"),
    [
        ("1.2.840.10008.1.2.1", "application/octet-stream"),
        ("1.2.840.10008.1.2.4.50", "image/jpeg"),
        ("1.2.840.10008.1.2.4.70", "image/jpeg"),
        ("1.2.840.10008.1.2.4.80", "image/jls"),
        ("1.2.840.10008.1.2.4.90", "image/jp2"),
        ("1.2.840.10008.1.2.4.202", "image/jphc"),
        ("1.2.840.10008.1.2.5", "image/dicom-rle"),
        ("1.2.840.10008.1.2.4.102", "video/mp4"),
        ("1.2.840.10008.1.2.4.100", "video/mpeg2"),
    ],
)
def test_a_frame_has_the_media_type_of_its_transfer_syntax(uid: str, media_type: str) -> None:
    assert transfer_syntax(uid).frame_media_type == media_type


def test_native_transfer_syntaxes_are_not_encapsulated() -> None:
    native = {uid for uid, syntax in TRANSFER_SYNTAXES.items() if not syntax.is_encapsulated}
    assert {
        "1.2.840.10008.1.2",
        "1.2.840.10008.1.2.1",
        "1.2.840.10008.1.2.1.99",
        "1.2.840.10008.1.2.2",
    } <= native
    assert "1.2.840.10008.1.2.1.98" not in native


def test_an_unknown_transfer_syntax_counts_as_encapsulated_explicit_little_endian() -> None:
    syntax = transfer_syntax("1.2.3")
    assert syntax.is_encapsulated
    assert syntax.is_little_endian
    assert not syntax.is_implicit
    assert not syntax.is_deflated
