"""Scanning a Part 10 file once, in the order of its bytes, as they arrive.

Explicit and implicit VR little endian, native or encapsulated, are scanned here; for anything else
`NeedsPydicom` is raised and `pydicom_reader` is the way. Work and memory are linear in the bytes
fed, bulk values are skipped, and nesting is a stack of ours, not Python's.

Standard: PS3.10 7.1, PS3.5 7.1, 7.5 and A.4 (2025b).
"""

from shared.dicom.data_set_scan import DataSetScan
from shared.dicom.dictionary import EXTENDED_OFFSET_TABLES
from shared.dicom.file_meta import PREFIXED_LENGTH, FileMetaScan
from shared.dicom.frames import (
    FramePositions,
    encapsulated_frames,
    native_frames,
    number_of_frames,
)
from shared.dicom.header import Header, Limits, NeedsPydicom, values_within
from shared.dicom.transfer_syntax import TransferSyntax

_HEADER_LENGTH = 8
_WINDOW = 1 << 16


class Part10Scanner:
    """Reads a file fed in chunks of any size and keeps nothing of it but its header.

    Once `NeedsPydicom` or an error has been raised the scanner is of no more use.
    """

    def __init__(self, limits: Limits | None = None) -> None:
        self._limits = limits or Limits()
        self._meta = FileMetaScan()
        self._syntax: TransferSyntax | None = None
        self._reader: FileMetaScan | DataSetScan = self._meta
        self._pending: list[bytes] = []
        self._pending_length = 0
        self._needed = PREFIXED_LENGTH

    def feed(self, chunk: bytes | memoryview) -> None:
        """Take the next bytes of the file; `bytes` are held, not copied, while they are scanned.

        Raises:
            NeedsPydicom: Only pydicom may make sense of this file.
            InvalidInstanceError: This is no DICOM that can be stored, or it breaks a bound.
        """
        ahead = self.skippable
        if ahead:
            self._reader.skip(min(ahead, len(chunk)))
            if len(chunk) <= ahead:
                return
            chunk = memoryview(chunk)[ahead:]
        self._pending.append(bytes(chunk))
        self._pending_length += len(chunk)
        reader = self._reader
        if len(reader.buffer) - reader.position + self._pending_length >= self._needed:
            self._read()

    @property
    def skippable(self) -> int:
        """How many of the bytes that follow will not be looked at."""
        return self._reader.skippable

    def _read(self) -> None:
        reader = self._reader
        reader.extend(self._pending)
        self._pending, self._pending_length = [], 0
        self._needed = reader.run()
        if reader is self._meta and not self._needed:
            self._needed = self._begin_data_set().run()

    def _begin_data_set(self) -> DataSetScan:
        meta = self._meta
        syntax = meta.transfer_syntax()
        if syntax.is_deflated or not syntax.is_little_endian:
            raise NeedsPydicom
        scan = DataSetScan(meta, self._limits, is_implicit=syntax.is_implicit)
        meta.buffer = b""
        self._syntax, self._reader = syntax, scan
        return scan

    def finish(self) -> Header:
        """Give the header, when the whole file has been fed.

        Raises:
            NeedsPydicom: Only pydicom may make sense of this file; one that ends early among them.
            InvalidInstanceError: This is no DICOM that can be stored.
        """
        scan, syntax = self._reader, self._syntax
        if not isinstance(scan, DataSetScan) or syntax is None:
            raise NeedsPydicom
        is_truncated = self.skippable > 0 and scan.is_in_native_pixels
        left = len(scan.buffer) - scan.position + self._pending_length
        if not is_truncated and (
            self.skippable or not scan.is_between_elements or left >= _HEADER_LENGTH
        ):
            raise NeedsPydicom
        null_padded = scan.close()
        end = scan.base + scan.position + left
        return Header(
            transfer_syntax_uid=syntax.uid,
            preamble=self._meta.preamble,
            media_storage_sop_class_uid=self._meta.sop_class_uid,
            media_storage_sop_instance_uid=self._meta.sop_instance_uid,
            document=scan.document,
            pixel_data=scan.pixel_data,
            bulk_values=tuple(values_within(scan.bulk_values, end)),
            frames=_frames(scan, syntax, self.skippable),
            character_sets=scan.character_sets,
            null_padded=null_padded,
            is_truncated=is_truncated,
        )


def _frames(scan: DataSetScan, syntax: TransferSyntax, missing: int) -> FramePositions | None:
    pixels = scan.pixel_data
    if pixels is None:
        return None
    if scan.fragments is None:
        length = (pixels.length or 0) - missing
        return native_frames(scan.document, pixels.keyword, pixels.offset, length)
    tables = tuple(scan.offset_tables.get(key, b"") for key in EXTENDED_OFFSET_TABLES)
    return encapsulated_frames(
        scan.fragments,
        number_of_frames(scan.document),
        is_video=syntax.is_video,
        extended=(tables[0], tables[1]) if all(tables) else None,
    )


def scan(content: bytes | memoryview, limits: Limits | None = None) -> Header:
    """Read the header of a whole file in memory; what is skipped is neither copied nor touched.

    Raises:
        NeedsPydicom: Only pydicom may make sense of this file.
        InvalidInstanceError: This is no DICOM that can be stored, or it breaks a bound.
    """
    scanner = Part10Scanner(limits)
    if isinstance(content, bytes):
        scanner.feed(content)
        return scanner.finish()
    at = 0
    while at < len(content):
        end = min(len(content), at + scanner.skippable + _WINDOW)
        scanner.feed(content[at:end])
        at = end
    return scanner.finish()
