"""A whole instance in another transfer syntax, as a stream.

Standard: PS3.5 8.2 and A.4, PS3.10 7, PS3.3 C.7.6.1.1.5 (2025b).
"""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from copy import deepcopy
from dataclasses import dataclass
from itertools import chain
from struct import pack

import numpy as np
from pydicom import DataElement, Dataset
from pydicom.dataset import FileMetaDataset
from pydicom.filebase import DicomBytesIO
from pydicom.filewriter import write_dataset, write_file_meta_info
from pydicom.uid import UID

from shared.dicom.codestream import JPEG_BASELINE
from shared.dicom.composition import IMPLEMENTATION_CLASS_UID, IMPLEMENTATION_VERSION_NAME
from shared.dicom.header import PixelDataElement
from shared.dicom.pixels.decode import decode_frame
from shared.dicom.pixels.encode import DEFAULT_QUALITY, EncodedFrame
from shared.dicom.pixels.image import ImageDescription, StoredFrame
from shared.dicom.pixels.transcode import is_native, transcode_frame
from shared.dicom.preamble import harmless
from shared.dicom.pydicom_reading import PYDICOM_ERRORS
from shared.dicom.quiet import quiet
from shared.dicom.transfer_syntax import EXPLICIT_VR_BIG_ENDIAN
from shared.errors import NotAcceptableError

MAX_HELD_LENGTH = 32 << 20
"""Bytes of encoded frames that are held to fill the basic offset table; it is empty beyond."""

_FLOAT, _DOUBLE, _PIXELS = 0x7FE00008, 0x7FE00009, 0x7FE00010
_OFFSET_TABLES = (0x7FE00001, 0x7FE00002, 0x7FE00003)
_MAX_NATIVE_LENGTH = 0xFFFFFFFE
_MAX_OFFSET = 0xFFFFFFFF
_ITEM, _SEQUENCE_END = b"\xfe\xff\x00\xe0", b"\xfe\xff\xdd\xe0\0\0\0\0"
_WIDTHS = {"OW": 2, "OF": 4, "OL": 4, "OD": 8, "OV": 8}
_OCTET = 8


def transcode_file(
    dataset: Dataset,
    frames: Iterable[StoredFrame],
    target: str,
    *,
    pixel_data: PixelDataElement | None = None,
    quality: int = DEFAULT_QUALITY,
) -> Iterator[bytes]:
    """Give an instance in another transfer syntax, one frame being decoded at a time.

    Each step of the iterator is work for a thread: of one frame, or at the beginning, when the
    basic offset table is to be filled, of as many as are held for it.

    Args:
        dataset: The data set and its file meta information, without the pixel data.
        frames: Every frame as it is stored, in order.
        target: UID of the transfer syntax that the instance shall be in.
        pixel_data: What the header says of the pixel data that the data set is without.
        quality: From 1 to 100, for a target with loss.

    Raises:
        NotAcceptableError: A frame cannot be decoded, or not be encoded so, or an attribute not be
            read; before the first bytes are given when the first frame, the description of the
            image, or an attribute is the reason.
    """
    image = ImageDescription.of(dataset, pixel_data)
    following = iter(frames)
    first = next(following, None)
    if first is None:
        raise _miscounted()
    job = _Transcoding(dataset, image, first.syntax, target)
    _check_overlays(job)
    tail = _tail(job)
    stored = _counted(chain([first], following), image.number_of_frames)
    if image.bits_allocated == 1 and is_native(target):
        yield from _native_bits(job, stored)
    else:
        encoded = (transcode_frame(frame, image, target, quality=quality) for frame in stored)
        yield from (_native if is_native(target) else _encapsulated)(job, encoded)
    yield tail


@dataclass(frozen=True, slots=True)
class _Transcoding:
    dataset: Dataset
    image: ImageDescription
    source: str
    target: str


def _counted(frames: Iterable[StoredFrame], declared: int) -> Iterator[StoredFrame]:
    """The frames, if they are as many as the image declares."""
    count = 0
    for frame in frames:
        count += 1
        if count > declared:
            raise _miscounted()
        yield frame
    if count != declared:
        raise _miscounted()


def _miscounted() -> NotAcceptableError:
    return NotAcceptableError("The instance has not as many frames as it declares.")


def _check_overlays(job: _Transcoding) -> None:
    """Refuse to lose overlays that lie in unused bits of the pixels (retired, PS3.5 8.1.2)."""
    if not is_native(job.source) or is_native(job.target):
        return
    for group in range(0x6000, 0x6020, 2):
        tag = (group, 0x0102)
        with _reading():
            is_in_pixels = tag in job.dataset and bool(job.dataset[tag].value)
        if is_in_pixels and (group, 0x3000) not in job.dataset:
            raise NotAcceptableError("The image has overlays in its pixels, which would be lost.")


def _native(job: _Transcoding, encoded: Iterator[EncodedFrame]) -> Iterator[bytes]:
    first = next(encoded)
    length = len(first.content) * job.image.number_of_frames
    yield _head(job, first, first.content)
    yield _native_header(job, length)
    for frame in chain([first], encoded):
        if len(frame.content) != len(first.content):
            raise NotAcceptableError("The frames of the instance differ in length.")
        yield frame.content
    yield bytes(length % 2)


def _native_bits(job: _Transcoding, frames: Iterator[StoredFrame]) -> Iterator[bytes]:
    """Frames of single bits follow one another without regard to bytes (PS3.5 8.1.1)."""
    image, carried = job.image, np.empty(0, np.uint8)
    bits = image.rows * image.columns * image.samples_per_pixel * image.number_of_frames
    length = (bits + 7) // 8
    yield _head(job, EncodedFrame(b"", image), b"") + _native_header(job, length)
    for stored in frames:
        joined = np.concatenate((carried, decode_frame(stored, image).pixels.ravel()))
        whole = len(joined) & ~7
        yield np.packbits(joined[:whole], bitorder="little").tobytes()
        carried = joined[whole:]
    yield np.packbits(carried, bitorder="little").tobytes() + bytes(length % 2)


def _native_header(job: _Transcoding, length: int) -> bytes:
    length += length % 2
    if length > _MAX_NATIVE_LENGTH:
        raise NotAcceptableError("The pixel data is too long for this transfer syntax.")
    if job.image.is_float:
        tag, vr = (_FLOAT, b"OF") if job.image.bits_allocated == 32 else (_DOUBLE, b"OD")  # noqa: PLR2004
    else:
        is_in_words = job.image.is_in_words or job.image.bits_allocated > _OCTET
        tag, vr = _PIXELS, b"OW" if is_in_words else b"OB"
    return pack("<HH2sHI", tag >> 16, tag & 0xFFFF, vr, 0, length)


def _encapsulated(job: _Transcoding, encoded: Iterator[EncodedFrame]) -> Iterator[bytes]:
    held, size = list[EncodedFrame](), 0
    for frame in encoded:
        held.append(frame)
        size += len(frame.content)
        if size > MAX_HELD_LENGTH:
            break
    yield _head(job, held[0], *(frame.content for frame in held))
    table = _basic_offsets(held) if len(held) == job.image.number_of_frames else b""
    tag = pack("<HH2sHI", _PIXELS >> 16, _PIXELS & 0xFFFF, b"OB", 0, 0xFFFFFFFF)
    yield tag + _ITEM + pack("<I", len(table)) + table
    for frame in chain(held, encoded):
        yield _fragment(frame.content)
    yield _SEQUENCE_END


def _fragment(content: bytes) -> bytes:
    padding = bytes(len(content) % 2)
    return b"".join((_ITEM, pack("<I", len(content) + len(padding)), content, padding))


def _basic_offsets(frames: list[EncodedFrame]) -> bytes:
    offsets, at = list[int](), 0
    for frame in frames:
        offsets.append(at)
        at += 8 + len(frame.content) + len(frame.content) % 2
    return pack(f"<{len(offsets)}I", *offsets) if offsets[-1] <= _MAX_OFFSET else b""


@contextmanager
def _reading() -> Iterator[None]:
    """Refuse what pydicom cannot read, which it does when first asked for a value, or write."""
    try:
        with quiet():
            yield
    except PYDICOM_ERRORS as error:
        raise NotAcceptableError("An attribute of the instance cannot be encoded anew.") from error


def _head(job: _Transcoding, first: EncodedFrame, *contents: bytes) -> bytes:
    """The file up to the pixel data; `contents` tell how far compression went."""
    with _reading():
        before = _copy(job, job.dataset[:_FLOAT])
        for tag in _OFFSET_TABLES:
            before.pop(tag, None)
        _describe(before, job.image, first.image)
        if job.target == JPEG_BASELINE and job.source != JPEG_BASELINE:
            _tell_loss(before, job.image, contents)
        buffer = DicomBytesIO()
        preamble = getattr(job.dataset, "preamble", None) or bytes(128)
        for piece in harmless(preamble + b"DICM"):
            buffer.write(bytes(piece))
        write_file_meta_info(buffer, _file_meta(job), enforce_standard=False)
        return buffer.getvalue() + _encode(before)


def _tail(job: _Transcoding) -> bytes:
    with _reading():
        return _encode(_copy(job, job.dataset[_PIXELS + 1 :]))


def _file_meta(job: _Transcoding) -> FileMetaDataset:
    meta = deepcopy(getattr(job.dataset, "file_meta", FileMetaDataset()))
    meta.FileMetaInformationVersion = b"\x00\x01"
    for keyword, own in (
        ("MediaStorageSOPClassUID", "SOPClassUID"),
        ("MediaStorageSOPInstanceUID", "SOPInstanceUID"),
    ):
        if keyword not in meta:
            setattr(meta, keyword, job.dataset.get(own, ""))
    meta.FileMetaInformationGroupLength = 0
    meta.TransferSyntaxUID = UID(job.target)
    meta.ImplementationClassUID = UID(IMPLEMENTATION_CLASS_UID)
    meta.ImplementationVersionName = IMPLEMENTATION_VERSION_NAME
    return meta


def _encode(dataset: Dataset) -> bytes:
    buffer = DicomBytesIO()
    buffer.is_little_endian, buffer.is_implicit_VR = True, False
    write_dataset(buffer, dataset)
    return buffer.getvalue()


def _copy(job: _Transcoding, part: Dataset) -> Dataset:
    copied = deepcopy(part)
    if job.source == EXPLICIT_VR_BIG_ENDIAN:
        copied.walk(_turn_around)
    return copied


def _turn_around(_: Dataset, element: DataElement) -> None:
    """Change the byte order of a value that pydicom hands on as bytes."""
    width = _WIDTHS.get(element.VR)
    if width and isinstance(element.value, bytes) and len(element.value) % width == 0:
        element.value = np.frombuffer(element.value, f"u{width}").byteswap().tobytes()


def _describe(dataset: Dataset, before: ImageDescription, after: ImageDescription) -> None:
    if after.photometric != before.photometric:
        dataset.PhotometricInterpretation = after.photometric
    if after.is_color:
        dataset.PlanarConfiguration = int(after.is_planar)
    if after.high_bit != before.high_bit:
        dataset.HighBit = after.high_bit


def _tell_loss(dataset: Dataset, image: ImageDescription, contents: tuple[bytes, ...]) -> None:
    """Say that, how and how far the image was compressed with loss, after what was said of it."""
    length = image.frame_length * len(contents)
    ratio = f"{length / max(1, sum(map(len, contents))):.4g}"
    for keyword, value in (
        ("LossyImageCompressionRatio", ratio),
        ("LossyImageCompressionMethod", "ISO_10918_1"),
    ):
        said = dataset.get(keyword)
        earlier = [said] if isinstance(said, str | float) else list(said or ())
        setattr(dataset, keyword, [*(str(one) for one in earlier), value])
    dataset.LossyImageCompression = "01"
