import asyncio
import gzip
import subprocess
import sys
from collections.abc import AsyncIterator, Buffer, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import orjson
import pytest
from pydicom.dataset import Dataset

from shared import rebuild_index, wiring
from shared.adapters.sql_index.migrate import migrate
from shared.dicom.blob_names import (
    dicom_blob,
    frames_blob,
    metadata_blob,
    new_blob_id,
    tombstone_blob,
)
from shared.dicom.resource import Level, ResourcePath
from shared.dicom.uid import Uid
from shared.dicomweb.query import parse_query
from shared.errors import NotFoundError
from shared.ports import Change, ChangeAction, InstanceState, Match, Partition
from shared.services.metadata import View
from shared.settings import Settings
from shared.wiring import Services
from tests import builders

ROOT = Path(__file__).parents[3]
PARTITIONS = ("Microsoft.Default", "ward-a", "ward-b")
SEARCHES = [
    (level, pairs)
    for level in Level
    for pairs in (
        [],
        [("PatientName", "doe"), ("fuzzymatching", "true")],
        [("PatientID", "P1*")],
        [("StudyDate", "20260101-20260103")],
        [("ModalitiesInStudy", "MR")],
    )
]


@asynccontextmanager
async def _opened(folder: Path) -> AsyncIterator[Services]:
    migrate(wiring.index_url(folder))
    env = {"DATA_DIRECTORY": str(folder), "EMBEDDED_SYNC": "off"}
    services = wiring.build(Settings.from_env(env))
    try:
        yield services
    finally:
        await services.index.close()


def _datasets(prefix: int) -> list[Dataset]:
    """Two patients; the first has series of two modalities, and an image of many frames."""
    one, other, series = (f"2.25.{prefix}.{number}" for number in (1, 2, 3))
    first = [
        builders.dataset(
            StudyInstanceUID=one,
            SeriesInstanceUID=f"{series}.{number % 2}",
            Modality=("CT", "MR")[number % 2],
            InstanceNumber=number,
            StudyDescription=f"Chest {number}",
        )
        for number in range(5)
    ]
    second = builders.image(
        StudyInstanceUID=other, frames=3, PatientID="P17", PatientName="Zoë^Ann", Modality="US"
    )
    return [*first, second]


async def _store(archive: Services, partition_name: str, *datasets: Dataset) -> Partition:
    async def body(content: bytes) -> AsyncIterator[bytes]:
        yield content

    async def bodies() -> AsyncIterator[AsyncIterator[bytes]]:
        for dataset in datasets:
            yield body(builders.part10(dataset))

    partition = await archive.partitions.resolve(partition_name, create=True)
    report = await archive.store.store(partition, bodies(), version=2)
    assert len(report.document(2, "")["00081199"]["Value"]) == len(datasets)
    return partition


def _path(dataset: Dataset, level: Level = Level.INSTANCE) -> ResourcePath:
    uids = (dataset.StudyInstanceUID, dataset.SeriesInstanceUID, dataset.SOPInstanceUID)
    return ResourcePath(*(Uid(str(uid)) for uid in uids[: level.value]))


async def _blob_id(archive: Services, dataset: Dataset) -> str:
    partition = await archive.partitions.resolve(None, create=True)
    found = await archive.index.find_instance(partition, _path(dataset))
    assert found is not None
    return found.file.blob_id


async def _metadata(archive: Services, partition: Partition, path: ResourcePath) -> list[object]:
    view = View("http://host/v2", has_bulk=True, is_gzip=False)
    version = await archive.metadata.version(partition, path)
    chunks = archive.metadata.answer(partition, path, version, view)
    documents = orjson.loads(b"".join([chunk async for chunk in chunks]))
    return sorted(documents, key=lambda document: str(document["00080018"]))


def _told(match: Match) -> tuple[object, ...]:
    return match.path, match.attributes, match.computed, match.newest_blob_id


async def _answers(archive: Services) -> dict[str, object]:
    """All that can be asked of an archive, but for the numbers that an index draws itself."""
    answers: dict[str, object] = {}
    for name in PARTITIONS:
        partition = await archive.partitions.resolve(name, create=False)
        studies = set()
        for level, pairs in SEARCHES:
            query = parse_query(pairs, level, version=2)
            found = await archive.index.search(partition, query)
            key = f"{name} {level.name} {pairs}"
            answers[key] = [_told(match) for match in found.results], found.remaining
            studies |= {ResourcePath(match.path.study) for match in found.results}
        for study in sorted(studies, key=str):
            stored = archive.index.instances(partition, study)
            answers[f"{name} {study}"] = [(item.path, item.file) async for item in stored]
            answers[f"{name} {study} metadata"] = await _metadata(archive, partition, study)
            for series in await archive.index.series(partition, study):
                answers[f"{name} {series.path}"] = series.instance_count
    return answers


def _without_index(folder: Path) -> None:
    for file in folder.glob("index.sqlite*"):
        file.unlink()


async def test_every_answer_of_a_rebuilt_index_is_that_of_the_lost_one(tmp_path: Path) -> None:
    async with _opened(tmp_path) as archive:
        for number, name in enumerate(PARTITIONS):
            for dataset in _datasets(number):
                partition = await _store(archive, name, dataset)
        misfiled, *others = _datasets(9)
        misfiled.StudyInstanceUID = "2.25.2.1"
        misfiled.PatientID = "another"
        # One by one, as blob ids that are drawn in one millisecond do not tell their order.
        for dataset in (misfiled, *others):
            await _store(archive, name, dataset)
        await archive.delete.delete(partition, _path(misfiled))
        await archive.delete.delete(partition, _path(others[0], Level.SERIES))
        await archive.delete.delete(partition, _path(others[-1], Level.STUDY))
        expected = await _answers(archive)
    _without_index(tmp_path)
    rebuilt, _ = await rebuild_index.rebuild(tmp_path)
    assert (rebuilt.instances, rebuilt.left_out, rebuilt.damaged) == (20, 4, ())
    async with _opened(tmp_path) as archive:
        assert await _answers(archive) == expected
        [match] = (
            await archive.index.search(
                partition,
                parse_query([("StudyInstanceUID", "2.25.2.1")], Level.STUDY, version=2),
            )
        ).results
        assert "another" not in str(match.attributes)


async def test_the_change_feed_starts_anew_with_a_creation_for_each_instance(
    tmp_path: Path,
) -> None:
    first, *others, deleted = _datasets(1)
    async with _opened(tmp_path) as archive:
        for dataset in (first, *others, deleted):
            partition = await _store(archive, "Microsoft.Default", dataset)
        await archive.delete.delete(partition, _path(deleted))
    await rebuild_index.rebuild(tmp_path)
    async with _opened(tmp_path) as archive:
        changes = await archive.index.changes(0, 100)
    assert [change.path for change in changes] == [_path(item) for item in (first, *others)]
    assert [_told_of_change(change) for change in changes] == [
        (number, ChangeAction.CREATE, InstanceState.CURRENT) for number in range(1, 6)
    ]


def _told_of_change(change: Change) -> tuple[object, ...]:
    return change.sequence, change.action, change.state


async def test_a_series_document_of_the_old_index_is_never_taken_for_one_of_the_new(
    tmp_path: Path,
) -> None:
    first, second = _datasets(1)[0], _datasets(2)[0]
    async with _opened(tmp_path) as archive:
        # The rows of the old index have the numbers that the new one gives to others.
        partition = await _store(archive, "Microsoft.Default", first)
        [series] = await archive.index.series(partition, _path(first, Level.SERIES))
        await archive.blobs.put(
            f"series-metadata/{series.key}/{series.revision}.json.gz",
            gzip.compress(b'{"00080018":{"vr":"UI","Value":["1.2.3"]},"of":"another patient"}\n'),
        )
    await rebuild_index.rebuild(tmp_path)
    async with _opened(tmp_path) as archive:
        assert [blob async for blob in archive.blobs.list("series-metadata/")] == []
        await _store(archive, "Microsoft.Default", second)
        [document] = await _metadata(archive, partition, _path(first, Level.SERIES))
    assert isinstance(document, dict)
    assert document["00080018"]["Value"] == [first.SOPInstanceUID]


async def test_what_was_never_wholly_written_is_left_out_and_left_to_the_sweeper(
    tmp_path: Path,
) -> None:
    dataset, no_file, no_metadata, no_frames = _datasets(1)[:4]
    async with _opened(tmp_path) as archive:
        await _store(archive, "Microsoft.Default", dataset, no_file, no_metadata, no_frames)
        ids = [await _blob_id(archive, item) for item in (no_file, no_metadata, no_frames)]
        blob = await archive.blobs.get(metadata_blob(ids[2]))
        await archive.blobs.delete(
            [dicom_blob(ids[0]), metadata_blob(ids[1]), metadata_blob(ids[2])]
        )
        await archive.blobs.put(metadata_blob(ids[2]), _with(blob, frames="blob"))
        (tmp_path / f"{dicom_blob(new_blob_id())}#1").parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / f"{dicom_blob(ids[0])}#1").write_bytes(b"half")
        await archive.blobs.put("metadata/000/20260101/readme.json.gz", b"of another program")
    rebuilt, _ = await rebuild_index.rebuild(tmp_path)
    assert (rebuilt.instances, rebuilt.left_out, rebuilt.damaged) == (1, 2, ())
    async with _opened(tmp_path) as archive:
        assert await archive.index.known_blob_ids(ids) == frozenset()


def _with(metadata: Buffer, **changed: object) -> bytes:
    head, _, document = gzip.decompress(metadata).partition(b"\n")
    return gzip.compress(orjson.dumps({**orjson.loads(head), **changed}) + b"\n" + document)


async def test_an_instance_with_its_frames_in_a_blob_is_put_back(tmp_path: Path) -> None:
    dataset = _datasets(1)[0]
    async with _opened(tmp_path) as archive:
        await _store(archive, "Microsoft.Default", dataset)
        blob_id = await _blob_id(archive, dataset)
        blob = await archive.blobs.get(metadata_blob(blob_id))
        await archive.blobs.delete([metadata_blob(blob_id)])
        await archive.blobs.put(metadata_blob(blob_id), _with(blob, frames="blob"))
        await archive.blobs.put(frames_blob(blob_id), gzip.compress(b"{}"))
    rebuilt, _ = await rebuild_index.rebuild(tmp_path)
    assert rebuilt.instances == 1


DAMAGES: dict[str, Callable[[Any], bytes]] = {
    "empty": lambda _: b"",
    "not compressed": lambda _: b"rubbish",
    "cut short": lambda whole: bytes(whole)[:-9],
    "not JSON": lambda _: gzip.compress(b"{\n{"),
    "no object": lambda _: gzip.compress(b"[]\n[]"),
    "no length": lambda whole: _with(whole, length=None),
    "no UID": lambda whole: _with(whole, study="../../etc"),
    "of another blob": lambda whole: _with(whole, blobId=new_blob_id()),
}


@pytest.mark.parametrize("damage", DAMAGES)
async def test_damaged_metadata_stops_nothing_and_its_file_is_kept(
    tmp_path: Path, damage: str
) -> None:
    good, bad = _datasets(1)[:2]
    async with _opened(tmp_path) as archive:
        await _store(archive, "Microsoft.Default", good, bad)
        blob_id = await _blob_id(archive, bad)
        name = metadata_blob(blob_id)
        content = DAMAGES[damage](await archive.blobs.get(name))
        await archive.blobs.delete([name])
        await archive.blobs.put(name, content)
    rebuilt, _ = await rebuild_index.rebuild(tmp_path)
    assert (rebuilt.instances, rebuilt.left_out, rebuilt.damaged) == (1, 1, (name,))
    async with _opened(tmp_path) as archive:
        # The sweeper asks this before it removes a blob.
        assert await archive.index.known_blob_ids([blob_id]) == {blob_id}


async def test_a_damaged_tombstone_is_told_and_stops_nothing(tmp_path: Path) -> None:
    async with _opened(tmp_path) as archive:
        await _store(archive, "Microsoft.Default", _datasets(1)[0])
        name = tombstone_blob(new_blob_id())
        await archive.blobs.put(name, b"[")
    rebuilt, _ = await rebuild_index.rebuild(tmp_path)
    assert (rebuilt.instances, rebuilt.damaged) == (1, (name,))


async def test_of_two_blobs_of_one_instance_the_older_one_is_put_back(tmp_path: Path) -> None:
    dataset = _datasets(1)[0]
    async with _opened(tmp_path) as archive:
        await _store(archive, "Microsoft.Default", dataset)
        older, younger = await _blob_id(archive, dataset), new_blob_id()
        blob = await archive.blobs.get(metadata_blob(older))
        await archive.blobs.put(metadata_blob(younger), _with(blob, blobId=younger))
        await archive.blobs.put(dicom_blob(younger), await archive.blobs.get(dicom_blob(older)))
    rebuilt, _ = await rebuild_index.rebuild(tmp_path)
    assert (rebuilt.instances, rebuilt.left_out) == (1, 1)
    async with _opened(tmp_path) as archive:
        assert await _blob_id(archive, dataset) == older


@pytest.mark.parametrize("is_same", [False, True])
async def test_of_two_blobs_of_one_instance_the_other_one_is_kept_unless_it_is_the_same(
    tmp_path: Path, *, is_same: bool
) -> None:
    dataset = _datasets(1)[0]
    async with _opened(tmp_path) as archive:
        await _store(archive, "Microsoft.Default", dataset)
        older, younger = await _blob_id(archive, dataset), new_blob_id()
        blob = await archive.blobs.get(metadata_blob(older))
        changed = {} if is_same else {"sha256": "0" * 64}
        await archive.blobs.put(metadata_blob(younger), _with(blob, blobId=younger, **changed))
        await archive.blobs.put(dicom_blob(younger), await archive.blobs.get(dicom_blob(older)))
    rebuilt, _ = await rebuild_index.rebuild(tmp_path)
    assert (rebuilt.instances, rebuilt.left_out) == (1, 1)
    assert rebuilt.doubtful == (() if is_same else (metadata_blob(younger),))
    async with _opened(tmp_path) as archive:
        assert await archive.index.known_blob_ids([younger]) == {younger}, "no orphan"
        await archive.cleanup.remove_due(datetime.now(UTC) + timedelta(days=900))
        left = {blob.name async for blob in archive.blobs.list("dicom/")}
    assert left == {dicom_blob(one) for one in ([older] if is_same else [older, younger])}


async def test_more_instances_than_a_batch_are_put_back(tmp_path: Path) -> None:
    datasets = [builders.dataset(StudyInstanceUID="2.25.1") for _ in range(260)]
    async with _opened(tmp_path) as archive:
        await _store(archive, "Microsoft.Default", *datasets)
    rebuilt, _ = await rebuild_index.rebuild(tmp_path)
    assert rebuilt.instances == 260


async def test_rebuilding_again_keeps_every_earlier_index(tmp_path: Path) -> None:
    async with _opened(tmp_path) as archive:
        await _store(archive, "Microsoft.Default", *_datasets(1))
    (tmp_path / "rebuilding").mkdir()
    (tmp_path / "rebuilding" / "index.sqlite").write_bytes(b"of a rebuild cut short")
    kept = [(await rebuild_index.rebuild(tmp_path))[1] for _ in range(2)]
    assert len({folder.name for folder in kept}) == 2
    assert all((folder / "index.sqlite").is_file() for folder in kept)
    assert not (tmp_path / "rebuilding").exists()


async def test_the_command_says_what_it_did(tmp_path: Path) -> None:
    dataset = _datasets(1)[0]
    async with _opened(tmp_path) as archive:
        await _store(archive, "Microsoft.Default", dataset)
        await archive.blobs.put(name := tombstone_blob(new_blob_id()), b"[")
        blob_id, other = await _blob_id(archive, dataset), new_blob_id()
        blob = await archive.blobs.get(metadata_blob(blob_id))
        doubtful = _with(blob, blobId=other, sha256="0" * 64)
        await archive.blobs.put(metadata_blob(other), doubtful)
        await archive.blobs.put(dicom_blob(other), await archive.blobs.get(dicom_blob(blob_id)))
    _without_index(tmp_path)
    command = [sys.executable, "-m", "shared.rebuild_index", "--data", str(tmp_path)]
    done = await asyncio.to_thread(
        subprocess.run, command, cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert done.stdout.startswith("1 instances are in the new index, 1 were left out; ")
    assert f"damaged: {name}\n" in done.stdout
    assert f"doubtful: {metadata_blob(other)}\n" in done.stdout
    assert (tmp_path / "index.sqlite").stat().st_mode & 0o077 == 0, "nobody else may read it"
    async with _opened(tmp_path) as archive:
        assert await _blob_id(archive, dataset)


def test_the_command_refuses_a_folder_that_is_not_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "argv", ["rebuild_index", "--data", str(tmp_path / "none")])
    with pytest.raises(SystemExit, match="no such folder"):
        rebuild_index.main()


async def test_a_deleted_instance_stays_deleted(tmp_path: Path) -> None:
    dataset = _datasets(1)[0]
    async with _opened(tmp_path) as archive:
        partition = await _store(archive, "Microsoft.Default", dataset)
        blob_id = await _blob_id(archive, dataset)
        await archive.delete.delete(partition, _path(dataset))
        assert {blob.name async for blob in archive.blobs.list("dicom/")} == {dicom_blob(blob_id)}
    rebuilt, _ = await rebuild_index.rebuild(tmp_path)
    assert (rebuilt.instances, rebuilt.left_out) == (0, 1)
    async with _opened(tmp_path) as archive:
        with pytest.raises(NotFoundError):
            await archive.metadata.version(partition, _path(dataset))
        assert await archive.index.known_blob_ids([blob_id]) == {blob_id}, "it keeps its grace"
        later = datetime.now(UTC) + archive.settings.deleted_blob_grace_seconds
        await archive.cleanup.remove_due(later)
        assert [blob.name async for blob in archive.blobs.list("dicom/")] == []
