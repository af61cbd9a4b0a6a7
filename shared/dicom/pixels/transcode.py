"""One stored frame to another transfer syntax.

Standard: PS3.5 8.2 and Annex A, PS3.18 8.7.3.5 (2025b).
"""

from shared.dicom.pixels.decode import decode_frame
from shared.dicom.pixels.encode import DEFAULT_QUALITY, EncodedFrame, encode_frame
from shared.dicom.pixels.image import ImageDescription, StoredFrame
from shared.dicom.pixels.native import swap_bytes
from shared.dicom.transfer_syntax import (
    EXPLICIT_VR_BIG_ENDIAN,
    EXPLICIT_VR_LITTLE_ENDIAN,
    IMPLICIT_VR_LITTLE_ENDIAN,
)

_NATIVE = frozenset(
    {
        IMPLICIT_VR_LITTLE_ENDIAN,
        EXPLICIT_VR_LITTLE_ENDIAN,
        EXPLICIT_VR_BIG_ENDIAN,
        "1.2.840.10008.1.2.1.99",
    }
)
_OCTET, _WORD = 8, 16


def transcode_frame(
    stored: StoredFrame,
    image: ImageDescription,
    target: str,
    *,
    quality: int = DEFAULT_QUALITY,
) -> EncodedFrame:
    """Give one frame in another transfer syntax, its values the same unless that has loss.

    Args:
        stored: The frame as it is stored.
        image: What the data set says of it.
        target: UID of the transfer syntax that it shall be in.
        quality: From 1 to 100, for a target with loss.

    Raises:
        NotAcceptableError: The frame cannot be decoded, or not be encoded so.
    """
    source, data = stored.syntax, stored.content
    if source == target and not stored.bit_offset:
        return EncodedFrame(data, image)
    if target == EXPLICIT_VR_LITTLE_ENDIAN and source in _NATIVE and image.bits_allocated > 1:
        return EncodedFrame(_little_endian(data, source, image), image)
    return encode_frame(decode_frame(stored, image), target, quality=quality)


def is_native(syntax: str) -> bool:
    """Whether pixel data in a transfer syntax is not encapsulated."""
    return syntax in _NATIVE


def _little_endian(data: bytes, source: str, image: ImageDescription) -> bytes:
    """A native frame as it is, the bits around the stored ones and subsampling kept."""
    if source != EXPLICIT_VR_BIG_ENDIAN:
        return data
    width = _WORD if image.is_in_words and image.bits_allocated == _OCTET else image.bits_allocated
    return swap_bytes(data, width // 8) if width > _OCTET else data
