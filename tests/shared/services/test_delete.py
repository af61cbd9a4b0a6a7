import pytest

from shared.dicom.resource import Level, ResourcePath
from shared.dicomweb.query import parse_query
from shared.errors import NotFoundError
from shared.ports import ChangeAction, InstanceState, Partition
from shared.wiring import Services
from tests.builders import dataset, image, part10
from tests.shared.services.requests import frames, metadata, path_of, retrieve, store


def at(path: ResourcePath, level: Level) -> ResourcePath:
    return ResourcePath(
        path.study,
        path.series if level >= Level.SERIES else None,
        path.instance if level is Level.INSTANCE else None,
    )


@pytest.mark.parametrize("level", list(Level))
async def test_what_is_deleted_is_found_by_nothing(
    services: Services, partition: Partition, level: Level
) -> None:
    source = image()
    path = path_of(source)
    await store(services, partition, [part10(source)])
    await metadata(services, partition, at(path, Level.SERIES))

    await services.delete.delete(partition, at(path, level))

    for above in Level:
        with pytest.raises(NotFoundError):
            await retrieve(services, partition, at(path, above))
        with pytest.raises(NotFoundError):
            await metadata(services, partition, at(path, above))
        with pytest.raises(NotFoundError):
            await services.delete.delete(partition, at(path, above))
        query = parse_query([], above, version=2, max_limit=10)
        assert (await services.search.search(partition, query, base_url="")).documents == []
    with pytest.raises(NotFoundError):
        await frames(services, partition, path, [1])


async def test_each_deleted_instance_is_in_the_change_feed(
    services: Services, partition: Partition
) -> None:
    first = dataset()
    second = dataset(StudyInstanceUID=first.StudyInstanceUID)
    await store(services, partition, [part10(first), part10(second)])

    await services.delete.delete(partition, ResourcePath(path_of(first).study))

    changes = await services.index.changes(0, 10)
    assert [change.action for change in changes] == [ChangeAction.CREATE] * 2 + [
        ChangeAction.DELETE
    ] * 2
    assert {change.path for change in changes[2:]} == {path_of(first), path_of(second)}
    assert {change.state for change in changes} == {InstanceState.DELETED}


async def test_an_instance_filed_into_the_wrong_study_leaves_nothing_on_it(
    services: Services, partition: Partition
) -> None:
    right = dataset(PatientName="Right^One", AccessionNumber="R1")
    wrong = dataset(
        StudyInstanceUID=right.StudyInstanceUID,
        PatientName="Wrong^Two",
        AccessionNumber="W1",
        Modality="MR",
    )
    await store(services, partition, [part10(right)])
    query = parse_query([("includefield", "all")], Level.STUDY, version=2, max_limit=10)
    before = (await services.search.search(partition, query, base_url="")).documents
    await store(services, partition, [part10(wrong)])

    await services.delete.delete(partition, path_of(wrong))

    after = (await services.search.search(partition, query, base_url="")).documents
    assert after == before
    assert b"Wrong" not in str(after).encode()


async def test_a_deleted_instance_can_be_stored_again(
    services: Services, partition: Partition
) -> None:
    content = part10(source := dataset())
    await store(services, partition, [content])
    old = await services.index.find_instance(partition, path_of(source))
    await services.delete.delete(partition, path_of(source))

    await store(services, partition, [content])

    new = await services.index.find_instance(partition, path_of(source))
    assert old is not None
    assert new is not None
    assert new.watermark > old.watermark
    assert new.file.blob_id != old.file.blob_id
    assert await retrieve(services, partition, path_of(source)) == [content]
