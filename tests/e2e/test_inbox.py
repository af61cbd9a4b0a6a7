"""Files are dropped into the inbox of a running server, or uploaded to it, and are found."""

import hashlib
import shutil
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import pytest
import requests
from azure.storage.blob import BlobServiceClient, ContainerClient
from pydicom.uid import generate_uid

from localhost.azurite import azurite
from tests.builders import dataset, image, part10
from tests.e2e.server import Server, running

# The first time, the emulator is installed.
pytestmark = [pytest.mark.host, pytest.mark.slow, pytest.mark.timeout(600)]

# Many times what is looked for at once, and what is handed over at once.
_IN_FOLDER = 400
_IN_ACCOUNT = 150
_KILLED = 120
_PATIENCE_SECONDS = 120
_NOW = {"Accept": "application/json"}


def _files(count: int) -> dict[str, bytes]:
    """Files of one series by their names."""
    study = generate_uid()
    template = part10(
        image(
            rows=64,
            columns=64,
            StudyInstanceUID=study,
            SeriesInstanceUID=f"{study[:50]}.1",
            SOPInstanceUID="1.2.3.99999",
        )
    )
    return {
        f"{number}.dcm": template.replace(b"1.2.3.99999", b"1.2.3.%05d" % number)
        for number in range(count)
    }


def _eventually[T](look: Callable[[], T | None], seconds: float = _PATIENCE_SECONDS) -> T:
    end = time.monotonic() + seconds
    while not (found := look()):
        assert time.monotonic() < end, f"still {found!r} after {seconds} s"
        time.sleep(0.1)
    return found


def _get(address: str) -> Any:
    answer = httpx.get(address, headers=_NOW, timeout=60)
    assert answer.status_code == 200, answer.text
    return answer.json()


def _stored(server: Server, partition: str, count: int) -> set[str]:
    """The names of the files that searches find, made of the UIDs."""
    found = _get(f"{server.v2}/partitions/{partition}/instances?limit={count + 10}")
    return {f"{int(item['00080018']['Value'][0].rpartition('.')[2])}.dcm" for item in found}


def _changes(server: Server) -> int:
    """How many changes there ever were: as many as instances, if none was stored twice."""
    return int(_get(f"{server.v2}/changefeed/latest?includemetadata=false")["sequence"])


def _result_url(server: Server, name: str, root: str = "") -> str:
    """Where the result of a dropped file is, as the conformance statement says."""
    return f"{server.v2}{root}/uploads/{hashlib.sha256(name.encode()).hexdigest()[:32]}"


def _left(folder: Path) -> list[Path]:
    files = [file for file in folder.rglob("*") if file.is_file()]
    # A kill in the middle of a removal leaves what the clock takes in once more, much later.
    return [file for file in files if file.suffix != ".taken"]


# --- a folder -----------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with running(tmp_path_factory.mktemp("inbox") / "data", workers=1) as started:
        yield started


def test_a_file_copied_into_the_folder_is_found_and_told_of(server: Server, tmp_path: Path) -> None:
    source = dataset()
    (tmp_path / "Doe^Jane.dcm").write_bytes(part10(source))
    shutil.copy(tmp_path / "Doe^Jane.dcm", server.data / "inbox")
    address = _result_url(server, "Doe^Jane.dcm")
    _eventually(lambda: httpx.get(address).status_code == 200)
    told = _get(address)
    assert told["status"] == "stored"
    assert told["sopInstanceUid"] == source.SOPInstanceUID
    headers = {"Accept": "application/dicom; transfer-syntax=*"}
    assert httpx.get(told["retrieveUrl"], headers=headers).content == part10(source)
    assert _eventually(lambda: not _left(server.data / "inbox"))
    assert "Doe^Jane" not in server.log()


def test_a_refused_file_lies_aside_with_the_reason(server: Server) -> None:
    (server.data / "inbox" / "p").mkdir()
    (server.data / "inbox" / "p" / "bad.dcm").write_bytes(b"no DICOM")
    kept = server.data / "inbox-failed" / "p" / "bad.dcm"
    _eventually(kept.exists)
    assert kept.read_bytes() == b"no DICOM"
    assert b'"reason": 43264' in kept.with_name("bad.dcm.error.json").read_bytes()
    told = _get(_result_url(server, "p/bad.dcm", "/partitions/p"))
    assert (told["status"], told["reason"]) == ("failed", 43264)
    assert httpx.get(_result_url(server, "p/bad.dcm")).status_code == 404, "of another partition"


def test_without_a_storage_account_the_way_to_the_folder_is_told(server: Server) -> None:
    answer = httpx.post(f"{server.v2}/uploads")
    assert answer.status_code == 501
    assert answer.json()["error"]["code"] == "NotSupported"
    assert "put the file there" in answer.json()["error"]["message"]
    assert httpx.post(f"{server.v1}/uploads").status_code == 404


def test_hundreds_of_files_are_ingested_once_each(tmp_path: Path) -> None:
    files = _files(_IN_FOLDER)
    with running(tmp_path / "data") as server:
        (made := server.data / "made").mkdir()
        for name, content in files.items():
            (made / name).write_bytes(content)
        start = time.monotonic()
        made.rename(server.data / "inbox" / "clinic")
        _eventually(lambda: not _left(server.data / "inbox"))
        print(f"{_IN_FOLDER / (time.monotonic() - start):.0f} files/s from a folder")  # noqa: T201
        assert _stored(server, "clinic", _IN_FOLDER) == files.keys()
        assert _changes(server) == _IN_FOLDER
        assert _left(server.data / "inbox-failed") == []


def test_files_are_ingested_once_each_by_a_server_that_is_killed(tmp_path: Path) -> None:
    files = _files(_KILLED)
    inbox = tmp_path / "data" / "inbox" / "clinic"
    inbox.mkdir(parents=True)
    for number, (name, content) in enumerate(files.items()):
        (inbox / name).write_bytes(content)
        if number % 10 == 0:
            (inbox / f"bad{number}").write_bytes(b"bad")
    everything = len(_left(inbox))
    for share in (0.8, 0.4):
        with running(tmp_path / "data") as server:
            _eventually(lambda: len(_left(inbox)) < everything * share)  # noqa: B023
            server.kill()
    with running(tmp_path / "data") as server:
        _eventually(lambda: not _left(inbox))
        assert _stored(server, "clinic", _KILLED) == files.keys()
        assert _changes(server) == _KILLED
        with httpx.Client(headers=_NOW, timeout=60) as http:
            urls = (_result_url(server, f"clinic/{name}", "/partitions/clinic") for name in files)
            statuses = {http.get(url).json()["status"] for url in urls}
        # What was stored when the server was killed before it could say so is found stored.
        assert statuses <= {"stored", "duplicate"}
        # A kill may leave what was being written aside, under a name that says so.
        kept = [f for f in _left(server.data / "inbox-failed") if f.suffix != ".tmp"]
        bad = [f"bad{number}" for number in range(0, _KILLED, 10)]
        assert sorted(f.name for f in kept) == sorted(bad + [f"{name}.error.json" for name in bad])


# --- an account ---------------------------------------------------------------------------------


class Account:
    """A server on the storage emulator, and the containers of its inbox."""

    def __init__(self, server: Server, service: BlobServiceClient) -> None:
        self.server = server
        self.inbox: ContainerClient = service.get_container_client("inbox")
        self.failed: ContainerClient = service.get_container_client("inbox-failed")

    def names(self) -> list[str]:
        return [str(blob.name) for blob in self.inbox.list_blobs()]


@pytest.fixture(scope="module")
def account(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Account]:
    data = tmp_path_factory.mktemp("account") / "data"
    with (
        azurite() as emulator,
        BlobServiceClient.from_connection_string(emulator.connection_string) as service,
        running(data, {"DATA_STORAGE": emulator.connection_string}) as server,
    ):
        service.create_container("inbox")
        yield Account(server, service)


def _upload(account: Account, root: str = "/partitions/tenant") -> tuple[dict[str, Any], str]:
    answer = httpx.post(f"{account.server.v2}{root}/uploads", timeout=60)
    assert answer.status_code == 201, answer.text
    assert answer.headers["cache-control"] == "no-store"
    return answer.json(), answer.headers["location"]


def test_an_uploaded_file_is_ingested_and_told_of(account: Account) -> None:
    upload, location = _upload(account)
    assert _get(location)["status"] == "waiting"
    source = image(rows=1500, columns=1500)
    put = requests.put(upload["url"], part10(source), headers=upload["headers"], timeout=60)
    assert put.status_code == 201, put.text
    told = _eventually(lambda: found if (found := _get(location))["status"] != "waiting" else None)
    assert told["status"] == "stored"
    assert told["sopInstanceUid"] == source.SOPInstanceUID
    headers = {"Accept": "application/dicom; transfer-syntax=*"}
    assert httpx.get(told["retrieveUrl"], headers=headers).content == part10(source)
    other = location.replace("/partitions/tenant", "")
    assert httpx.get(other).status_code == 404, "another partition is not told"
    assert upload["url"].partition("sig=")[2] not in account.server.log()


def test_the_address_of_an_upload_allows_nothing_but_to_make_that_one_file(
    account: Account,
) -> None:
    url, headers = (upload := _upload(account)[0])["url"], upload["headers"]
    blob, _, token = url.partition("?")
    container = blob.removesuffix("/" + "/".join(blob.split("/")[-2:]))

    def status(method: str, address: str, content: bytes = b"") -> int:
        sent = headers if method == "PUT" else {}
        return requests.request(method, address, data=content, headers=sent, timeout=60).status_code

    assert status("GET", f"{container}?restype=container&comp=list&{token}") == 403
    assert status("PUT", f"{blob}x?{token}") == 403
    assert status("PUT", f"{container}/other.dcm?{token}") == 403
    assert status("PUT", url, part10(dataset())) == 201
    assert status("PUT", url, b"another") in {403, 409}, "it is there"
    assert status("GET", url) == 403
    assert status("DELETE", url) == 403


def test_files_in_a_container_are_ingested_once_each(account: Account) -> None:
    _eventually(lambda: not account.names())  # What tests before this one have sent.
    before = _changes(account.server)
    files = _files(_IN_ACCOUNT)
    start = time.monotonic()
    with ThreadPoolExecutor(4) as pool:
        sent = [
            pool.submit(account.inbox.upload_blob, f"clinic/{name}", content)
            for name, content in files.items()
        ]
        sent.append(pool.submit(account.inbox.upload_blob, "clinic/bad ü#1.dcm", b"bad"))
        for future in sent:
            future.result()
    _eventually(lambda: not account.names())
    print(f"{_IN_ACCOUNT / (time.monotonic() - start):.0f} files/s from Azurite")  # noqa: T201
    assert _stored(account.server, "clinic", _IN_ACCOUNT) == files.keys()
    assert _changes(account.server) == before + _IN_ACCOUNT
    assert account.failed.download_blob("clinic/bad ü#1.dcm").readall() == b"bad"
    assert b'"reason": 43264' in (
        account.failed.download_blob("clinic/bad ü#1.dcm.error.json").readall()
    )
