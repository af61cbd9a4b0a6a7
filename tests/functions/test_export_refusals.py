"""What is no export, and is told at once."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from shared.wiring import Services
from tests.archive import Client, open_archive
from tests.functions.exports import JSON, asked, open_exporting, start


@pytest.fixture
async def services(tmp_path: Path) -> AsyncIterator[Services]:
    async with open_exporting(tmp_path) as opened:
        yield opened


@pytest.mark.parametrize(
    "settings",
    [
        {"parameters": {"PatinetID": "W"}},
        {"parameters": {"limit": "1"}},
        {"parameters": {"SOPInstanceUID": "1.2"}},
        {"path": "patients"},
        {"path": "series/1.2/instances"},
        {"parameters": []},
    ],
)
async def test_a_search_that_would_find_more_than_is_meant_is_refused(
    client: Client, settings: dict[str, Any]
) -> None:
    body = asked(source={"type": "query", "settings": settings})
    assert (await start(client, body)).status_code == 400


@pytest.mark.parametrize(
    "body",
    [
        [],
        {},
        asked(),
        asked("1.2/x"),
        asked("1/2/3/4"),
        asked(1),  # type: ignore[arg-type]
        asked("1.2", source={"type": "everything", "settings": {}}),
        asked("1.2", destination={"type": "ftp", "settings": {}}),
        asked("1.2", destination={"type": "folder", "settings": {"path": "../x"}}),
        asked("1.2", destination={"type": "folder", "settings": {"path": "/x"}}),
        asked("1.2", destination={"type": "folder", "settings": {"path": "a/../../x"}}),
        asked("1.2", destination={"type": "folder", "settings": {"path": ".x"}}),
        asked("1.2", deidentification={"options": ["cleanDescriptors"]}),
    ],
)
async def test_what_cannot_be_done_is_refused(client: Client, body: object) -> None:
    assert (await start(client, body)).status_code == 400


@pytest.mark.parametrize(
    ("root", "name"),
    [("/v1", "deidentification"), ("/v1", "DeIdentification"), ("/v2", "deidentify")],
)
async def test_nothing_is_exported_as_it_is_where_de_identification_is_meant(
    client: Client, root: str, name: str
) -> None:
    answer = await start(client, asked("1.2", **{name: {"profile": "basic"}}), root)
    assert answer.status_code == 400


async def test_a_folder_that_a_link_leads_out_of_is_refused(client: Client, tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "away").symlink_to(tmp_path)
    body = asked("1.2", destination={"type": "folder", "settings": {"path": "away"}})
    assert (await start(client, body)).status_code == 400


async def test_a_folder_that_cannot_be_written_to_is_told_at_once(
    client: Client, tmp_path: Path
) -> None:
    (tmp_path / "out").write_bytes(b"a file")
    assert (await start(client, asked("1.2"))).status_code == 400


async def test_the_body_must_be_json(client: Client) -> None:
    sent = await client.send("POST", "/v2/export", headers={"Content-Type": "text/plain"})
    assert sent.status_code == 415
    broken = await client.send("POST", "/v2/export", headers=JSON, content=b"{")
    assert broken.status_code == 400


async def test_the_pre_release_version_has_no_export(client: Client) -> None:
    assert (await start(client, asked("1.2"), "/v1.0-prerelease")).status_code == 404


async def test_exports_can_be_switched_off(tmp_path: Path) -> None:
    async with open_archive(tmp_path, EXPORT="off"):
        assert (await start(Client(), asked("1.2"))).status_code == 404


async def test_without_a_folder_that_is_allowed_none_is_a_destination(tmp_path: Path) -> None:
    async with open_archive(tmp_path):
        assert (await start(Client(), asked("1.2"))).status_code == 400
