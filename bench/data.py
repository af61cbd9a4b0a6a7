"""Synthetic CT images, and the Store requests that carry them."""

import io
import uuid
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np
import pydicom
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian, generate_uid

ROWS = 512
FRAME_BYTES = ROWS * ROWS * 2
_LARGE_ROWS = 2048
_PIXEL_DATA_OW = b"\xe0\x7f\x10\x00OW\x00\x00"


@dataclass(frozen=True, slots=True)
class File:
    """A DICOM file: the data set up to the pixels, and how many frames of pixels follow."""

    study: str
    series: str
    instance: str
    header: bytes
    frames: int

    @property
    def length(self) -> int:
        return len(self.header) + self.frames * FRAME_BYTES

    @property
    def path(self) -> str:
        return f"/studies/{self.study}/series/{self.series}/instances/{self.instance}"

    def pieces(self) -> Iterator[bytes]:
        """The bytes of the file; a large one is never in memory whole."""
        yield self.header
        for frame in range(self.frames):
            yield _pixels((hash(self.instance) + frame) % _DIFFERENT_FRAMES)


def patient_id(study: str) -> str:
    """The Patient ID that all files of a study have."""
    return "BENCH-" + study[-8:]


def ct_series(slices: int, study: str) -> Sequence[File]:
    """The slices of one series of 512 x 512 pixels of 16 bits, about 526 kB each."""
    series, frame_of_reference = generate_uid(), generate_uid()
    files = []
    for number in range(1, slices + 1):
        dataset = _dataset(study, series)
        dataset.InstanceNumber = number
        dataset.FrameOfReferenceUID = frame_of_reference
        dataset.ImagePositionPatient = [0, 0, float(number)]
        files.append(_file(dataset, frames=1))
    return files


def multi_frame(frames: int, study: str) -> File:
    """One image of many frames, in a series of its own."""
    dataset = _dataset(study, generate_uid())
    dataset.InstanceNumber = 1
    dataset.NumberOfFrames = frames
    return _file(dataset, frames=frames)


def large_image(study: str) -> File:
    """One image of a single frame of 2048 x 2048 pixels, 8 MiB, in a series of its own."""
    dataset = _dataset(study, generate_uid())
    dataset.InstanceNumber = 1
    dataset.Rows = dataset.Columns = _LARGE_ROWS
    return _file(dataset, frames=(_LARGE_ROWS // ROWS) ** 2)


@dataclass(frozen=True, slots=True)
class StoreRequest:
    """The body of a Store request of some files."""

    files: Sequence[File]
    boundary: str

    @classmethod
    def of(cls, files: Sequence[File]) -> "StoreRequest":
        return cls(files, uuid.uuid4().hex)

    @property
    def content_type(self) -> str:
        return f'multipart/related; type="application/dicom"; boundary={self.boundary}'

    @property
    def length(self) -> int:
        framing = len(self._head) + len(b"\r\n")
        return sum(framing + file.length for file in self.files) + len(self._end)

    def pieces(self) -> Iterator[bytes]:
        for file in self.files:
            yield self._head
            yield from file.pieces()
            yield b"\r\n"
        yield self._end

    @property
    def _head(self) -> bytes:
        return f"--{self.boundary}\r\nContent-Type: application/dicom\r\n\r\n".encode()

    @property
    def _end(self) -> bytes:
        return f"--{self.boundary}--\r\n".encode()


_DIFFERENT_FRAMES = 16


@cache
def _pixels(number: int) -> bytes:
    noise = np.random.default_rng(number).integers(0, 4096, size=(ROWS, ROWS), dtype=np.uint16)
    return noise.astype("<u2").tobytes()


def _dataset(study: str, series: str) -> Dataset:
    dataset = Dataset()
    dataset.SOPClassUID = CTImageStorage
    dataset.SOPInstanceUID = generate_uid()
    dataset.StudyInstanceUID, dataset.SeriesInstanceUID = study, series
    dataset.PatientID, dataset.PatientName = patient_id(study), "Bench^" + study[-5:]
    dataset.PatientBirthDate, dataset.PatientSex = "19700101", "F"
    dataset.StudyDate, dataset.StudyTime = "20260102", "101112"
    dataset.AccessionNumber, dataset.StudyID = study[-12:], "1"
    dataset.StudyDescription, dataset.SeriesDescription = "bench study", "axial"
    dataset.Modality, dataset.Manufacturer, dataset.ManufacturerModelName = "CT", "Bench", "B1"
    dataset.ReferringPhysicianName = "Ref^Phys"
    dataset.SeriesNumber = 1
    dataset.ImageType = ["ORIGINAL", "PRIMARY", "AXIAL"]
    dataset.ImageOrientationPatient = [1, 0, 0, 0, 1, 0]
    dataset.PixelSpacing, dataset.SliceThickness, dataset.KVP = [0.7, 0.7], 1.0, 120
    dataset.WindowCenter, dataset.WindowWidth = 1000, 2000
    dataset.RescaleIntercept, dataset.RescaleSlope = -1024, 1
    dataset.SamplesPerPixel, dataset.PhotometricInterpretation = 1, "MONOCHROME2"
    dataset.Rows = dataset.Columns = ROWS
    dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit = 16, 12, 11
    dataset.PixelRepresentation = 0
    return dataset


def _file(dataset: Dataset, *, frames: int) -> File:
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    dataset.file_meta.MediaStorageSOPClassUID = dataset.SOPClassUID
    dataset.file_meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID
    written = io.BytesIO()
    pydicom.dcmwrite(written, dataset, enforce_file_format=True)
    # The pixels are the last element, so that they can follow from anywhere.
    length = (frames * FRAME_BYTES).to_bytes(4, "little")
    return File(
        dataset.StudyInstanceUID,
        dataset.SeriesInstanceUID,
        dataset.SOPInstanceUID,
        written.getvalue() + _PIXEL_DATA_OW + length,
        frames,
    )
