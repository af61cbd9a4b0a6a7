"""In which transfer syntaxes a stored instance can be retrieved (PS3.18 10.6.3, 2025b)."""

from functools import lru_cache

from shared.dicom.codestream import JPEG_BASELINE
from shared.dicom.pixels.encode import TARGETS
from shared.dicom.transfer_syntax import EXPLICIT_VR_LITTLE_ENDIAN
from shared.services.transcoding import can_transcode

_CODED_BITS = frozenset({8, 16})
_WITHOUT_LOSS = tuple(sorted(TARGETS - {JPEG_BASELINE}))


@lru_cache(256)
def available_syntaxes(
    stored: str, *, has_pixels: bool, bits_allocated: int | None
) -> tuple[str, ...]:
    """The one it is stored in, then those it can be given in without loss.

    Single bits and floating-point pixels fit into none that is compressed.
    """
    others = _WITHOUT_LOSS if bits_allocated in _CODED_BITS else (EXPLICIT_VR_LITTLE_ENDIAN,)
    return (
        stored,
        *(
            uid
            for uid in others
            if uid != stored and can_transcode(stored, uid, has_pixels=has_pixels)
        ),
    )
