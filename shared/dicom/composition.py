"""A Part 10 file made of what a client stores as metadata and bulk data.

Nothing is fetched: a reference is the Content-Location of a part of the same request, or refused.

Standard: PS3.18 10.5.1.4 and 10.5.2, 8.7.3.3; PS3.10 7.1; PS3.5 Annex A (2025b).
"""

from base64 import b64decode
from binascii import b2a_base64
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import accumulate
from struct import pack
from typing import Any

from shared.dicom.codestream import Codestream, read_codestream
from shared.dicom.data_set_encoding import UTF_8, Chunk, DataSetEncoder
from shared.dicom.dictionary import EXTENDED_OFFSET_TABLES, PIXEL_DATA, SPECIFIC_CHARACTER_SET
from shared.dicom.frames import (
    BITS_ALLOCATED,
    ROWS,
    SAMPLES_PER_PIXEL,
    native_frames,
    number_of_frames,
)
from shared.dicom.header import Limits
from shared.dicom.json_reading import document_of, refused
from shared.dicom.pixel_description import counted, described
from shared.dicom.transfer_syntax import (
    EXPLICIT_VR_LITTLE_ENDIAN,
    IMPLICIT_VR_LITTLE_ENDIAN,
    OCTET_STREAM,
    TRANSFER_SYNTAXES,
    transfer_syntax,
)
from shared.dicom.uid import parse_uid
from shared.dicom.value_representation import TEXT_VRS, UNIT_LENGTHS, Document, Element
from shared.errors import InvalidInstanceError, InvalidUidError

__all__ = ["BulkPart", "Chunk", "ComposedFile", "bulk_references", "compose"]

IMPLEMENTATION_CLASS_UID = "2.25.332357614949684444589468030060410358730"
IMPLEMENTATION_VERSION_NAME = "DICOM-FUNCTIONS"

_PIXEL_DATA = "7FE00010"
_SOP_CLASS_UID, _SOP_INSTANCE_UID = "00080016", "00080018"
_SAME_TYPE = {
    "image/jpg": "image/jpeg",
    "image/x-jls": "image/jls",
    "image/x-dicom-rle": "image/dicom-rle",
    "video/mpeg": "video/mpeg2",
    "video/h265": "video/H265",
}
_NATIVE = (None, EXPLICIT_VR_LITTLE_ENDIAN, IMPLICIT_VR_LITTLE_ENDIAN)
_WITH_HEADERS = frozenset({"image/jpeg", "image/jls", "image/jp2", "image/jpx", "image/jphc"})
# What a part is in that names no transfer syntax, where its own headers do not tell.
_DEFAULTS = {
    "image/dicom-rle": "1.2.840.10008.1.2.5",
    "video/mpeg2": "1.2.840.10008.1.2.4.100",
    "video/mp4": "1.2.840.10008.1.2.4.102",
    "video/H265": "1.2.840.10008.1.2.4.107",
}
_RLE_HEADER = 64
_MAX_OFFSET = 0xFFFFFFFF
_ITEM_HEADER = 8
_BITS_OF_SHORT_PIXELS = 8


@dataclass(frozen=True, slots=True)
class BulkPart:
    """One part of a request that holds a bulk value, or a frame of one.

    `media_type` is in lower case and without parameters; `transfer_syntax_uid` is its parameter.
    """

    media_type: str
    content: Chunk = field(repr=False)
    transfer_syntax_uid: str | None = None


type Bulk = Mapping[str, Sequence[BulkPart]]
"""The parts of a request by Content-Location; several are the frames of one image, in order."""


@dataclass(frozen=True, slots=True)
class ComposedFile:
    """A Part 10 file as chunks, in which long values are the parts themselves, not copies."""

    transfer_syntax_uid: str
    chunks: tuple[Chunk, ...] = field(repr=False)

    @property
    def length(self) -> int:
        """Bytes of the whole file."""
        return sum(len(chunk) for chunk in self.chunks)

    def __iter__(self) -> Iterator[Chunk]:
        return iter(self.chunks)


def bulk_references(document: Document) -> Iterator[str]:
    """The URI of each value that a document gives by reference, at any depth."""
    for element in document.values():
        if "BulkDataURI" in element:
            yield element["BulkDataURI"]
        elif element["vr"] == "SQ":
            for item in element.get("Value", ()):
                yield from bulk_references(item)


def compose(metadata: Mapping[str, Any], bulk: Bulk, limits: Limits | None = None) -> ComposedFile:
    """Make a Part 10 file of an object of the JSON model and the parts that it refers to.

    The transfer syntax is that of the compressed pixel data, otherwise explicit VR little endian.
    What the data set does not say of its compressed image is taken from the image.

    Raises:
        InvalidInstanceError: The metadata is not as the JSON model has it or breaks a bound, a
            part is missing, or the pixel data is not what the metadata or its media type says.
    """
    document = document_of(metadata, limits)
    references = [*bulk_references(document)]
    # A file is never longer than the request it came in.
    if len(set(references)) < len(references):
        raise InvalidInstanceError("Several attributes refer to the same bulk data.")
    document[SPECIFIC_CHARACTER_SET] = UTF_8
    image = _image(document, bulk)
    syntax_uid = image.transfer_syntax_uid if image else EXPLICIT_VR_LITTLE_ENDIAN
    encoder = DataSetEncoder(_Parts(bulk).value)
    encoder.raw(bytes(128) + b"DICM")
    _encode_meta(encoder, document, syntax_uid)
    if image is None:
        encoder.data_set(dict(sorted(document.items())))
    else:
        _encode_image(encoder, image)
    return ComposedFile(syntax_uid, tuple(encoder.chunks()))


@dataclass(frozen=True, slots=True)
class _Image:
    """Pixel data to be encoded, and the data set around it with its description complete.

    `frames` is one native value, or what is encapsulated.
    """

    document: Document
    key: str
    vr: str
    transfer_syntax_uid: str
    frames: Sequence[Chunk]
    is_encapsulated: bool


def _image(document: Document, bulk: Bulk) -> _Image | None:
    key = next((key for key in PIXEL_DATA if set(document.get(key, ())) - {"vr"}), None)
    if key is None:
        return None
    parts = _parts_of(key, document[key], bulk)
    kinds = {(_media_type(part), part.transfer_syntax_uid) for part in parts}
    if len(kinds) > 1:
        raise refused(key, "has parts of different media types")
    media_type, syntax_uid = kinds.pop()
    if media_type == OCTET_STREAM and syntax_uid in _NATIVE:
        return _native(document, key, parts)
    if key != _PIXEL_DATA:
        raise refused(key, "cannot be compressed")
    return _encapsulated(document, parts, (media_type, syntax_uid))


def _parts_of(key: str, element: Element, bulk: Bulk) -> Sequence[BulkPart]:
    if "InlineBinary" in element:
        return [BulkPart(OCTET_STREAM, b64decode(element["InlineBinary"]))]
    parts = bulk.get(element.get("BulkDataURI", ""))
    if not parts:
        raise refused(key, "refers to bulk data that the request does not hold")
    return parts


def _media_type(part: BulkPart) -> str:
    return _SAME_TYPE.get(part.media_type, part.media_type)


def _native(document: Document, key: str, parts: Sequence[BulkPart]) -> _Image:
    if len(parts) > 1:
        raise refused(key, "is uncompressed and given in more than one part")
    content = parts[0].content
    frames = native_frames(document, PIXEL_DATA[key], 0, len(content))
    if frames is None:
        raise refused(ROWS, "or another attribute that describes the image is missing or wrong")
    if frames.count < number_of_frames(document):
        raise refused(key, "is shorter than the image that is described")
    vr = {"7FE00008": "OF", "7FE00009": "OD"}.get(key) or _native_vr(document)
    return _Image(document, key, vr, EXPLICIT_VR_LITTLE_ENDIAN, [content], is_encapsulated=False)


def _native_vr(document: Document) -> str:
    """The VR of native pixel data (PS3.5 A.2, 2025b)."""
    allocated = document[BITS_ALLOCATED]["Value"][0]
    is_given_as_bytes = document[_PIXEL_DATA]["vr"] == "OB"
    return "OB" if is_given_as_bytes and allocated <= _BITS_OF_SHORT_PIXELS else "OW"


def _encapsulated(
    document: Document, parts: Sequence[BulkPart], kind: tuple[str, str | None]
) -> _Image:
    media_type, syntax_uid = kind
    if syntax_uid is not None:
        syntax = TRANSFER_SYNTAXES.get(syntax_uid)
        if syntax is None or not syntax.is_encapsulated:
            raise refused(_PIXEL_DATA, "is in a transfer syntax that is not taken in parts")
        if media_type not in (syntax.frame_media_type, OCTET_STREAM):
            raise refused(_PIXEL_DATA, "is in a transfer syntax that is none of its media type")
        media_type = syntax.frame_media_type
    if media_type in _WITH_HEADERS:
        frames = [read_codestream(part.content, media_type) for part in parts]
        uid = _syntax_of(frames, syntax_uid)
        document = described(counted(document, len(frames)), frames, media_type)
        contents = [frame.content for frame in frames]
    else:
        uid = _syntax_without_headers(media_type, syntax_uid)
        document = _checked_by_metadata(document, parts, uid)
        contents = [part.content for part in parts]
    return _Image(document, _PIXEL_DATA, "OB", uid, contents, is_encapsulated=True)


def _syntax_of(frames: Sequence[Codestream], declared: str | None) -> str:
    possible = frames[0].transfer_syntax_uids
    if declared is not None and declared not in possible:
        raise refused(_PIXEL_DATA, "is coded in another way than its transfer syntax says")
    return declared or possible[0]


def _syntax_without_headers(media_type: str, declared: str | None) -> str:
    uid = declared or _DEFAULTS.get(media_type)
    if uid is None:
        raise refused(_PIXEL_DATA, "is of a media type that is not taken")
    return uid


def _checked_by_metadata(document: Document, parts: Sequence[BulkPart], uid: str) -> Document:
    """Check an image whose frames do not tell what they are."""
    if native_frames(document, PIXEL_DATA[_PIXEL_DATA], 0, 0) is None:
        raise refused(ROWS, "or another attribute that describes the image is missing or wrong")
    syntax = transfer_syntax(uid)
    if syntax.is_video:
        if len(parts) > 1:
            raise refused(_PIXEL_DATA, "is a video and given in more than one part")
        return document
    if syntax.frame_media_type == "image/dicom-rle":
        samples = document.get(SAMPLES_PER_PIXEL, {}).get("Value", [1])[0]
        octets = document[BITS_ALLOCATED]["Value"][0] + 7 >> 3
        segments = octets * samples if isinstance(samples, int) else octets
        for part in parts:
            # The header begins with the number of segments (PS3.5 G.5, 2025b).
            start = bytes(part.content[:4])
            if len(part.content) < _RLE_HEADER or start != segments.to_bytes(4, "little"):
                raise refused(_PIXEL_DATA, "is not what its media type says")
    return counted(document, len(parts))


def _encode_meta(encoder: DataSetEncoder, document: Document, syntax_uid: str) -> None:
    """Encode the file meta information (PS3.10 7.1, 2025b)."""
    elements: Document = {
        "00020001": {"vr": "OB", "InlineBinary": "AAE="},
        "00020002": {"vr": "UI", "Value": [_uid_of(document, _SOP_CLASS_UID)]},
        "00020003": {"vr": "UI", "Value": [_uid_of(document, _SOP_INSTANCE_UID)]},
        "00020010": {"vr": "UI", "Value": [syntax_uid]},
        "00020012": {"vr": "UI", "Value": [IMPLEMENTATION_CLASS_UID]},
        "00020013": {"vr": "SH", "Value": [IMPLEMENTATION_VERSION_NAME]},
    }
    group = DataSetEncoder(_Parts({}).value)
    group.data_set(elements)
    encoded = b"".join(group.chunks())
    encoder.value("00020000", "UL", pack("<I", len(encoded)))
    encoder.raw(encoded)


def _uid_of(document: Document, key: str) -> str:
    value = document.get(key, {}).get("Value", [None])[0]
    try:
        return parse_uid(value if isinstance(value, str) else "")
    except InvalidUidError as error:
        raise refused(key, "is missing or not a unique identifier") from error


def _encode_image(encoder: DataSetEncoder, image: _Image) -> None:
    document = dict(image.document)
    was_extended = any(document.pop(key, None) for key in EXTENDED_OFFSET_TABLES)
    offsets: list[int] = []
    if image.is_encapsulated:
        offsets = _offsets(image.frames)
        if was_extended or offsets[-1] > _MAX_OFFSET:
            lengths = [len(frame) for frame in image.frames]
            for key, table in zip(EXTENDED_OFFSET_TABLES, (offsets, lengths), strict=True):
                packed = b2a_base64(pack(f"<{len(table)}Q", *table), newline=False)
                document[key] = {"vr": "OV", "InlineBinary": packed.decode()}
            offsets = []
    for key, element in sorted(document.items()):
        if key != image.key:
            encoder.data_set({key: element})
        elif image.is_encapsulated:
            basic = offsets if len(offsets) > 1 else []
            encoder.fragments(key, pack(f"<{len(basic)}I", *basic), image.frames)
        else:
            encoder.value(key, image.vr, image.frames[0])


def _offsets(frames: Sequence[Chunk]) -> list[int]:
    """Where the item of each frame begins, counted from the first (PS3.5 A.4, 2025b)."""
    steps = (_ITEM_HEADER + len(frame) + len(frame) % 2 for frame in frames[:-1])
    return [*accumulate(steps, initial=0)]


@dataclass(frozen=True, slots=True)
class _Parts:
    """The parts of a request, for values that are no image."""

    bulk: Bulk

    def value(self, key: str, element: Element) -> Chunk:
        """The value of an attribute that is given by reference."""
        parts = _parts_of(key, element, self.bulk)
        if len(parts) > 1:
            raise refused(key, "is given in more than one part")
        content, vr = parts[0].content, element["vr"]
        if key in PIXEL_DATA and _media_type(parts[0]) != OCTET_STREAM:
            raise refused(key, "is compressed, which only the image itself may be")
        if len(content) % UNIT_LENGTHS.get(vr, 1):
            raise refused(key, f"has a length that {vr} does not allow")
        if vr in TEXT_VRS:
            _check_text(key, content)
        return content


def _check_text(key: str, content: Chunk) -> None:
    try:
        str(content, "utf-8")
    except UnicodeDecodeError as error:
        raise refused(key, "refers to text that is not UTF-8") from error
