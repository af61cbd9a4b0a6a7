"""The way to the database, with Microsoft's driver and a server on this machine."""

import struct
from collections.abc import Iterator

import pytest

from infra.hooks.database import execute, reachable, user
from infra.hooks.management import Api, HookError
from tests import odbc
from tests.contracts.tds_server import TdsServer, done, tds_server
from tests.infra.remote import Remote

RULE = "/subscriptions/s/resourceGroups/g/providers/Microsoft.Sql/servers/sql/firewallRules/d"
REFUSED = (
    "Cannot open server 'sql' requested by the login. Client with IP address '203.0.113.7' is not"
    " allowed to access the server."
)
NOT_ALLOWED, LOGIN_FAILED = 40615, 18456
ERROR, FAILED = 0xAA, 0x0002


@pytest.fixture(scope="module", autouse=True)
def driver(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    found = odbc.environment(tmp_path_factory.mktemp("odbc"))
    odbc.load()
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ODBCSYSINI", found["ODBCSYSINI"])
        yield


@pytest.fixture
def server() -> Iterator[TdsServer]:
    with tds_server() as found:
        yield found


def refusal(number: int, text: str) -> bytes:
    """What a server answers that lets nobody in. ([MS-TDS], 2.2.7.10)"""
    body = struct.pack("<IBBH", number, 1, 14, len(text)) + text.encode("utf-16-le")
    body += b"\x00\x00" + struct.pack("<I", 1)
    return struct.pack("<BH", ERROR, len(body)) + body + done(FAILED)


def url_of(server: TdsServer) -> str:
    return f"mssql+pyodbc://127.0.0.1:{server.port}/dicom?TrustServerCertificate=yes"


def token() -> str:
    return "a-token"


def let_in_after(server: TdsServer, *refusals: bytes) -> None:
    waiting = list(refusals)
    server.log_in = lambda: waiting.pop(0) if waiting else None


def test_who_is_let_in_needs_no_rule(server: TdsServer, remote: Remote, api: Api) -> None:
    with reachable(url_of(server), token, api, RULE, seconds=0):
        assert len(server.logins) == 1
    assert remote.asked == []


def test_a_rule_lets_this_machine_in_and_is_removed(
    server: TdsServer, remote: Remote, api: Api
) -> None:
    remote.answers = {("PUT", RULE): [(201, {})], ("DELETE", RULE): [(200, {})]}
    # A rule is not heeded at once.
    let_in_after(server, *[refusal(NOT_ALLOWED, REFUSED)] * 3)
    with reachable(url_of(server), token, api, RULE, seconds=0):
        assert [method for method, _, _ in remote.asked] == ["PUT"]
    assert [method for method, _, _ in remote.asked] == ["PUT", "DELETE"]
    addresses = {"startIpAddress": "203.0.113.7", "endIpAddress": "203.0.113.7"}
    assert remote.asked[0][2] == {"properties": addresses}


def test_the_rule_is_removed_where_the_work_fails(
    server: TdsServer, remote: Remote, api: Api
) -> None:
    remote.answers = {("PUT", RULE): [(201, {})], ("DELETE", RULE): [(200, {})]}
    let_in_after(server, refusal(NOT_ALLOWED, REFUSED))
    with (
        pytest.raises(ZeroDivisionError),
        reachable(url_of(server), token, api, RULE, seconds=0),
    ):
        raise ZeroDivisionError
    assert remote.asked[-1][0] == "DELETE"


def test_who_is_not_the_administrator_is_told(server: TdsServer, remote: Remote, api: Api) -> None:
    let_in_after(server, refusal(LOGIN_FAILED, "Login failed for user."))
    with (
        pytest.raises(HookError, match=r"cannot be reached from here: .*Login failed"),
        reachable(url_of(server), token, api, RULE, seconds=0),
    ):
        pass
    assert remote.asked == []


def test_the_statements_arrive_as_they_are_written(server: TdsServer) -> None:
    statements = user("id-x", "4d6d1d2f-1111-4222-8333-444455556666")
    execute(url_of(server), token, statements)
    assert statements in server.batches
    assert not {"BEGIN", "COMMIT"} & set(server.batches[server.batches.index(statements) - 1 :])
