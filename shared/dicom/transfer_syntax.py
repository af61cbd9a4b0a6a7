"""The transfer syntaxes, and the media type that a frame has in each.

Standard: PS3.5 Annex A, PS3.18 Tables 8.7.3-2 to 8.7.3-5 (2025b).
"""

from dataclasses import dataclass

from pydicom._uid_dict import UID_dictionary

IMPLICIT_VR_LITTLE_ENDIAN = "1.2.840.10008.1.2"
EXPLICIT_VR_LITTLE_ENDIAN = "1.2.840.10008.1.2.1"
DEFLATED_EXPLICIT_VR_LITTLE_ENDIAN = "1.2.840.10008.1.2.1.99"
EXPLICIT_VR_BIG_ENDIAN = "1.2.840.10008.1.2.2"
OCTET_STREAM = "application/octet-stream"

# JPIP with deflate and Deflated Explicit VR: the data set itself is compressed.
_DEFLATED = frozenset(
    {
        DEFLATED_EXPLICIT_VR_LITTLE_ENDIAN,
        "1.2.840.10008.1.2.4.95",
        "1.2.840.10008.1.2.4.205",
    }
)
# Pixel data by reference, or in a real-time stream: the file holds none.
_WITHOUT_PIXELS = (
    "1.2.840.10008.1.2.4.94",
    "1.2.840.10008.1.2.4.95",
    "1.2.840.10008.1.2.4.204",
    "1.2.840.10008.1.2.4.205",
    "1.2.840.10008.1.2.7.",
)
_MEDIA_TYPES = (
    # 52 to 56 and 58 to 66 are retired processes of the same format.
    (tuple(f"1.2.840.10008.1.2.4.{n}" for n in (*range(50, 67), 70)), "image/jpeg"),
    (("1.2.840.10008.1.2.4.80", "1.2.840.10008.1.2.4.81"), "image/jls"),
    (("1.2.840.10008.1.2.4.90", "1.2.840.10008.1.2.4.91"), "image/jp2"),
    (("1.2.840.10008.1.2.4.92", "1.2.840.10008.1.2.4.93"), "image/jpx"),
    (
        tuple(f"1.2.840.10008.1.2.4.{n}" for n in ("100", "100.1", "101", "101.1")),
        "video/mpeg2",
    ),
    (
        tuple(f"1.2.840.10008.1.2.4.{n}" for n in (102, 103, 104, 105, 106))
        + tuple(f"1.2.840.10008.1.2.4.{n}.1" for n in (102, 103, 104, 105, 106)),
        "video/mp4",
    ),
    (("1.2.840.10008.1.2.4.107", "1.2.840.10008.1.2.4.108"), "video/H265"),
    (("1.2.840.10008.1.2.4.110", "1.2.840.10008.1.2.4.111"), "image/jxl"),
    (("1.2.840.10008.1.2.4.112",), "image/jxl"),
    (
        ("1.2.840.10008.1.2.4.201", "1.2.840.10008.1.2.4.202", "1.2.840.10008.1.2.4.203"),
        "image/jphc",
    ),
    (("1.2.840.10008.1.2.5",), "image/dicom-rle"),
)
_MEDIA_TYPE_OF = {uid: media_type for uids, media_type in _MEDIA_TYPES for uid in uids}


@dataclass(frozen=True, slots=True)
class TransferSyntax:
    """How a data set and its pixel data are encoded.

    `frame_media_type` is what one frame of pixel data is without any transcoding.
    """

    uid: str
    name: str
    is_little_endian: bool
    is_implicit: bool
    is_deflated: bool
    is_encapsulated: bool
    frame_media_type: str

    @property
    def is_video(self) -> bool:
        """Whether the pixel data is one stream, its frames not separable by their bytes."""
        return self.frame_media_type.startswith("video/")


def _known(uid: str, name: str) -> TransferSyntax:
    is_native = uid in {
        IMPLICIT_VR_LITTLE_ENDIAN,
        EXPLICIT_VR_LITTLE_ENDIAN,
        EXPLICIT_VR_BIG_ENDIAN,
        DEFLATED_EXPLICIT_VR_LITTLE_ENDIAN,
    }
    return TransferSyntax(
        uid,
        name,
        is_little_endian=uid != EXPLICIT_VR_BIG_ENDIAN,
        is_implicit=uid == IMPLICIT_VR_LITTLE_ENDIAN,
        is_deflated=uid in _DEFLATED,
        is_encapsulated=not is_native and not uid.startswith(_WITHOUT_PIXELS),
        frame_media_type=_MEDIA_TYPE_OF.get(uid, OCTET_STREAM),
    )


TRANSFER_SYNTAXES: dict[str, TransferSyntax] = {
    uid: _known(uid, entry[0])
    for uid, entry in {
        **UID_dictionary,
        # Registered after the dictionary that is installed was made.
        "1.2.840.10008.1.2.8.1": ("Deflated Image Frame Compression", "Transfer Syntax"),
    }.items()
    if entry[1] == "Transfer Syntax" and uid != "1.2.840.10008.1.20"
}
"""Every transfer syntax of the Standard, retired ones too, by UID."""


def transfer_syntax(uid: str) -> TransferSyntax:
    """The transfer syntax of a UID; a private or unknown one counts as encapsulated.

    PS3.5 A.4 (2025b): whatever is not native is explicit VR little endian, and encapsulated.
    """
    known = TRANSFER_SYNTAXES.get(uid)
    return known if known is not None else _known(uid, uid)
