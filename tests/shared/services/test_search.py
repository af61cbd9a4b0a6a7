from pathlib import Path

import pytest

from shared.dicom.blob_names import metadata_blob
from shared.dicom.resource import Level
from shared.dicomweb.query import parse_query
from shared.ports import Partition
from shared.services.search import SearchAnswer
from shared.wiring import Services
from tests.builders import dataset, part10
from tests.shared.services.requests import path_of, store


async def search(
    services: Services,
    partition: Partition,
    level: Level,
    *query: tuple[str, str],
    version: int = 2,
) -> SearchAnswer:
    parsed = parse_query(query, level, version=version, max_limit=100)
    return await services.search.search(partition, parsed, base_url="http://h/v2")


@pytest.mark.parametrize("version", [1, 2])
async def test_what_was_stored_is_found_at_every_level(
    services: Services, partition: Partition, version: int
) -> None:
    source = dataset()
    await store(services, partition, [part10(source)])

    for level in Level:
        answer = await search(
            services, partition, level, ("PatientName", "doe^jane"), version=version
        )
        (document,) = answer.documents
        assert document["0020000D"]["Value"] == [source.StudyInstanceUID]
        assert list(document) == sorted(document)


async def test_the_retrieve_url_is_that_of_the_result(
    services: Services, partition: Partition
) -> None:
    source = dataset()
    await store(services, partition, [part10(source)])
    path = str(path_of(source)).split("/")
    for level in Level:
        (document,) = (await search(services, partition, level)).documents
        url = "/".join(["http://h/v2", *path[: 2 * level]])
        assert document["00081190"]["Value"] == [url]


async def test_rows_answer_without_a_blob_unless_more_is_asked_for(
    services: Services, partition: Partition
) -> None:
    source = dataset(ProtocolName="Thorax")
    await store(services, partition, [part10(source)])
    field = ("includefield", "ProtocolName")
    (document,) = (await search(services, partition, Level.STUDY, field)).documents
    assert document["00181030"]["Value"] == ["Thorax"]

    stored = await services.index.find_instance(partition, path_of(source))
    assert stored is not None
    await services.blobs.delete([metadata_blob(stored.file.blob_id)])

    everything = ("includefield", "all")
    for level in Level:
        (document,) = (await search(services, partition, level, everything)).documents
        assert document["0020000D"]["Value"] == [source.StudyInstanceUID]
    (document,) = (await search(services, partition, Level.STUDY, field)).documents
    assert "00181030" not in document


async def test_counts_and_modalities_follow_what_is_stored(
    services: Services, partition: Partition
) -> None:
    first = dataset(Modality="CT")
    study = first.StudyInstanceUID
    others = [
        dataset(StudyInstanceUID=study, Modality="MR"),
        dataset(StudyInstanceUID=study, SeriesInstanceUID=first.SeriesInstanceUID, Modality="CT"),
    ]
    await store(services, partition, [part10(source) for source in (first, *others)])
    fields = [("includefield", "ModalitiesInStudy,NumberOfStudyRelatedInstances")]

    (document,) = (await search(services, partition, Level.STUDY, *fields)).documents
    assert sorted(document["00080061"]["Value"]) == ["CT", "MR"]
    assert document["00201208"]["Value"] == [3]

    await services.delete.delete(partition, path_of(others[0]))
    (document,) = (await search(services, partition, Level.STUDY, *fields)).documents
    assert document["00080061"]["Value"] == ["CT"]
    assert document["00201208"]["Value"] == [2]


async def test_pages_go_from_the_newest_to_the_oldest(
    services: Services, partition: Partition
) -> None:
    sources = [dataset() for _ in range(5)]
    await store(services, partition, [part10(source) for source in sources])

    found = []
    for offset in range(0, 6, 2):
        page = await search(
            services, partition, Level.STUDY, ("limit", "2"), ("offset", str(offset))
        )
        assert page.remaining == max(0, 5 - offset - 2)
        found += [document["0020000D"]["Value"][0] for document in page.documents]
    assert found == [source.StudyInstanceUID for source in reversed(sources)]


@pytest.mark.parametrize("damaged", [b"", b"x" * 100])
async def test_damaged_metadata_keep_no_result_from_being_found(
    services: Services,
    partition: Partition,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    damaged: bytes,
) -> None:
    sources = [dataset(ProtocolName=f"Thorax {number}") for number in range(2)]
    await store(services, partition, map(part10, sources))
    stored = await services.index.find_instance(partition, path_of(sources[0]))
    assert stored is not None
    (tmp_path / metadata_blob(stored.file.blob_id)).write_bytes(damaged)

    field = ("includefield", "ProtocolName")
    whole, poor = (await search(services, partition, Level.INSTANCE, field)).documents

    assert whole["00181030"]["Value"] == ["Thorax 1"]
    assert poor["00080018"]["Value"] == [sources[0].SOPInstanceUID]
    assert "00181030" not in poor
    assert caplog.messages == [f"{stored.file.blob_id}: its metadata blob is damaged"]
