from io import BytesIO
from itertools import cycle
from pathlib import Path
from typing import Any

import pydicom
import pytest
from hypothesis import strategies as st
from pydicom import Dataset

from shared.dicom.header import Header, NeedsPydicom
from shared.dicom.json_model import Document
from shared.dicom.part10 import Part10Scanner, scan
from shared.dicom.pydicom_reader import read_with_pydicom
from shared.errors import InvalidInstanceError
from tests.shared.dicom import corpus, data_sets
from tests.shared.dicom.properties import for_any


def read(content: bytes) -> Header | None:
    """The header by pydicom, or None where it is refused."""
    try:
        return read_with_pydicom(BytesIO(content))
    except InvalidInstanceError:
        return None


@corpus.by_file
def test_scanner_and_pydicom_read_the_same_header(path: Path) -> None:
    content = path.read_bytes()
    try:
        scanned = scan(content)
    except (NeedsPydicom, InvalidInstanceError):
        return
    assert scanned == read(content)


def vrs_of_pydicom(dataset: Dataset) -> dict[str, Any]:
    """The VRs that pydicom finds, those of private attributes apart, by tag; items in lists."""
    return {
        f"{item.tag:08X}": [vrs_of_pydicom(nested) for nested in item.value]
        if item.VR == "SQ"
        else item.VR
        for item in dataset
        if item.tag.element and not item.tag.is_private
    }


def vrs_of(document: Document) -> dict[str, Any]:
    return {
        tag: [vrs_of(item) for item in element.get("Value", [])]
        if element["vr"] == "SQ"
        else element["vr"]
        for tag, element in document.items()
        if not int(tag[:4], 16) & 1
    }


@pytest.mark.filterwarnings("ignore")
@corpus.by_file
def test_each_attribute_has_the_vr_that_pydicom_finds(path: Path) -> None:
    try:
        header = scan(path.read_bytes())
    except (NeedsPydicom, InvalidInstanceError):
        return
    assert vrs_of(header.document) == vrs_of_pydicom(pydicom.dcmread(path, force=True))


@pytest.mark.parametrize("size", [1, 7, 4096])
@corpus.by_path(corpus.FILES[::8])
def test_chunks_of_any_size_give_the_same_header(path: Path, size: int) -> None:
    content = path.read_bytes()[: 60_000 if size == 1 else None]
    outcomes: list[Header | type[Exception]] = []
    for step in (len(content), size):
        scanner = Part10Scanner()
        try:
            for at in range(0, len(content), step):
                scanner.feed(content[at : at + step])
            outcomes.append(scanner.finish())
        except (NeedsPydicom, InvalidInstanceError) as error:
            outcomes.append(type(error))
    assert outcomes[0] == outcomes[1]


@for_any(200, file=data_sets.files())
def test_any_data_set_reads_as_the_standard_has_it(file: tuple[bytes, Document]) -> None:
    content, document = file
    header = scan(content)
    assert header.document == document
    assert list(header.document) == sorted(document)
    assert read_with_pydicom(BytesIO(content)) == header


@for_any(40, file=data_sets.files(), sizes=st.lists(st.integers(1, 60), min_size=1, max_size=9))
def test_any_chunking_gives_the_same_header(file: tuple[bytes, Document], sizes: list[int]) -> None:
    content, _ = file
    scanner = Part10Scanner()
    for size in cycle(sizes):
        scanner.feed(memoryview(content)[:size])
        content = content[size:]
        if not content:
            break
    assert scanner.finish() == scan(file[0])
