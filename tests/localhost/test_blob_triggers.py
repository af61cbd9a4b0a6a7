import asyncio
import json
import os
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from azure.core.exceptions import ResourceNotFoundError
from azure.storage.blob import BlobServiceClient
from azure.storage.queue import QueueClient

from localhost.azurite import azurite
from localhost.blob_sources import FolderSource
from tests.e2e.server import Server
from tests.localhost.sample import eventually, fired, notes, sample

# The first time, the emulator is installed.
pytestmark = [pytest.mark.host, pytest.mark.slow, pytest.mark.timeout(600)]


class Folder:
    """The containers of a host without a storage account."""

    def __init__(self, data: Path) -> None:
        self.data = data
        self.settings: dict[str, str] = {}

    def put(self, name: str, content: bytes, container: str = "inbox") -> None:
        """Write as a careful program does: the file appears whole."""
        file = self.data / container / name
        file.parent.mkdir(parents=True, exist_ok=True)
        partial = file.with_name(file.name + ".part")
        partial.write_bytes(content)
        partial.replace(file)

    def poison(self) -> list[str]:
        """The word left of blobs that were given up."""
        file = self.data / ".localhost" / "poison.jsonl"
        return file.read_text().splitlines() if file.exists() else []


class Account:
    """The containers of a storage account."""

    def __init__(self, data: Path, connection: str) -> None:
        self.data = data
        self.settings = {"InboxStorage": connection}
        self._service = BlobServiceClient.from_connection_string(connection)
        for container in ("inbox", "clients"):
            self._service.create_container(container)
        self._queue = QueueClient.from_connection_string(connection, "webjobs-blobtrigger-poison")

    def put(self, name: str, content: bytes, container: str = "inbox") -> None:
        self._service.get_blob_client(container, name).upload_blob(content, overwrite=True)

    def poison(self) -> list[str]:
        try:
            return [str(message.content) for message in self._queue.peek_messages(32)]
        except ResourceNotFoundError:
            return []  # The first word makes the queue.

    def close(self) -> None:
        self._service.close()
        self._queue.close()


type Storage = Folder | Account


@pytest.fixture(scope="module", params=["folder", "account"])
def storage(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Storage]:
    data = tmp_path_factory.mktemp("blobs") / "data"
    if request.param == "folder":
        yield Folder(data)
        return
    with azurite() as emulator:
        account = Account(data, emulator.connection_string)
        yield account
        account.close()


@pytest.fixture(scope="module")
def server(storage: Storage) -> Iterator[Server]:
    with sample(storage.data, storage.settings, workers=1) as started:
        yield started


def _once_more(storage: Storage, server: Server, name: str) -> None:
    """Let a blob fire, so that the container has been looked over again."""
    storage.put(name, b"again")
    assert eventually(lambda: fired(server, name))


def test_a_new_blob_fires_once_with_its_content(storage: Storage, server: Server) -> None:
    storage.put("folder/new blob.bin", b"content")
    found = eventually(lambda: fired(server, "folder/new blob.bin"))
    _once_more(storage, server, "after new")
    assert found == [{"name": "inbox/folder/new blob.bin", "length": 7, "read": 7}]
    assert fired(server, "folder/new blob.bin") == found


def test_a_large_file_is_given_by_its_name_and_length_alone(
    storage: Storage, server: Server
) -> None:
    storage.put("large", b"l" * 1_048_577)
    [found] = eventually(lambda: fired(server, "large"))
    # From an account the function has it whole, as in Azure; so it asks for a client if it is wise.
    read = 0 if isinstance(storage, Folder) else 1_048_577
    assert found == {"name": "inbox/large", "length": 1_048_577, "read": read}


def test_a_function_that_asks_for_a_client_is_told_the_name(
    storage: Storage, server: Server
) -> None:
    storage.put("a folder/100% ü#1.bin", b"content", "clients")
    found = eventually(lambda: notes(server, "client"))
    assert found == ["clients/a folder/100% ü#1.bin"]


def test_a_blob_that_is_written_over_fires_again(storage: Storage, server: Server) -> None:
    storage.put("over", b"first")
    eventually(lambda: fired(server, "over"))
    storage.put("over", b"the second")
    assert [blob["read"] for blob in _eventually_many(server, "over", 2)] == [5, 10]


def test_a_function_that_fails_is_called_again_for_its_blob(
    storage: Storage, server: Server
) -> None:
    storage.put("flaky", b"fail twice")
    assert len(_eventually_many(server, "flaky", 3)) == 3
    _once_more(storage, server, "after flaky")
    assert len(fired(server, "flaky")) == 3
    assert not any("flaky" in word for word in storage.poison())


def test_a_blob_is_given_up_after_five_times_and_word_of_it_is_left(
    storage: Storage, server: Server
) -> None:
    storage.put("bad", b"poison")
    eventually(lambda: fired(server, "bad"))
    _once_more(storage, server, "while bad")
    assert not storage.poison(), "others do not wait for it to be given up"
    [word] = eventually(storage.poison)
    assert json.loads(word)["BlobName"] == "bad"
    assert json.loads(word)["ContainerName"] == "inbox"
    _once_more(storage, server, "after bad")
    assert len(fired(server, "bad")) == 5


def test_many_blobs_fire_once_each(storage: Storage, server: Server) -> None:
    names = [f"many/{number}" for number in range(20)]
    for name in names:
        storage.put(name, name.encode())
    eventually(lambda: all(fired(server, name) for name in names))
    _once_more(storage, server, "after many")
    assert [len(fired(server, name)) for name in names] == [1] * len(names)


@pytest.fixture
def source(tmp_path: Path) -> Iterator[FolderSource]:
    with closing(FolderSource(tmp_path, tmp_path / "notes")) as opened:
        yield opened


def test_a_file_that_is_open_to_be_written_to_is_waited_for(
    source: FolderSource, tmp_path: Path
) -> None:
    (tmp_path / "inbox").mkdir()
    with (tmp_path / "inbox" / "file").open("wb") as file:
        file.write(b"begin")
        file.flush()
        os.utime(file.fileno(), (1, 1))
        assert _names(source) == []
    os.utime(tmp_path / "inbox" / "file", (1, 1))
    assert _names(source) == ["file"]
    (tmp_path / "inbox" / "file").write_bytes(b"just now")
    assert _names(source) == []


def test_where_it_is_not_told_who_writes_a_file_is_waited_for_longer(
    source: FolderSource, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delattr("fcntl.F_SETLEASE", raising=False)  # As on other systems than Linux.
    (tmp_path / "inbox").mkdir()
    (file := tmp_path / "inbox" / "file").write_bytes(b"content")
    os.utime(file, (time.time() - 2,) * 2)
    assert _names(source) == []
    os.utime(file, (time.time() - 31,) * 2)
    assert _names(source) == ["file"]


def test_links_and_names_that_cannot_be_told_are_left(source: FolderSource, tmp_path: Path) -> None:
    inbox = tmp_path / "inbox"
    (inbox / "below").mkdir(parents=True)
    (inbox / "loop").symlink_to(inbox)
    (inbox / "out").symlink_to("/etc")
    (inbox / "link").symlink_to("/etc/passwd")
    for name in ("file", "a#b", "a#1", ".hidden", "half.part", "below/M\udcfcller"):
        (inbox / name).write_bytes(b"content")
        os.utime(inbox / name, (1, 1))
    assert _names(source) == ["a#b", "file"]


def _names(source: FolderSource) -> list[str]:
    async def names() -> list[str]:
        return sorted([blob.name async for blob in source.blobs("inbox")])

    return asyncio.run(names())


# The last, as it stops the server of the others.
def test_after_a_restart_only_new_blobs_fire(storage: Storage, server: Server) -> None:
    _once_more(storage, server, "before restart")
    before = notes(server, "blob")
    server.stop()
    with sample(storage.data, storage.settings, workers=1) as again:
        _once_more(storage, again, "after restart")
        assert len(notes(again, "blob")) == len(before) + 1


def _eventually_many(server: Server, name: str, count: int) -> list[dict[str, object]]:
    return eventually(lambda: found if len(found := fired(server, name)) >= count else None)
