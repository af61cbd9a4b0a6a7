"""What every store of blobs promises, and what the one in a folder promises beyond."""

import asyncio
import gc
import os
import threading
from collections.abc import AsyncIterator, Buffer, Callable
from datetime import timedelta
from pathlib import Path
from uuid import uuid4

import pytest

from shared.adapters.azure_account import StorageAccount
from shared.adapters.azure_blobs import AzureBlobs
from shared.adapters.obstore_blobs import ObstoreBlobs
from shared.errors import (
    BlobExistsError,
    BlobNotFoundError,
    InvalidBlobNameError,
    StoreUnavailableError,
)
from shared.ports import BlobInfo, BlobStore

NAME = "dicom/000/20260101/one"
MIB = 1_048_576


@pytest.fixture(params=["memory", "folder", pytest.param("azurite", marks=pytest.mark.host)])
def blobs(request: pytest.FixtureRequest, tmp_path: Path) -> BlobStore:
    if request.param == "memory":
        return ObstoreBlobs.in_memory()
    if request.param == "folder":
        return ObstoreBlobs.in_folder(tmp_path / "blobs", sync=False)
    return AzureBlobs(request.getfixturevalue("account"), f"test-{uuid4().hex}")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "blobs"


async def chunks_of(*chunks: bytes, error: Exception | None = None) -> AsyncIterator[bytes]:
    for chunk in chunks:
        yield chunk
    if error is not None:
        raise error


async def content_of(chunks: AsyncIterator[Buffer]) -> bytes:
    return b"".join([bytes(chunk) async for chunk in chunks])


async def names_of(blobs: BlobStore, prefix: str) -> set[str]:
    return {blob.name async for blob in blobs.list(prefix)}


def _files(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.is_file()]


@pytest.mark.parametrize("content", [b"", b"abc", bytearray(b"abc"), memoryview(b"xabcx")[1:4]])
async def test_a_blob_is_read_as_it_was_put(blobs: BlobStore, content: Buffer) -> None:
    await blobs.put(NAME, content)
    assert bytes(await blobs.get(NAME)) == bytes(content)
    assert await blobs.length(NAME) == memoryview(content).nbytes


async def test_a_name_is_put_only_once(blobs: BlobStore) -> None:
    await blobs.put(NAME, b"first")
    with pytest.raises(BlobExistsError):
        await blobs.put(NAME, b"second")
    with pytest.raises(BlobExistsError):
        await blobs.put_stream(NAME, chunks_of(b"third"))
    assert bytes(await blobs.get(NAME)) == b"first"
    assert await names_of(blobs, "staging/") == set()


async def test_of_puts_that_race_for_a_name_exactly_one_wins(blobs: BlobStore) -> None:
    contents = [bytes([number]) * 100_000 for number in range(8)]
    racing = [
        blobs.put(NAME, content) if number % 2 else blobs.put_stream(NAME, chunks_of(content))
        for number, content in enumerate(contents)
    ]
    outcomes = await asyncio.gather(*racing, return_exceptions=True)
    won = [number for number, outcome in enumerate(outcomes) if not _is_loss(outcome)]
    assert len(won) == 1
    assert bytes(await blobs.get(NAME)) == contents[won[0]]
    assert await names_of(blobs, "staging/") == set()


def _is_loss(outcome: object) -> bool:
    if isinstance(outcome, BaseException):
        assert isinstance(outcome, BlobExistsError)
        return True
    return False


async def test_chunks_of_any_size_make_one_blob(blobs: BlobStore) -> None:
    chunks = [b"a", b"", b"b" * (5 * MIB), b"c" * 10, b"d" * MIB]
    length = await blobs.put_stream(NAME, chunks_of(*chunks))
    assert bytes(await blobs.get(NAME)) == b"".join(chunks)
    assert length == 6 * MIB + 11


async def test_no_chunks_make_an_empty_blob(blobs: BlobStore) -> None:
    assert await blobs.put_stream(NAME, chunks_of()) == 0
    assert bytes(await blobs.get(NAME)) == b""


async def test_chunks_that_fail_leave_nothing(blobs: BlobStore, folder: Path) -> None:
    chunks = chunks_of(b"a" * (9 * MIB), b"b", error=ConnectionResetError())
    with pytest.raises(ConnectionResetError):
        await blobs.put_stream(NAME, chunks)
    with pytest.raises(BlobNotFoundError):
        await blobs.get(NAME)
    gc.collect()
    assert _files(folder) == []
    await blobs.put(NAME, b"again")


async def test_a_stream_put_that_is_cancelled_leaves_nothing(
    blobs: BlobStore, folder: Path
) -> None:
    started = asyncio.Event()

    async def endless() -> AsyncIterator[bytes]:
        while True:
            yield b"a" * MIB
            started.set()
            await asyncio.sleep(0)

    task = asyncio.create_task(blobs.put_stream(NAME, endless()))
    await started.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    del task
    await blobs.put("dicom/after", b"")
    gc.collect()
    assert await names_of(blobs, "dicom/") == {"dicom/after"}
    assert await names_of(blobs, "staging/") == set()
    assert {file.name for file in _files(folder)} <= {"after"}


async def test_ranges_come_in_the_order_asked_for(blobs: BlobStore) -> None:
    content = os.urandom(300_000)
    await blobs.put(NAME, content)
    ranges = [(200_000, 50), (0, 1), (10, 5), (12, 8), (299_999, 1)]
    found = await blobs.get_ranges(NAME, ranges)
    assert [bytes(part) for part in found] == [
        content[offset : offset + length] for offset, length in ranges
    ]


async def test_a_range_of_no_bytes_is_empty_wherever_it_lies(blobs: BlobStore) -> None:
    await blobs.put(NAME, b"content")
    found = await blobs.get_ranges(NAME, [(7, 0), (1, 2), (0, 0), (9, 0), (4, 3)])
    assert [bytes(part) for part in found] == [b"", b"on", b"", b"", b"ent"]
    assert [bytes(part) for part in await blobs.get_ranges(NAME, [(3, 0)])] == [b""]
    assert await blobs.get_ranges(NAME, []) == []


@pytest.mark.parametrize(
    ("offset", "length"),
    [(0, None), (5, None), (0, 3), (MIB - 1, 2), (MIB, 2 * MIB), (3 * MIB + 6, 1), (7, 0)],
)
async def test_a_stream_gives_the_bytes_asked_for(
    blobs: BlobStore, offset: int, length: int | None
) -> None:
    content = os.urandom(3 * MIB + 7)
    await blobs.put(NAME, content)
    end = len(content) if length is None else offset + length
    assert await content_of(blobs.stream(NAME, offset, length)) == content[offset:end]


async def test_reading_a_blob_that_is_not_there_says_so(blobs: BlobStore) -> None:
    with pytest.raises(BlobNotFoundError):
        await blobs.get(NAME)
    with pytest.raises(BlobNotFoundError):
        await blobs.get_ranges(NAME, [(0, 1)])
    with pytest.raises(BlobNotFoundError):
        await blobs.length(NAME)
    with pytest.raises(BlobNotFoundError):
        await anext(aiter(blobs.stream(NAME)))


async def test_streams_abandoned_half_way_keep_no_thread(blobs: BlobStore) -> None:
    await blobs.put(NAME, bytes(8 * MIB))
    for _ in range(40):
        chunks = blobs.stream(NAME)
        assert memoryview(await anext(aiter(chunks))).nbytes > 0
        await chunks.aclose()  # type: ignore[attr-defined]  # it is an async generator
    names = [f"dicom/{number}" for number in range(40)]
    async with asyncio.timeout(20):
        await asyncio.gather(*(blobs.put(name, b"") for name in names))


async def test_deleting_again_is_no_error(blobs: BlobStore) -> None:
    names = [f"dicom/{number}" for number in range(20)]
    for name in names[:10]:
        await blobs.put(name, b"")
    await blobs.put(NAME, b"kept")
    await blobs.delete(names)
    await blobs.delete(names)
    await blobs.delete([])
    assert await names_of(blobs, "dicom/") == {NAME}


async def test_a_deleted_name_can_be_put_again(blobs: BlobStore) -> None:
    await blobs.put(NAME, b"old")
    await blobs.delete([NAME])
    await blobs.put(NAME, b"new")
    assert bytes(await blobs.get(NAME)) == b"new"


async def test_a_listing_names_all_below_a_prefix_with_their_lengths(blobs: BlobStore) -> None:
    names = [f"metadata/{number % 7:03d}/{number}" for number in range(1100)]
    await asyncio.gather(*(blobs.put(name, b"abc") for name in names))
    await blobs.put("metadata2/x", b"")
    found = [blob async for blob in blobs.list("metadata/")]
    assert sorted(found, key=lambda blob: blob.name) == [
        BlobInfo(name, 3) for name in sorted(names)
    ]
    assert [blob async for blob in blobs.list("nothing/")] == []


async def test_folders_are_the_next_segments(blobs: BlobStore) -> None:
    for name in ("dicom/001/a/x", "dicom/001/b/x", "dicom/002/a/x", "dicom/file", "other/3/x"):
        await blobs.put(name, b"")
    assert sorted(await blobs.list_folders("dicom/")) == ["001", "002"]
    assert sorted(await blobs.list_folders("dicom/001/")) == ["a", "b"]
    assert list(await blobs.list_folders("nothing/")) == []


FOREIGN_NAMES = (
    "é ü/Ärzte 2026.dcm",
    "a%20b",
    "a%2Fb",
    "a+b",
    "a?b&c=d",
    "[x]{y}",
    "~*:'\"|<>",
    "dots..dcm",
    ".hidden",
    "/".join(["d" * 200] * 5),
)


async def test_names_from_outside_are_kept_apart_and_listed_as_they_are(blobs: BlobStore) -> None:
    for name in FOREIGN_NAMES:
        await blobs.put(f"in/{name}", name.encode())
    assert await names_of(blobs, "in/") == {f"in/{name}" for name in FOREIGN_NAMES}
    for name in FOREIGN_NAMES:
        assert bytes(await blobs.get(f"in/{name}")) == name.encode()
    await blobs.delete([f"in/{name}" for name in FOREIGN_NAMES])
    assert await names_of(blobs, "in/") == set()


@pytest.mark.parametrize(
    "name",
    ["", "/a", "a/", "a//b", "../a", "a/../b", "a/.", "a\nb", "\x00", "\x7f", "\ud800", "a" * 1025],
)
async def test_names_that_lead_elsewhere_are_refused(
    blobs: BlobStore, name: str, folder: Path
) -> None:
    for refused in (
        blobs.put(name, b"x"),
        blobs.put_stream(name, chunks_of(b"x")),
        blobs.get(name),
        blobs.get_ranges(name, [(0, 1)]),
        blobs.length(name),
        content_of(blobs.stream(name)),
        blobs.delete([NAME, name]),
    ):
        with pytest.raises(InvalidBlobNameError):
            await refused
    assert _files(folder.parent) == []


async def test_a_store_that_answers_passes_the_check(blobs: BlobStore) -> None:
    await blobs.check()
    await blobs.put(NAME, b"")
    await blobs.check()


async def test_a_store_without_leftovers_removes_none(blobs: BlobStore) -> None:
    await blobs.put(NAME, b"kept")
    assert await blobs.remove_leftovers(timedelta(0)) == 0
    assert bytes(await blobs.get(NAME)) == b"kept"


# --- on Azure ------------------------------------------------------------------------------------


@pytest.fixture
def container(account: StorageAccount) -> AzureBlobs:
    return AzureBlobs(account, f"test-{uuid4().hex}")


@pytest.mark.host
async def test_of_large_streams_that_race_for_a_name_one_wins(container: AzureBlobs) -> None:
    contents = [bytes([number]) * (5 * MIB) for number in range(3)]
    racing = [
        container.put_stream(NAME, chunks_of(*(content[at::5] for at in range(5))))
        for content in contents
    ]
    outcomes = await asyncio.gather(*racing, return_exceptions=True)
    won = [number for number, outcome in enumerate(outcomes) if not _is_loss(outcome)]
    assert len(won) == 1
    assert bytes(await container.get(NAME)) == contents[won[0]]


@pytest.mark.host
async def test_a_container_is_shared_by_those_who_find_it_made(account: StorageAccount) -> None:
    name = f"test-{uuid4().hex}"
    await AzureBlobs(account, name).put(NAME, b"x")
    assert bytes(await AzureBlobs(account, name).get(NAME)) == b"x"


@pytest.mark.host
async def test_a_container_that_was_taken_away_fails_the_check(account: StorageAccount) -> None:
    name = f"test-{uuid4().hex}"
    blobs = AzureBlobs(account, name)
    await blobs.check()
    account.blobs.delete_container(name)
    with pytest.raises(StoreUnavailableError):
        await blobs.check()


@pytest.mark.host
async def test_more_than_one_request_deletes_is_deleted(container: AzureBlobs) -> None:
    names = [f"dicom/{number}" for number in range(150)]
    await asyncio.gather(*(container.put(name, b"") for name in names[::2]))
    await container.delete(names)
    assert await names_of(container, "dicom/") == set()


# --- in a folder --------------------------------------------------------------------------------


def _leave(file: Path, *, hours_ago: float) -> Path:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(b"half")
    moment = file.stat().st_mtime - hours_ago * 3600
    os.utime(file, (moment, moment))
    return file


async def test_what_killed_writes_left_is_not_listed_and_is_removed_in_time(folder: Path) -> None:
    blobs = ObstoreBlobs.in_folder(folder, sync=False)
    await blobs.put(NAME, b"kept")
    _leave(folder / NAME, hours_ago=9)
    old = [
        _leave(folder / name, hours_ago=3)
        for name in (
            "staging/abc",
            "staging/def#1",
            "dicom/000/20260101/two#1",
            "metadata/000/20260101/two.json.gz#2",
            "frames/000/20260101/two.json.gz#1",
            "series-metadata/7/8.json.gz#1",
            "tombstones/000/20260101/two.json#1",
        )
    ]
    young = [
        _leave(folder / name, hours_ago=1) for name in ("staging/ghi", "dicom/000/20260101/three#1")
    ]
    assert await names_of(blobs, "dicom/") == {NAME}
    assert await blobs.remove_leftovers(timedelta(hours=2)) == len(old)
    assert sorted(_files(folder)) == sorted([folder / NAME, *young])


async def test_a_file_is_streamed_in_small_chunks(folder: Path) -> None:
    blobs = ObstoreBlobs.in_folder(folder, sync=False)
    await blobs.put(NAME, bytes(16 * MIB))
    lengths = [memoryview(chunk).nbytes async for chunk in blobs.stream(NAME)]
    assert sum(lengths) == 16 * MIB
    assert max(lengths) <= 2 * MIB


@pytest.mark.parametrize("name", ["a/b#1", "a#1/b", "a/b#1.dcm", "é" * 121])
async def test_names_that_no_file_here_has_are_refused(folder: Path, name: str) -> None:
    blobs = ObstoreBlobs.in_folder(folder, sync=False)
    with pytest.raises(InvalidBlobNameError):
        await blobs.put(name, b"x")
    assert _files(folder) == []


@pytest.fixture
def synced(monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """What was brought to the disk, in that order."""
    paths: list[Path] = []
    _watch_syncs(monkeypatch, paths.append)
    return paths


def _watch_syncs(monkeypatch: pytest.MonkeyPatch, note: Callable[[Path], object]) -> None:
    sync = os.fsync

    def watched(descriptor: int) -> None:
        sync(descriptor)
        note(Path(f"/proc/self/fd/{descriptor}").readlink())

    monkeypatch.setattr(os, "fsync", watched)


@pytest.mark.parametrize("is_streamed", [False, True], ids=["put", "put_stream"])
async def test_a_file_its_name_and_its_new_folders_reach_the_disk_in_this_order(
    folder: Path, synced: list[Path], *, is_streamed: bool
) -> None:
    blobs = ObstoreBlobs.in_folder(folder)

    async def put(name: str) -> None:
        await (blobs.put_stream(name, chunks_of(b"x")) if is_streamed else blobs.put(name, b"x"))

    await put("dicom/000/20260101/one")
    day = folder / "dicom/000/20260101"
    assert synced == [day / "one", day, day.parent, day.parent.parent, folder]
    del synced[:]
    await put("dicom/000/20260101/two")
    assert synced == [day / "two", day]
    del synced[:]
    await put("dicom/000/20260102/one")
    next_day = folder / "dicom/000/20260102"
    assert synced == [next_day / "one", next_day, day.parent]


async def test_a_file_waits_for_folders_that_another_one_is_still_settling(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    blobs = ObstoreBlobs.in_folder(folder)
    held, go_on = threading.Event(), threading.Event()
    done: list[Path] = []

    def note(path: Path) -> None:
        if path == folder and not held.is_set():
            held.set()
            assert go_on.wait(30)
        done.append(path)

    _watch_syncs(monkeypatch, note)
    first = asyncio.create_task(blobs.put("dicom/000/one", b""))
    assert await asyncio.to_thread(held.wait, 30)
    await blobs.put("dicom/000/two", b"")
    assert folder in done
    go_on.set()
    await first


async def test_without_sync_nothing_waits_for_the_disk(folder: Path, synced: list[Path]) -> None:
    blobs = ObstoreBlobs.in_folder(folder, sync=False)
    await blobs.put("dicom/one", b"x")
    await blobs.put_stream("dicom/two", chunks_of(b"x"))
    assert synced == []


async def test_a_folder_that_cannot_be_written_makes_the_store_unavailable(folder: Path) -> None:
    blobs = ObstoreBlobs.in_folder(folder, sync=False)
    (folder / "dicom").write_bytes(b"in the way")
    with pytest.raises(StoreUnavailableError):
        await blobs.put(NAME, b"x")
    with pytest.raises(StoreUnavailableError):
        await blobs.put_stream(NAME, chunks_of(b"x"))
