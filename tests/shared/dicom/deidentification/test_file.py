"""Files that are de-identified: where what comes of them lies."""

import tracemalloc
from collections.abc import Sequence
from io import BytesIO
from pathlib import Path
from tempfile import TemporaryFile
from typing import IO

import pytest
from pydicom import DataElement, Dataset, dcmread

from shared.dicom.deidentification.deidentifier import Deidentifier
from shared.dicom.deidentification.file import DeidentifiedFile, deidentify_file
from shared.dicom.deidentification.profile import Profile
from shared.dicom.deidentification.pseudonyms import Pseudonyms
from shared.errors import InvalidInstanceError
from tests.builders import dataset, image, part10

_EXPLICIT = "1.2.840.10008.1.2.1"
_LARGE = 16 << 20


def _deidentified(file: IO[bytes]) -> DeidentifiedFile:
    deidentifier = Deidentifier(Profile(), Pseudonyms(bytes(32)))
    return deidentify_file(file, _EXPLICIT, deidentifier, keeps_burned_in=False)


def _cut(file: IO[bytes], spans: Sequence[tuple[int, int]]) -> bytes:
    content = b""
    for offset, length in spans:
        file.seek(offset)
        content += file.read(length)
    return content


def _with_waveform() -> bytes:
    item = Dataset()
    item.WaveformBitsAllocated = 16
    item.add(DataElement(0x54001010, "OW", bytes(_LARGE)))
    return part10(dataset(WaveformSequence=[item]))


def test_what_comes_before_the_pixels_is_written_behind_the_file_that_is_given() -> None:
    source = image()
    content = part10(source)
    file = BytesIO(content)
    found = _deidentified(file)
    assert found.content is file
    assert file.getvalue().startswith(content)
    read = dcmread(BytesIO(_cut(file, [found.header, found.pixels])))
    assert read.PixelData == source.PixelData
    assert read.SOPInstanceUID == found.path.instance


def test_nothing_of_files_that_are_de_identified_is_held_in_memory() -> None:
    content = _with_waveform()
    tracemalloc.start()
    with TemporaryFile() as file:
        file.write(content)
        found = _deidentified(file)
        held, _ = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        assert held < _LARGE // 4
        assert found.header[1] > _LARGE


def test_that_there_is_no_room_for_a_file_is_no_fault_of_the_instance(tmp_path: Path) -> None:
    path = tmp_path / "read-only"
    path.write_bytes(part10(image()))
    with path.open("rb") as file, pytest.raises(OSError, match="write"):
        _deidentified(file)


def test_an_instance_that_cannot_be_read_is_refused() -> None:
    broken = part10(image()).replace(b"PN", b"\0\1", 1)
    with pytest.raises(InvalidInstanceError):
        _deidentified(BytesIO(broken))
