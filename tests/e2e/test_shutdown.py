"""What SIGTERM lets end, and what it ends."""

import http.client
import socket
from contextlib import closing
from pathlib import Path

import pytest

from tests.builders import image, part10
from tests.e2e.server import running
from tests.e2e.wire import AS_STORED, client, instance_path, store_one

pytestmark = pytest.mark.host

_PIECE_BYTES = 1_048_576


async def test_a_retrieve_under_way_ends_whole_when_the_server_is_told_to_stop(
    tmp_path: Path,
) -> None:
    # Far more than fits between server and client, so that most of it is still to be sent.
    dataset = image(rows=4096, columns=4096, frames=2)
    file = part10(dataset)
    with running(tmp_path / "data") as server:
        async with client(server.v2, 0) as http_client:
            assert (await store_one(http_client, file)).status_code == 200
        connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=60)
        with closing(connection):
            connection.request("GET", "/v2" + instance_path(dataset), headers=AS_STORED)
            answer = connection.getresponse()
            received = answer.read(_PIECE_BYTES)
            server.process.terminate()
            _wait_until_refused(server.port)
            while piece := answer.read(_PIECE_BYTES):
                received += piece
        assert received == file
        assert server.process.wait(30) == 0, server.log()


def _wait_until_refused(port: int) -> None:
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=5).close()
        except ConnectionResetError:
            continue  # One of the workers closed its socket in this moment.
        except ConnectionRefusedError:
            return
