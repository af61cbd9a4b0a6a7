"""The server as it runs with an issuer of tokens, and where it does not run without one."""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
import requests
from dicomweb_client import DICOMwebClient
from requests.exceptions import HTTPError

from tests.e2e.server import ROOT, Server, running
from tests.e2e.test_dicomweb_client import content, new_series, uids
from tests.issuer import Issuer, running_issuer

pytestmark = pytest.mark.host


@pytest.fixture(scope="module")
def issuer() -> Iterator[Issuer]:
    with running_issuer() as issuer:
        yield issuer


@pytest.fixture(scope="module")
def guarded(issuer: Issuer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    data = tmp_path_factory.mktemp("guarded") / "data"
    with running(data, issuer.settings, workers=1) as server:
        yield server
        assert "Traceback" not in server.log()


def _client(server: Server, token: str) -> DICOMwebClient:
    session = requests.Session()
    session.headers["Authorization"] = f"Bearer {token}"
    return DICOMwebClient(server.v2, session=session)


def _status(refused: pytest.ExceptionInfo[HTTPError]) -> int:
    return refused.value.response.status_code


def test_a_client_with_a_token_stores_searches_retrieves_and_deletes(
    guarded: Server, issuer: Issuer
) -> None:
    [instance] = new_series()
    client = _client(guarded, issuer.token())
    client.store_instances([instance])
    [found] = client.search_for_instances(search_filters={"StudyInstanceUID": uids(instance)[0]})
    assert found["00080018"]["Value"] == [uids(instance)[2]]
    assert content(client.retrieve_instance(*uids(instance))) == content(instance)
    client.delete_study(uids(instance)[0])


def test_a_reader_reads_and_does_nothing_else(guarded: Server, issuer: Issuer) -> None:
    [instance] = new_series()
    _client(guarded, issuer.token("Dicom.ReadWrite")).store_instances([instance])
    reader = _client(guarded, issuer.token("Dicom.Read"))
    assert content(reader.retrieve_instance(*uids(instance))) == content(instance)
    with pytest.raises(HTTPError) as refused:
        reader.store_instances(new_series())
    assert _status(refused) == 403
    with pytest.raises(HTTPError) as refused:
        reader.delete_study(uids(instance)[0])
    assert _status(refused) == 403


def test_nobody_is_let_in_without_a_token(guarded: Server) -> None:
    with pytest.raises(HTTPError) as refused:
        DICOMwebClient(guarded.v2).store_instances(new_series())
    assert _status(refused) == 401
    assert httpx.get(f"{guarded.address}/health/check", trust_env=False).status_code == 200


def test_a_second_authorization_header_is_not_overlooked(guarded: Server, issuer: Issuer) -> None:
    line = ("Authorization", f"Bearer {issuer.token()}")
    with httpx.Client(base_url=guarded.v2, trust_env=False) as http:
        assert http.get("/studies", headers=[line]).status_code in (200, 204)
        for lines in ([line, line], [("Authorization", "Basic eA=="), line]):
            answer = http.get("/studies", headers=lines)
            assert answer.status_code == 401
            assert answer.headers["www-authenticate"].startswith("Bearer realm=")


def test_the_server_does_not_start_for_others_without_authentication(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "localhost", "--host", "0.0.0.0", "--port", "0"]  # noqa: S104
    command += ["--data", str(tmp_path / "data")]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (1, "")
    assert "AUTHENTICATION is none, which is refused where others may call (0.0.0.0:" in done.stderr
    assert "Traceback" not in done.stderr
