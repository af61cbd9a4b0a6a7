"""Valid DICOM files and requests to start from; a test says only what matters to it."""

import io
import uuid
from collections.abc import Iterable
from struct import pack
from typing import Any

import numpy as np
import pydicom
from pydicom.datadict import dictionary_VR
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.tag import Tag
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian, generate_uid


def dataset(**keywords: Any) -> Dataset:
    """A small CT slice; keywords are set, or with None removed, on top."""
    built = Dataset()
    built.SpecificCharacterSet = "ISO_IR 192"
    built.SOPClassUID = CTImageStorage
    built.SOPInstanceUID = generate_uid()
    built.StudyInstanceUID = generate_uid()
    built.SeriesInstanceUID = generate_uid()
    built.PatientID = "P1"
    built.PatientName = "Doe^Jane"
    built.PatientBirthDate = "19700102"
    built.PatientSex = "F"
    built.StudyDate = "20260102"
    built.StudyTime = "101112"
    built.AccessionNumber = "A1"
    built.StudyDescription = "Chest"
    built.StudyID = "1"
    built.ReferringPhysicianName = "Ref^Phys"
    built.Modality = "CT"
    built.SeriesNumber = 1
    built.InstanceNumber = 1
    for keyword, value in keywords.items():
        if value is None:
            delattr(built, keyword)
        else:
            setattr(built, keyword, value)
    return built


def sequence_item(**keywords: object) -> Dataset:
    """An item of a sequence, with these attributes and no others."""
    built = Dataset()
    for keyword, value in keywords.items():
        setattr(built, keyword, value)
    return built


def image(*, rows: int = 16, columns: int = 16, frames: int = 1, **keywords: Any) -> Dataset:
    """A data set with 16-bit native pixel data, each frame different."""
    built = dataset(**keywords)
    built.SamplesPerPixel = 1
    built.PhotometricInterpretation = "MONOCHROME2"
    built.Rows, built.Columns = rows, columns
    built.BitsAllocated, built.BitsStored, built.HighBit = 16, 12, 11
    built.PixelRepresentation = 0
    if frames > 1:
        built.NumberOfFrames = frames
    pixels = np.arange(rows * columns * frames, dtype="<u2") & 0xFFF
    built.PixelData = pixels.tobytes()
    return built


def part10(source: Dataset, syntax: str = ExplicitVRLittleEndian) -> bytes:
    """The bytes of a Part 10 file."""
    source.file_meta = FileMetaDataset()
    source.file_meta.TransferSyntaxUID = pydicom.uid.UID(syntax)
    source.file_meta.MediaStorageSOPClassUID = source.get("SOPClassUID", CTImageStorage)
    source.file_meta.MediaStorageSOPInstanceUID = source.get("SOPInstanceUID", "1.2.3")
    buffer = io.BytesIO()
    pydicom.dcmwrite(buffer, source, enforce_file_format=True)
    return buffer.getvalue()


def with_values(content: bytes, **values: bytes) -> bytes:
    """A file in explicit VR with values as a sloppy sender writes them: only made even."""
    for keyword, value in values.items():
        tag = Tag(keyword)
        header = pack("<HH", tag.group, tag.element) + dictionary_VR(tag).encode()
        before, _, rest = content.partition(header)
        length = int.from_bytes(rest[:2], "little")
        even = value + b" " * (len(value) % 2)
        content = before + header + pack("<H", len(even)) + even + rest[2 + length :]
    return content


def multipart(
    parts: Iterable[bytes], content_type: str | None = "application/dicom"
) -> tuple[bytes, dict[str, str]]:
    """The body and headers of a Store request."""
    boundary = uuid.uuid4().hex
    head = f"Content-Type: {content_type}\r\n" if content_type else ""
    body = b"".join(
        b"--" + boundary.encode() + b"\r\n" + head.encode() + b"\r\n" + part + b"\r\n"
        for part in parts
    )
    return body + b"--" + boundary.encode() + b"--\r\n", {
        "Content-Type": f'multipart/related; type="application/dicom"; boundary={boundary}',
        "Accept": "application/dicom+json",
    }


def related(
    parts: Iterable[tuple[dict[str, str], bytes]], media_type: str
) -> tuple[bytes, dict[str, str]]:
    """The body and headers of a Store request of parts with headers of their own."""
    boundary = uuid.uuid4().hex
    body = b""
    for headers, content in parts:
        head = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
        body += f"--{boundary}\r\n{head}\r\n".encode() + content + b"\r\n"
    return body + f"--{boundary}--\r\n".encode(), {
        "Content-Type": f'multipart/related; type="{media_type}"; boundary={boundary}',
        "Accept": "application/dicom+json",
    }
