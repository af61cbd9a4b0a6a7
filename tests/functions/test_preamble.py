"""A file that is also a program is stored as it was sent, and never sent so to anybody."""

import io
from pathlib import Path
from zipfile import ZipFile

import pytest
from pydicom.dataset import Dataset

from shared.dicom.resource import parse_path
from tests.archive import Client, blobs_in
from tests.builders import image, part10

AS_STORED = "application/dicom; transfer-syntax=*"
PROGRAM = b"MZ".ljust(128, b"\x90")


def _file(source: Dataset, preamble: bytes) -> bytes:
    return preamble + part10(source)[128:]


def _path(source: Dataset) -> str:
    return str(parse_path(source.StudyInstanceUID, source.SeriesInstanceUID, source.SOPInstanceUID))


@pytest.mark.parametrize("rows", [16, 1024])
@pytest.mark.parametrize("version", ["v1", "v2"])
async def test_a_program_is_stored_as_sent_and_given_without_its_preamble(
    client: Client, version: str, rows: int
) -> None:
    source = image(rows=rows, columns=1024)
    content = _file(source, PROGRAM)
    await client.store(f"/{version}", [content])

    answer = await client.get(f"/{version}/{_path(source)}", AS_STORED)

    assert answer.content == bytes(128) + content[128:]
    assert answer.headers["content-length"] == str(len(content))


async def test_what_is_stored_is_what_was_sent(client: Client, tmp_path: Path) -> None:
    content = _file(image(), PROGRAM)
    await client.store("/v2", [content])
    assert content in [(tmp_path / name).read_bytes() for name in blobs_in(tmp_path)]


async def test_in_parts_transcoded_and_zipped_it_has_no_program_either(client: Client) -> None:
    source = image()
    await client.store("/v2", [_file(source, PROGRAM)])
    for accept in (
        'multipart/related; type="application/dicom"; transfer-syntax=*',
        "application/dicom; transfer-syntax=1.2.840.10008.1.2.5",
    ):
        answer = await client.get(f"/v2/{_path(source)}", accept)
        assert answer.status_code == 200
        assert b"DICM" in answer.content
        assert PROGRAM[:16] not in answer.content
    archive = await client.get(f"/v2/studies/{source.StudyInstanceUID}", "application/zip")
    assert archive.status_code == 200
    with ZipFile(io.BytesIO(archive.content)) as zipped:
        (name,) = [name for name in zipped.namelist() if "DICOMDIR" not in name]
        assert zipped.read(name)[:132] == bytes(128) + b"DICM"


async def test_a_tiff_stays_one(client: Client) -> None:
    source = image()
    content = _file(source, b"II*\0".ljust(128, b"\x01"))
    await client.store("/v2", [content])
    assert (await client.get(f"/v2/{_path(source)}", AS_STORED)).content == content
