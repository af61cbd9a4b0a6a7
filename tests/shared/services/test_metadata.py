import io
import zlib
from pathlib import Path

import pydicom
import pytest

from shared.dicom.resource import ResourcePath
from shared.dicomweb.store_report import Stored
from shared.ports import Partition
from shared.services.metadata import View
from shared.wiring import Services
from tests.builders import dataset, image, part10
from tests.shared.dicom.corpus import FILES, expected
from tests.shared.services.requests import metadata, path_of, store

BULK_VRS = {"OB", "OD", "OF", "OL", "OV", "OW", "UN"}


def values_of(document: dict[str, object]) -> dict[str, object]:
    """The values that are not bulk, by tag; an empty one of several is None."""
    kept: dict[str, object] = {}
    for tag, element in document.items():
        assert isinstance(element, dict)
        # The character set of an answer is UTF-8, whatever that of the file was.
        if element["vr"] in BULK_VRS or tag == "00080005" or tag.endswith("0000"):
            continue
        if element["vr"] == "SQ":
            kept[tag] = [values_of(item) for item in element.get("Value", [])]
        else:
            kept[tag] = [None if value == "" else value for value in element.get("Value", [])]
    return kept


async def test_metadata_is_what_pydicom_makes_of_the_file(
    services: Services, partition: Partition
) -> None:
    inner = dataset()
    source = image(
        ReferencedStudySequence=[inner],
        ImageType=["ORIGINAL", "PRIMARY", ""],
        PatientWeight="70.5",
        PatientName="Yamada^Tarou=山田^太郎",
    )
    source.add_new(0x00091010, "LO", "private")
    content = part10(source)
    await store(services, partition, [content])

    (document,) = await metadata(services, partition, path_of(source), has_bulk=False)

    by_pydicom = pydicom.dcmread(io.BytesIO(content)).to_json_dict()
    assert values_of(document) == values_of(by_pydicom)
    assert list(document) == sorted(document)
    assert "7FE00010" not in document


@pytest.mark.skipif(not FILES, reason="the corpus is not installed")
async def test_the_metadata_of_every_valid_file_has_what_pydicom_reads(
    services: Services, partition: Partition
) -> None:
    compared = 0
    for path in FILES:
        if expected(path) != "ok":
            continue
        content = Path(path).read_bytes()
        (outcome,) = (await store(services, partition, [content])).outcomes
        if not isinstance(outcome, Stored) or outcome.problems:
            continue
        by_pydicom = pydicom.dcmread(io.BytesIO(content)).to_json_dict(suppress_invalid_tags=True)
        (document,) = await metadata(services, partition, outcome.path)
        # pydicom leaves out what is malformed.
        assert {tag for tag in by_pydicom if not tag.endswith("0000")} <= document.keys()
        compared += 1
    assert compared > 60, compared


async def test_bulk_values_are_left_out_at_any_depth_in_v1(
    services: Services, partition: Partition
) -> None:
    inner = image()
    source = image(ReferencedStudySequence=[inner])
    await store(services, partition, [part10(source)])
    path = path_of(source)

    for at in (path, ResourcePath(path.study, path.series), ResourcePath(path.study)):
        (plain,) = await metadata(services, partition, at, has_bulk=False)
        (full,) = await metadata(services, partition, at)
        assert "7FE00010" not in plain
        assert "7FE00010" not in plain["00081110"]["Value"][0]
        assert "7FE00010" in full
        assert "7FE00010" in full["00081110"]["Value"][0]


async def test_large_bulk_values_are_references_below_the_service_root(
    services: Services, partition: Partition
) -> None:
    source = image(rows=64, columns=64)
    await store(services, partition, [part10(source)])
    (document,) = await metadata(services, partition, path_of(source))
    url = f"http://h/v2/{path_of(source)}/bulkdata/7FE00010"
    assert document["7FE00010"] == {"vr": "OW", "BulkDataURI": url}


async def test_a_compressed_answer_is_one_gzip_member(
    services: Services, partition: Partition
) -> None:
    first = dataset()
    uids = {
        "StudyInstanceUID": first.StudyInstanceUID,
        "SeriesInstanceUID": first.SeriesInstanceUID,
    }
    await store(services, partition, [part10(first), *(part10(dataset(**uids)) for _ in range(9))])
    path = ResourcePath(path_of(first).study, path_of(first).series)
    version = await services.metadata.version(partition, path)
    plain = View("http://h/v2", has_bulk=True, is_gzip=False)
    packed = View("http://h/v2", has_bulk=True, is_gzip=True)

    answers = [
        b"".join([c async for c in services.metadata.answer(partition, path, version, view)])
        for view in (plain, packed, packed)
    ]

    member = zlib.decompressobj(31)
    assert member.decompress(answers[1]) == answers[0]
    assert member.eof
    assert member.unused_data == b""
    assert answers[2] == answers[1]


async def test_an_answer_is_remembered_for_its_root_and_its_version_alone(
    services: Services, partition: Partition
) -> None:
    source = image(rows=64, columns=64)
    await store(services, partition, [part10(source)])
    path = path_of(source)
    version = await services.metadata.version(partition, path)
    for root in ("http://a/v2", "http://b/v2", "http://a/v2"):
        view = View(root, has_bulk=True, is_gzip=False)
        answer = services.metadata.answer(partition, path, version, view)
        assert f'"{root}/{path}/bulkdata'.encode() in b"".join([c async for c in answer])
    await services.delete.delete(partition, path)
    source.PatientName = "New^Name"
    await store(services, partition, [part10(source)])

    (document,) = await metadata(services, partition, path)
    assert document["00100010"]["Value"] == [{"Alphabetic": "New^Name"}]
