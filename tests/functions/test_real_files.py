"""Every way to retrieve every real or hostile file gives an answer, and never an error of ours."""

from pathlib import Path

import pytest

from tests.archive import Client
from tests.shared.dicom.corpus import FILES

RESOURCES = [
    ("", "application/dicom; transfer-syntax=*"),
    ("", "application/dicom"),
    ("", "application/dicom; transfer-syntax=1.2.840.10008.1.2.4.80"),
    ("/metadata", "application/dicom+json"),
    ("/metadata", 'multipart/related; type="application/dicom+xml"'),
    ("/bulkdata", "*/*"),
    ("/frames/1", "*/*"),
    ("/frames/1", "application/octet-stream"),
    ("/frames/1", "image/jp2"),
    ("/rendered", "*/*"),
    ("/rendered?window=40,400,linear&viewport=200,200", "image/png"),
    ("/thumbnail", "*/*"),
]
ALLOWED = {200, 404, 406}


@pytest.mark.slow
@pytest.mark.skipif(not FILES, reason="the corpus is not installed")
async def test_no_real_file_makes_an_error_of_ours(client: Client) -> None:
    wrong = []
    given = dict.fromkeys(range(len(RESOURCES)), 0)
    for file in FILES:
        content = Path(file).read_bytes()
        report = (await client.store("/v2", [content])).json()
        items = report.get("00081199", {}).get("Value")
        if not items:
            continue
        url = items[0]["00081190"]["Value"][0]
        for number, (resource, accept) in enumerate(RESOURCES):
            answer = await client.get(url + resource, accept)
            given[number] += answer.status_code == 200
            if answer.status_code not in ALLOWED:
                wrong.append((Path(file).name, resource, accept, answer.status_code))
            if number == 0:
                assert answer.content == content
    assert wrong == []
    assert min(given.values()) > 40, given
