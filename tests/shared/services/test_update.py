"""Updates of studies that change meanwhile, fail, are cancelled, cut short, and rebuilt."""

import io
from collections.abc import Awaitable, Buffer, Callable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import uuid4

import orjson
import pydicom
import pytest
from pydicom.dataset import Dataset
from pydicom.uid import DeflatedExplicitVRLittleEndian, ExplicitVRLittleEndian, generate_uid
from sqlalchemy import text

from shared import wiring
from shared.adapters.obstore_blobs import ObstoreBlobs
from shared.adapters.sql_index.index import SqlIndex
from shared.adapters.sql_index.migrate import migrate
from shared.adapters.sql_tag_table import SqlTagTable
from shared.dicom.blob_names import UPDATES, dicom_blob, metadata_blob, new_blob_id, update_blob
from shared.dicom.extended_query_tag import TagSet
from shared.dicom.json_model import Document
from shared.dicom.resource import ResourcePath, parse_path
from shared.dicom.uid import Uid
from shared.dicom.update import Update
from shared.ports import (
    Operation,
    OperationStatus,
    OperationType,
    Partition,
    StoredInstance,
    StudyUpdates,
    UpdatedInstance,
    UpdateOutcome,
    UpdateProgress,
)
from shared.services.cleanup import Cleanup
from shared.services.head_writer import HeadWriter, Writing
from shared.services.rebuild import Rebuild
from shared.services.update import BulkUpdate
from shared.settings import Settings
from shared.wiring import Services
from tests.archive import blobs_in
from tests.builders import dataset, image, part10
from tests.shared.services.requests import retrieve, store

NAME: Document = {"00100010": {"vr": "PN", "Value": [{"Alphabetic": "New^Name"}]}}

type Meanwhile = Callable[[], Awaitable[object]]


class CutShortError(Exception):
    """The process ends here."""


class Interrupted(StudyUpdates):
    """Lets something happen between the writing of heads and their commit, once."""

    def __init__(self, updates: StudyUpdates, meanwhile: Meanwhile) -> None:
        self._updates = updates
        self._meanwhile: list[Meanwhile] = [meanwhile]

    async def prepare(self, head_ids: Sequence[str], until: datetime) -> None:
        await self._updates.prepare(head_ids, until)

    async def commit(
        self,
        partition: Partition,
        study_uid: Uid,
        updated: Sequence[UpdatedInstance],
        progress: UpdateProgress,
        superseded_until: datetime,
    ) -> UpdateOutcome:
        if self._meanwhile:
            await self._meanwhile.pop()()
        return await self._updates.commit(partition, study_uid, updated, progress, superseded_until)


def interrupted(services: Services, meanwhile: Meanwhile) -> BulkUpdate:
    updater = services.bulk_update.updater
    updates = Interrupted(updater.updates, meanwhile)
    return replace(services.bulk_update, updater=replace(updater, updates=updates))


async def begin(services: Services, *studies: str, changes: Document = NAME) -> str:
    """Note an update as if its orchestration were under way."""
    now = datetime.now(UTC)
    operation = Operation(
        id=uuid4().hex,
        type=OperationType.UPDATE,
        status=OperationStatus.RUNNING,
        created=now,
        last_updated=now,
        percent_complete=0,
        input={"partition": "Microsoft.Default", "studies": studies, "changes": changes},
        results=None,
    )
    await services.operations.table.add(operation, alone=True)
    return operation.id


async def run(services: Services, operation_id: str, update: BulkUpdate | None = None) -> Operation:
    while await (update or services.bulk_update).update_next_study(operation_id):
        pass
    return await services.operations.get(operation_id)


async def instances(services: Services, partition: Partition, study: str) -> list[StoredInstance]:
    found = services.index.instances(partition, ResourcePath(Uid(study)))
    return [instance async for instance in found]


async def names(services: Services, partition: Partition, study: str) -> dict[str, str]:
    """The patient's name in the newest file of each instance."""
    files = await retrieve(services, partition, ResourcePath(Uid(study)))
    read = [pydicom.dcmread(io.BytesIO(content)) for content in files]
    return {str(one.SOPInstanceUID): str(one.PatientName) for one in read}


def path_of(source: Dataset) -> ResourcePath:
    return parse_path(source.StudyInstanceUID, source.SeriesInstanceUID, source.SOPInstanceUID)


async def test_what_is_stored_replaced_or_deleted_meanwhile_is_looked_at_again(
    services: Services, partition: Partition
) -> None:
    study = generate_uid()
    kept, deleted, replaced = (image(StudyInstanceUID=study) for _ in range(3))
    added = image(StudyInstanceUID=study)
    await store(services, partition, [part10(one) for one in (kept, deleted, replaced)])

    async def meanwhile() -> None:
        await services.delete.delete(partition, path_of(deleted))
        await store(services, partition, [part10(added)])
        replaced.PatientComments = "newer"
        await store(services, partition, [part10(replaced)], replaces=True)

    operation_id = await begin(services, study)
    ended = await run(services, operation_id, interrupted(services, meanwhile))

    assert ended.status is OperationStatus.SUCCEEDED
    assert ended.results is not None
    assert ended.results["instanceUpdated"] == 3
    there = {one.SOPInstanceUID: "New^Name" for one in (kept, replaced, added)}
    assert await names(services, partition, study) == there
    [found] = await retrieve(services, partition, path_of(replaced))
    assert pydicom.dcmread(io.BytesIO(found)).PatientComments == "newer"


async def test_a_canceled_update_changes_nothing_more_and_leaves_no_heads(
    services: Services, partition: Partition, tmp_path: Path
) -> None:
    source = image()
    await store(services, partition, [part10(source)])
    before = blobs_in(tmp_path)
    operation_id = await begin(services, source.StudyInstanceUID)

    async def cancel() -> None:
        canceled = OperationStatus.CANCELED
        await services.operations.table.update(operation_id, datetime.now(UTC), status=canceled)

    ended = await run(services, operation_id, interrupted(services, cancel))

    assert ended.status is OperationStatus.CANCELED
    assert ended.results is None
    assert await retrieve(services, partition, path_of(source)) == [part10(source)]
    assert blobs_in(tmp_path) == before


async def test_a_study_with_a_damaged_instance_stays_as_it_is_and_the_next_is_updated(
    services: Services, partition: Partition, tmp_path: Path
) -> None:
    study = generate_uid()
    sources = [image(StudyInstanceUID=study) for _ in range(3)]
    other = image()
    await store(services, partition, [part10(one) for one in (*sources, other)])
    damaged = (await instances(services, partition, study))[1]
    file = tmp_path / dicom_blob(damaged.file.blob_id)
    file.unlink()
    before = blobs_in(tmp_path)
    watermarks = [one.watermark for one in await instances(services, partition, study)]

    ended = await run(services, await begin(services, study, other.StudyInstanceUID))

    assert ended.status is OperationStatus.FAILED
    assert ended.results is not None
    assert {**ended.results, "errors": None} == {
        "studyProcessed": 2,
        "studyUpdated": 1,
        "studyFailed": 1,
        "instanceUpdated": 1,
        "errors": None,
    }
    [error] = ended.results["errors"]
    first, second = error.split("\n")
    assert first == f"Failed to update instances for study {study}"
    assert str(damaged.path.instance) in second
    assert "Microsoft.Default" in second
    now = await instances(services, partition, study)
    assert [one.watermark for one in now] == watermarks
    assert await names(services, partition, other.StudyInstanceUID) == {
        other.SOPInstanceUID: "New^Name"
    }
    [updated] = await instances(services, partition, other.StudyInstanceUID)
    assert updated.file.head is not None
    heads = [name for name in blobs_in(tmp_path) if name.startswith("dicom/")]
    assert heads.count(dicom_blob(updated.file.head.blob_id)) == 1
    assert len(heads) == len([name for name in before if name.startswith("dicom/")]) + 1


@dataclass(frozen=True)
class Damage:
    """What happens to a blob that a blob id names."""

    name_of: Callable[[str], str]
    change: Callable[[bytes], bytes]

    def do(self, folder: Path, blob_id: str) -> None:
        file = folder / self.name_of(blob_id)
        file.write_bytes(self.change(file.read_bytes()))


DAMAGES = {
    f"{kind} {how}": Damage(name_of, change)
    for kind, name_of in {"file": dicom_blob, "metadata": metadata_blob}.items()
    for how, change in {
        "emptied": lambda _: b"",
        "overwritten": lambda content: b"\xff" * len(content),
        "cut off early": lambda content: content[:100],
        "cut off late": lambda content: content[:-40],
    }.items()
}


async def fails_alone(services: Services, partition: Partition, study: str) -> None:
    """See that a study fails, with a sentence, and the next one does not."""
    other = dataset()
    await store(services, partition, [part10(other)])
    [instance] = await instances(services, partition, study)

    ended = await run(services, await begin(services, study, other.StudyInstanceUID))

    assert ended.status is OperationStatus.FAILED
    assert ended.results is not None
    assert (ended.results["studyUpdated"], ended.results["studyFailed"]) == (1, 1)
    [error] = ended.results["errors"]
    assert f"instance {instance.path.instance}: The " in error
    assert await instances(services, partition, study) == [instance]
    assert await names(services, partition, other.StudyInstanceUID) == {
        other.SOPInstanceUID: "New^Name"
    }


@pytest.mark.parametrize("damage", DAMAGES.values(), ids=DAMAGES)
@pytest.mark.parametrize("syntax", [ExplicitVRLittleEndian, DeflatedExplicitVRLittleEndian])
async def test_a_study_whose_file_or_metadata_is_damaged_fails_alone(
    services: Services, partition: Partition, tmp_path: Path, syntax: str, damage: Damage
) -> None:
    source = dataset()
    await store(services, partition, [part10(source, syntax)])
    [instance] = await instances(services, partition, source.StudyInstanceUID)
    damage.do(tmp_path, instance.file.blob_id)

    await fails_alone(services, partition, source.StudyInstanceUID)


@pytest.mark.parametrize("damage", DAMAGES.values(), ids=DAMAGES)
@pytest.mark.parametrize("source", [dataset(), image()], ids=["whole", "before pixels"])
async def test_a_study_with_a_damaged_head_fails_alone(
    services: Services, partition: Partition, tmp_path: Path, source: Dataset, damage: Damage
) -> None:
    await store(services, partition, [part10(source)])
    await run(services, await begin(services, source.StudyInstanceUID))
    [instance] = await instances(services, partition, source.StudyInstanceUID)
    assert instance.file.head is not None
    damage.do(tmp_path, instance.file.head.blob_id)

    await fails_alone(services, partition, source.StudyInstanceUID)


@pytest.mark.parametrize("kept", [0, 100, 500])
async def test_a_study_whose_file_ends_before_its_pixels_fails_alone(
    services: Services, partition: Partition, tmp_path: Path, kept: int
) -> None:
    source = image()
    await store(services, partition, [part10(source)])
    [instance] = await instances(services, partition, source.StudyInstanceUID)
    file = tmp_path / dicom_blob(instance.file.blob_id)
    file.write_bytes(file.read_bytes()[:kept])

    await fails_alone(services, partition, source.StudyInstanceUID)


async def test_a_study_whose_pixels_are_gone_fails_alone_when_they_are_needed(
    services: Services, partition: Partition, tmp_path: Path
) -> None:
    source = image()
    source.add_new(0x7FE11010, "LT", "Zoë")
    source.SpecificCharacterSet = "ISO_IR 100"
    await store(services, partition, [part10(source)])
    await run(services, await begin(services, source.StudyInstanceUID))
    [instance] = await instances(services, partition, source.StudyInstanceUID)
    assert instance.file.head is not None
    file = tmp_path / dicom_blob(instance.file.blob_id)
    file.write_bytes(b"")
    wide: Document = {"00100010": {"vr": "PN", "Value": [{"Alphabetic": "Ω"}]}}

    ended = await run(services, await begin(services, source.StudyInstanceUID, changes=wide))

    assert ended.results is not None
    assert "The file of the instance is damaged." in ended.results["errors"][0]


class WatchedBlobs(ObstoreBlobs):
    """Counts of how many files a beginning is held until the head is written."""

    held: set[str]
    most = 0

    async def get_ranges(self, name: str, ranges: Sequence[tuple[int, int]]) -> list[Buffer]:
        self.held.add(name)
        self.most = max(self.most, len(self.held))
        return await super().get_ranges(name, ranges)

    async def put(self, name: str, content: Buffer) -> None:
        if name.startswith("dicom/"):
            self.held.pop()
        await super().put(name, content)


def long_beginning() -> Dataset:
    source = image()
    source.add_new(0x00091001, "OB", bytes(2 << 20))
    return source


def long_metadata() -> Dataset:
    """An image of a beginning that is less than its metadata."""
    source = image()
    for element in range(12):
        source.add_new(0x00091001 + element, "US", [65535] * 30_000)
    return source


@pytest.mark.parametrize("make", [long_beginning, long_metadata])
async def test_of_instances_that_take_much_memory_one_is_written_anew_at_a_time(
    services: Services, partition: Partition, tmp_path: Path, make: Callable[[], Dataset]
) -> None:
    sources = [make() for _ in range(3)]
    study = sources[0].StudyInstanceUID
    for source in sources:
        source.StudyInstanceUID = study
    await store(services, partition, [part10(source) for source in sources])
    blobs = WatchedBlobs.in_folder(tmp_path, sync=False)
    blobs.held = set()
    updater = replace(services.bulk_update.updater, writer=HeadWriter(blobs))
    update = replace(services.bulk_update, updater=updater)

    ended = await run(services, await begin(services, study), update)

    assert ended.results is not None
    assert ended.results["instanceUpdated"] == 3
    assert blobs.most == 1


async def test_heads_of_an_update_that_was_cut_short_are_removed_and_it_goes_on(
    services: Services, partition: Partition, tmp_path: Path
) -> None:
    source = image()
    await store(services, partition, [part10(source)])
    before = {name for name in blobs_in(tmp_path) if name.startswith(("dicom/", "metadata/"))}
    operation_id = await begin(services, source.StudyInstanceUID)

    async def end() -> None:
        raise CutShortError

    with pytest.raises(CutShortError):
        await run(services, operation_id, interrupted(services, end))
    assert len(blobs_in(tmp_path)) > len(before)
    ended = await run(services, operation_id)
    assert ended.results is not None
    assert ended.results["instanceUpdated"] == 1

    later = datetime.now(UTC) + timedelta(days=2)
    await services.cleanup.remove_due(later)
    await services.cleanup.sweep(later)

    [found] = await instances(services, partition, source.StudyInstanceUID)
    assert found.file.head is not None
    left = {name for name in blobs_in(tmp_path) if name.startswith(("dicom/", "metadata/"))}
    assert left - before == {
        dicom_blob(found.file.head.blob_id),
        metadata_blob(found.file.head.blob_id),
    }
    assert await names(services, partition, source.StudyInstanceUID) == {
        source.SOPInstanceUID: "New^Name"
    }


def notes_in(folder: Path) -> list[str]:
    return [name for name in blobs_in(folder) if name.startswith(UPDATES)]


async def clean_up(services: Services, days: int) -> None:
    later = datetime.now(UTC) + timedelta(days=days)
    await services.cleanup.remove_due(later)
    await services.cleanup.sweep(later)


async def test_the_note_of_an_update_goes_when_all_its_heads_have(
    services: Services, partition: Partition, tmp_path: Path
) -> None:
    study = generate_uid()
    deleted, kept = image(StudyInstanceUID=study), image(StudyInstanceUID=study)
    await store(services, partition, [part10(deleted), part10(kept)])
    await run(services, await begin(services, study))
    [first] = notes_in(tmp_path)
    await services.delete.delete(partition, path_of(deleted))
    await clean_up(services, days=9)
    assert notes_in(tmp_path) == [first]
    await run(services, await begin(services, study))
    both = notes_in(tmp_path)
    assert len(both) == 2

    await services.cleanup.sweep(datetime.now(UTC) + timedelta(days=9))
    assert notes_in(tmp_path) == both, "the superseded head waits"
    await clean_up(services, days=9)
    assert notes_in(tmp_path) == [name for name in both if name != first]


async def test_the_note_of_heads_that_are_there_stays_although_the_index_has_lost_them(
    services: Services, partition: Partition, tmp_path: Path
) -> None:
    source = image()
    await store(services, partition, [part10(source)])
    index: Any = services.index
    await run(services, await begin(services, source.StudyInstanceUID))
    [note] = notes_in(tmp_path)
    forget = text("UPDATE instance SET head_id = NULL, head_length = NULL, body_offset = NULL")
    await index.database.write(lambda c: c.execute(forget))
    limited = Cleanup(
        services.blobs,
        services.index,
        services.state,
        orphan_age=timedelta(days=1),
        max_orphans_per_run=1,
    )

    await limited.sweep(datetime.now(UTC) + timedelta(days=9))

    assert notes_in(tmp_path) == [note]


async def test_notes_of_updates_are_looked_at_in_a_circle(
    services: Services, tmp_path: Path
) -> None:
    for _ in range(510):
        note = orjson.dumps({"heads": {new_blob_id(): new_blob_id()}})
        await services.blobs.put(update_blob(new_blob_id()), note)

    await clean_up(services, days=9)

    assert len(notes_in(tmp_path)) == 10
    await services.blobs.put(damaged := update_blob(new_blob_id()), b"damaged")
    await clean_up(services, days=9)
    assert notes_in(tmp_path) == [damaged]


async def test_an_index_is_rebuilt_with_the_newest_versions_and_without_unfinished_ones(
    services: Services, partition: Partition, tmp_path: Path
) -> None:
    twice, unfinished, gone = image(), dataset(), image()
    await store(services, partition, [part10(one) for one in (twice, unfinished, gone)])
    await run(services, await begin(services, twice.StudyInstanceUID, gone.StudyInstanceUID))
    last: Document = {"00100010": {"vr": "PN", "Value": [{"Alphabetic": "Last^Name"}]}}
    await run(services, await begin(services, twice.StudyInstanceUID, changes=last))
    await services.delete.delete(partition, path_of(gone))
    operation_id = await begin(services, unfinished.StudyInstanceUID)

    updater = services.bulk_update.updater
    [instance] = await instances(services, partition, unfinished.StudyInstanceUID)
    writing = Writing(partition.name, Update(NAME, datetime.now(UTC)), TagSet())
    await updater.writer.write(instance, new_blob_id(), writing)
    assert not (await services.operations.get(operation_id)).status.is_final
    await services.index.close()

    for file in tmp_path.glob("index.sqlite*"):
        file.unlink()
    migrate(wiring.index_url(tmp_path))
    again = wiring.build(
        Settings.from_env({"DATA_DIRECTORY": str(tmp_path), "EMBEDDED_SYNC": "off"})
    )
    try:
        assert isinstance(again.index, SqlIndex)
        await Rebuild(again.blobs, again.index, SqlTagTable(again.index)).run()
        found = [
            await names(again, partition, study)
            for study in (twice.StudyInstanceUID, unfinished.StudyInstanceUID)
        ]
        assert found == [
            {twice.SOPInstanceUID: "Last^Name"},
            {unfinished.SOPInstanceUID: "Doe^Jane"},
        ]
        assert await instances(again, partition, gone.StudyInstanceUID) == []
    finally:
        await again.index.close()


async def test_files_without_a_head_of_their_own_are_updated_again_and_again(
    services: Services, partition: Partition
) -> None:
    source = image(StudyInstanceUID=generate_uid())
    content = part10(source, DeflatedExplicitVRLittleEndian)
    await store(services, partition, [content])
    for name in ("One", "Two"):
        changes: Document = {"00100010": {"vr": "PN", "Value": [{"Alphabetic": name}]}}
        await run(services, await begin(services, source.StudyInstanceUID, changes=changes))
    [found] = await retrieve(services, partition, path_of(source))
    read = pydicom.dcmread(io.BytesIO(found))
    assert (read.PatientName, read.PixelData) == ("Two", source.PixelData)
    assert len(read.OriginalAttributesSequence) == 2
    assert read.file_meta.TransferSyntaxUID == DeflatedExplicitVRLittleEndian
