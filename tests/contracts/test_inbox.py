"""What every inbox promises of the files that others leave in it."""

import asyncio
import json
import os
import socket
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from ctypes import CDLL
from datetime import timedelta
from io import BufferedWriter
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from azure.core.exceptions import ResourceNotFoundError

from shared.adapters.azure_account import StorageAccount
from shared.adapters.azure_inbox import AzureInbox
from shared.adapters.folder_inbox import FolderInbox
from shared.errors import BlobNotFoundError, InboxFileError, StoreUnavailableError
from shared.ports import InboxFile

# The first time, the emulator is installed.
pytestmark = [pytest.mark.host, pytest.mark.timeout(600)]

MIB = 1_048_576
REASON = b'{"reason": 43264}'
ODD_NAMES = [
    "scan#1.dcm",
    "p/100%25 ü?&+=.dcm",
    "a b/c;d,e@f/[x]{y}*'\"<>|.dcm",
    "deep/" + "d/" * 60 + "file",
    "日本/画像.dcm",
    "tab\tname",
]


class Folders:
    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.inbox = FolderInbox(folder / "inbox", folder / "inbox-failed")

    def put(self, name: str, content: bytes) -> None:
        file = self.folder / "inbox" / name
        file.parent.mkdir(parents=True, exist_ok=True)
        partial = file.with_name("partial.part")
        partial.write_bytes(content)
        partial.replace(file)

    def kept(self) -> dict[str, bytes]:
        root = self.folder / "inbox-failed"
        files = [file for file in root.rglob("*") if file.is_file()]
        return {file.relative_to(root).as_posix(): file.read_bytes() for file in files}


class Containers:
    def __init__(self, account: StorageAccount) -> None:
        service = account.blobs
        self.inbox = AzureInbox(account, "inbox", "inbox-failed")
        self._service = service
        for name in ("inbox", "inbox-failed"):
            container = service.get_container_client(name)
            if container.exists():
                for blob in container.list_blobs():
                    container.delete_blob(str(blob.name))
        if not service.get_container_client("inbox").exists():
            service.create_container("inbox")

    def put(self, name: str, content: bytes) -> None:
        self._service.get_blob_client("inbox", name).upload_blob(content, overwrite=True)

    def kept(self) -> dict[str, bytes]:
        container = self._service.get_container_client("inbox-failed")
        try:
            names = [str(blob.name) for blob in container.list_blobs()]
        except ResourceNotFoundError:
            return {}
        return {name: container.download_blob(name).readall() for name in names}


type Outside = Folders | Containers
"""Those who leave files, and look at what became of them."""


@pytest.fixture(params=["folder", "account"])
def outside(request: pytest.FixtureRequest, tmp_path: Path) -> Outside:
    if request.param == "folder":
        return Folders(tmp_path)
    return Containers(request.getfixturevalue("account"))


async def _content(chunks: AsyncIterator[bytes]) -> bytes:
    return b"".join([chunk async for chunk in chunks])


async def _names(outside: Outside) -> list[str]:
    return sorted([file.name async for file in outside.inbox.list()])


async def _found(outside: Outside, name: str) -> InboxFile:
    file, _ = await outside.inbox.open(name)
    return file


@pytest.mark.parametrize("name", ODD_NAMES)
async def test_a_file_of_any_name_is_listed_read_set_aside_and_removed(
    outside: Outside, name: str
) -> None:
    outside.put(name, b"content")
    assert await _names(outside) == [name]
    file, chunks = await outside.inbox.open(name)
    assert (file.name, file.length, await _content(chunks)) == (name, 7, b"content")
    await outside.inbox.set_aside(file, REASON)
    assert outside.kept() == {name: b"content", f"{name}.error.json": REASON}
    assert await _names(outside) == []
    outside.put(name, b"again")
    await outside.inbox.remove(await _found(outside, name))
    assert await _names(outside) == []


@pytest.mark.parametrize("content", [b"", b"0123456789abcdef" * (9 * MIB // 16) + b"end"])
async def test_a_file_of_any_length_is_read_in_chunks_and_set_aside(
    outside: Outside, content: bytes
) -> None:
    outside.put("file", content)
    file, chunks = await outside.inbox.open("file")
    read = [chunk async for chunk in chunks]
    assert b"".join(read) == content
    assert all(len(chunk) <= 4 * MIB for chunk in read)
    await outside.inbox.set_aside(file, REASON)
    assert outside.kept()["file"] == content


async def test_what_is_not_there_cannot_be_opened(outside: Outside) -> None:
    for name in ("nothing", "no/thing", "n" * 300):
        with pytest.raises(BlobNotFoundError):
            await outside.inbox.open(name)


async def test_a_file_that_is_written_again_stays(outside: Outside) -> None:
    outside.put("file", b"first")
    before, chunks = await outside.inbox.open("file")
    assert await _content(chunks) == b"first"
    outside.put("file", b"second")
    await outside.inbox.remove(before)
    await outside.inbox.set_aside(before, REASON)
    assert outside.kept() == {}
    after, chunks = await outside.inbox.open("file")
    assert await _content(chunks) == b"second"
    assert after.version != before.version


async def test_a_file_that_is_written_again_while_it_is_read_is_not_read_to_its_end(
    outside: Outside,
) -> None:
    outside.put("file", b"1" * 12 * MIB)
    _, chunks = await outside.inbox.open("file")
    await anext(chunks)
    outside.put("file", b"2" * 12 * MIB)
    with pytest.raises(BlobNotFoundError):
        await _content(chunks)


async def test_a_file_that_is_gone_is_removed_and_set_aside_without_error(
    outside: Outside,
) -> None:
    outside.put("file", b"content")
    file = await _found(outside, "file")
    await outside.inbox.remove(file)
    await outside.inbox.remove(file)
    await outside.inbox.set_aside(file, REASON)
    assert outside.kept() == {}


async def test_a_file_is_set_aside_again_after_it_was_cut_short(outside: Outside) -> None:
    for _ in range(2):
        outside.put("p/file", b"content")
        await outside.inbox.set_aside(await _found(outside, "p/file"), REASON)
    assert outside.kept() == {"p/file": b"content", "p/file.error.json": REASON}


async def test_another_file_of_the_same_name_is_kept_beside_the_first(outside: Outside) -> None:
    for content in (b"first", b"second", b"second"):
        outside.put("file", content)
        await outside.inbox.set_aside(await _found(outside, "file"), REASON)
    kept = outside.kept()
    assert sorted(kept.values()) == sorted([b"first", b"second", REASON, REASON])
    assert kept["file"] == b"first"


async def test_the_reason_of_a_file_takes_the_place_of_no_other_file(outside: Outside) -> None:
    for name in ("file.error.json", "file"):
        outside.put(name, name.encode())
        await outside.inbox.set_aside(await _found(outside, name), REASON)
    kept = outside.kept()
    assert kept["file"] == b"file"
    assert kept["file.error.json"] == REASON
    assert b"file.error.json" in kept.values()


async def test_a_name_that_leaves_no_room_for_the_reason_is_replaced(outside: Outside) -> None:
    longest = "n" * (255 if isinstance(outside, Folders) else 1020)
    outside.put(longest, b"content")
    await outside.inbox.set_aside(await _found(outside, longest), REASON)
    assert sorted(outside.kept().values()) == [b"content", REASON]
    assert await _names(outside) == []


# --- an account ---------------------------------------------------------------------------------


async def test_a_container_that_does_not_exist_is_empty(account: StorageAccount) -> None:
    inbox = AzureInbox(account, "not-yet", "inbox-failed")
    assert [file async for file in inbox.list()] == []


async def test_that_one_blob_is_archived_or_held_says_nothing_of_the_inbox(
    account: StorageAccount,
) -> None:
    outside = Containers(account)
    for name in ("archived", "held"):
        outside.put(name, b"content")
    account.blobs.get_blob_client("inbox", "archived").set_standard_blob_tier("Archive")
    account.blobs.get_blob_client("inbox", "held").create_snapshot()
    found = {file.name: file async for file in outside.inbox.list()}
    with pytest.raises(InboxFileError):
        await outside.inbox.open("archived")
    for file in found.values():
        with pytest.raises(InboxFileError):
            await outside.inbox.set_aside(file, REASON)
    with pytest.raises(InboxFileError):
        await outside.inbox.remove(found["held"])
    account.blobs.get_blob_client("inbox", "held").delete_blob(delete_snapshots="include")


async def test_an_account_that_does_not_answer_is_told_of() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    gone = f"AccountName=a;AccountKey=a2V5;BlobEndpoint=http://127.0.0.1:{port}/a;"
    inbox = AzureInbox(StorageAccount(gone), "inbox", "inbox-failed")
    with pytest.raises(StoreUnavailableError):
        await inbox.open("file")


# --- a folder -----------------------------------------------------------------------------------


@pytest.fixture
def folders(tmp_path: Path) -> Folders:
    return Folders(tmp_path)


async def test_links_are_neither_listed_nor_followed(folders: Folders, tmp_path: Path) -> None:
    (secret := tmp_path / "secret").write_bytes(b"secret")
    (elsewhere := tmp_path / "elsewhere").mkdir()
    (elsewhere / "file").write_bytes(b"content")
    root = tmp_path / "inbox"
    (root / "link").symlink_to(secret)
    (root / "folder").symlink_to(elsewhere)
    (root / "loop").symlink_to(root)
    assert await _names(folders) == []
    for name in ("link", "folder/file", "loop/link", "../secret", "/etc/passwd", "a/../link", ""):
        with pytest.raises(BlobNotFoundError):
            await folders.inbox.open(name)
    assert secret.read_bytes() == b"secret"


async def test_an_inbox_that_is_a_link_itself_is_followed(tmp_path: Path) -> None:
    (real := tmp_path / "real").mkdir()
    (tmp_path / "inbox").symlink_to(real)
    folders = Folders(tmp_path)
    folders.put("p/file", b"content")
    assert await _names(folders) == ["p/file"]
    _, chunks = await folders.inbox.open("p/file")
    assert await _content(chunks) == b"content"


async def test_what_is_hidden_or_unfinished_is_not_listed(folders: Folders) -> None:
    for name in (".hidden", "file.part", "file.tmp", "file"):
        (folders.folder / "inbox" / name).write_bytes(b"content")
    (folders.folder / "inbox" / b"M\xfcller".decode("utf-8", "surrogateescape")).write_bytes(b"x")
    assert await _names(folders) == ["file"]


async def test_a_copy_that_brings_an_old_time_along_has_been_changed_now(folders: Folders) -> None:
    folders.put("file", b"content")
    found = await _found(folders, "file")
    os.utime(folders.folder / "inbox" / "file", (0, 0))
    assert (await _found(folders, "file")).changed >= found.changed


async def test_a_file_that_is_open_to_be_written_to_is_neither_listed_nor_opened(
    folders: Folders,
) -> None:
    with (folders.folder / "inbox" / "file").open("wb") as file:
        file.write(b"begin")
        file.flush()
        assert await _names(folders) == []
        with pytest.raises(BlobNotFoundError):
            await folders.inbox.open("file")
    assert await _names(folders) == ["file"]
    assert (await _found(folders, "file")).length == 5


async def test_a_file_that_has_been_open_for_very_long_without_a_change_is_taken_for_finished(
    folders: Folders, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("shared.adapters.folder_inbox._BELIEVED_OPEN", timedelta(0))
    with (folders.folder / "inbox" / "file").open("wb"):
        assert await _names(folders) == ["file"]
        file, chunks = await folders.inbox.open("file")
        assert await _content(chunks) == b""
        await folders.inbox.remove(file)
        assert await _names(folders) == []


async def test_a_file_that_is_opened_to_be_written_to_while_it_is_read_is_not_read_to_its_end(
    folders: Folders,
) -> None:
    folders.put("file", b"content")
    _, chunks = await folders.inbox.open("file")
    await anext(chunks)
    with (folders.folder / "inbox" / "file").open("ab"), pytest.raises(BlobNotFoundError):
        await _content(chunks)


async def test_a_file_that_somebody_is_about_to_go_on_with_stays(folders: Folders) -> None:
    folders.put("file", b"content")
    found = await _found(folders, "file")
    with (folders.folder / "inbox" / "file").open("ab") as file:
        await folders.inbox.remove(found)
        await folders.inbox.set_aside(found, REASON)
        file.write(b" and more")
    assert folders.kept() == {}
    _, chunks = await folders.inbox.open("file")
    assert await _content(chunks) == b"content and more"


async def test_a_file_that_is_opened_at_the_moment_of_its_removal_is_put_back(
    folders: Folders, monkeypatch: pytest.MonkeyPatch
) -> None:
    folders.put("file", b"content")
    found = await _found(folders, "file")
    rename = Path.rename

    def opened_first(self: Path, target: Path) -> Path:
        late.append(self.open("ab"))
        return rename(self, target)

    late: list[BufferedWriter] = []
    monkeypatch.setattr(Path, "rename", opened_first)
    await folders.inbox.remove(found)
    with late[0] as file:
        file.write(b" and more")
    assert (folders.folder / "inbox" / "file").read_bytes() == b"content and more"
    assert await _names(folders) == ["file"]


async def test_what_a_crash_leaves_of_a_removal_is_listed(folders: Folders) -> None:
    (folders.folder / "inbox" / ".7-1-7.taken").write_bytes(b"content")
    assert await _names(folders) == [".7-1-7.taken"]
    await folders.inbox.remove(await _found(folders, ".7-1-7.taken"))
    assert list((folders.folder / "inbox").iterdir()) == []


@pytest.fixture
async def of_others() -> AsyncIterator[Folders]:
    """Folders that those who use them may not change, but for the one of refused files."""
    with TemporaryDirectory(dir="/dev/shm") as shared:
        folders = Folders(Path(shared))
        folders.put("unreadable", b"content")
        folders.put("unremovable", b"content")
        (folders.folder / "inbox" / "unreadable").chmod(0)
        (folders.folder / "inbox").chmod(0o555)
        (folders.folder / "inbox-failed").chmod(0o777)
        folders.folder.chmod(0o755)
        # Root may do anything, but not in threads that use files as somebody else.
        setfsuid = CDLL(None).setfsuid
        with ThreadPoolExecutor(1, initializer=setfsuid, initargs=(65534,)) as threads:
            asyncio.get_running_loop().set_default_executor(threads)
            yield folders
        (folders.folder / "inbox").chmod(0o755)


async def test_that_one_file_may_not_be_read_says_nothing_of_the_inbox(of_others: Folders) -> None:
    assert await _names(of_others) == ["unreadable", "unremovable"]
    _, chunks = await of_others.inbox.open("unreadable")
    with pytest.raises(InboxFileError) as raised:
        await _content(chunks)
    assert raised.value.__cause__ is None, "it tells the name"


async def test_that_one_file_may_not_be_removed_says_nothing_of_the_inbox(
    of_others: Folders,
) -> None:
    file, chunks = await of_others.inbox.open("unremovable")
    assert await _content(chunks) == b"content"
    with pytest.raises(InboxFileError):
        await of_others.inbox.remove(file)
    with pytest.raises(InboxFileError):
        await of_others.inbox.set_aside(file, REASON)


async def test_a_file_that_may_not_be_read_is_set_aside_unread(of_others: Folders) -> None:
    (of_others.folder / "inbox").chmod(0o777)
    await of_others.inbox.set_aside(await _found(of_others, "unreadable"), REASON)
    assert await _names(of_others) == ["unremovable"]
    kept = of_others.folder / "inbox-failed"
    assert sorted(file.name for file in kept.iterdir()) == [
        "unreadable",
        "unreadable.error.json",
    ]


async def test_a_file_in_the_place_of_a_folder_is_no_hindrance(folders: Folders) -> None:
    folders.put("name", b"file")
    await folders.inbox.set_aside(await _found(folders, "name"), REASON)
    folders.put("name/below", b"below")
    await folders.inbox.set_aside(await _found(folders, "name/below"), REASON)
    assert sorted(folders.kept().values()) == sorted([b"file", b"below", REASON, REASON])


async def test_refused_files_may_be_kept_on_another_disk(tmp_path: Path) -> None:
    with TemporaryDirectory(dir="/dev/shm") as disk:  # another disk
        (tmp_path / "inbox-failed").symlink_to(disk)
        folders = Folders(tmp_path)
        assert Path(disk).stat().st_dev != tmp_path.stat().st_dev
        folders.put("p/file", b"content")
        await folders.inbox.set_aside(await _found(folders, "p/file"), REASON)
        kept = {path.name: path.read_bytes() for path in Path(disk, "p").iterdir()}
        assert kept == {"file": b"content", "file.error.json": REASON}
        assert json.loads(kept["file.error.json"])
    assert await _names(folders) == []
