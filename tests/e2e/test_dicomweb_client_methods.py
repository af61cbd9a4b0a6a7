"""Every method of the community's client library that test_dicomweb_client.py leaves out."""

import inspect
import io
import re
from pathlib import Path
from typing import Any

import httpx
import pydicom
import pytest
from dicomweb_client import DICOMwebClient
from PIL import Image
from pydicom.dataset import Dataset
from pydicom.uid import generate_uid
from requests import HTTPError

from tests.builders import image, part10
from tests.e2e.server import Server

pytestmark = pytest.mark.host

_LOOKUP_TABLE = bytes(range(256)) * 64


@pytest.fixture(scope="module")
def client(server: Server) -> DICOMwebClient:
    return DICOMwebClient(server.v2)


@pytest.fixture(scope="module")
def stored(client: DICOMwebClient) -> list[Dataset]:
    """Three instances of one series, each of three frames."""
    study, series = generate_uid(), generate_uid()
    datasets = [
        _read(
            part10(
                image(
                    frames=3,
                    StudyInstanceUID=study,
                    SeriesInstanceUID=series,
                    InstanceNumber=number,
                    PatientName=f"Methods^{number}",
                    PatientID=study,
                )
            )
        )
        for number in (1, 2, 3)
    ]
    client.store_instances(datasets, study_instance_uid=study)
    return datasets


def _read(file: bytes) -> Dataset:
    return pydicom.dcmread(io.BytesIO(file))


def _uids(dataset: Dataset) -> tuple[str, str, str]:
    return dataset.StudyInstanceUID, dataset.SeriesInstanceUID, dataset.SOPInstanceUID


def _content(dataset: Dataset) -> bytes:
    buffer = io.BytesIO()
    pydicom.dcmwrite(buffer, dataset)
    return buffer.getvalue()


def _frames(dataset: Dataset) -> list[bytes]:
    size = len(dataset.PixelData) // 3
    return [dataset.PixelData[size * number : size * (number + 1)] for number in range(3)]


def _sop_instance_uids(documents: list[dict[str, Any]]) -> set[str]:
    return {Dataset.from_json(document).SOPInstanceUID for document in documents}


def test_it_stores_nothing_into_another_study(client: DICOMwebClient) -> None:
    dataset = _read(part10(image()))
    with pytest.raises(HTTPError, match="409"):
        client.store_instances([dataset], study_instance_uid=generate_uid())
    assert client.search_for_instances(dataset.StudyInstanceUID) == []


def test_it_finds_studies_by_words_of_a_name(client: DICOMwebClient, stored: list[Dataset]) -> None:
    study = stored[0].StudyInstanceUID
    filters = {"PatientName": "metho", "PatientID": study}
    [found] = client.search_for_studies(fuzzymatching=True, search_filters=filters)
    assert Dataset.from_json(found).StudyInstanceUID == study
    assert client.search_for_studies(fuzzymatching=False, search_filters=filters) == []


def test_it_finds_studies_with_the_fields_that_it_names(
    client: DICOMwebClient, stored: list[Dataset]
) -> None:
    filters = {"PatientID": stored[0].PatientID}
    [found] = client.search_for_studies(
        fields=["StudyDescription", "00080030"], search_filters=filters
    )
    assert Dataset.from_json(found).StudyDescription == stored[0].StudyDescription


def test_it_finds_instances_page_by_page(client: DICOMwebClient, stored: list[Dataset]) -> None:
    study = stored[0].StudyInstanceUID
    pages = [client.search_for_instances(study, limit=2, offset=offset) for offset in (0, 2, 4)]
    assert [len(page) for page in pages] == [2, 1, 0]
    found = [document for page in pages for document in page]
    assert _sop_instance_uids(found) == {dataset.SOPInstanceUID for dataset in stored}


def test_it_finds_the_rest_by_itself(client: DICOMwebClient, stored: list[Dataset]) -> None:
    found = client.search_for_instances(stored[0].StudyInstanceUID, limit=1, get_remaining=True)
    assert _sop_instance_uids(found) == {dataset.SOPInstanceUID for dataset in stored}


def test_it_finds_series_of_all_studies(client: DICOMwebClient, stored: list[Dataset]) -> None:
    filters = {"0020000E": stored[0].SeriesInstanceUID}
    [found] = client.search_for_series(search_filters=filters)
    assert Dataset.from_json(found).StudyInstanceUID == stored[0].StudyInstanceUID


def test_it_finds_instances_of_all_studies(client: DICOMwebClient, stored: list[Dataset]) -> None:
    filters = {"SOPInstanceUID": stored[2].SOPInstanceUID}
    found = client.search_for_instances(search_filters=filters)
    assert _sop_instance_uids(found) == {stored[2].SOPInstanceUID}


def test_it_finds_instances_of_a_series(client: DICOMwebClient, stored: list[Dataset]) -> None:
    found = client.search_for_instances(*_uids(stored[0])[:2], search_filters={"InstanceNumber": 2})
    assert _sop_instance_uids(found) == {stored[1].SOPInstanceUID}


def test_it_retrieves_a_study_as_stored(client: DICOMwebClient, stored: list[Dataset]) -> None:
    media_types = (("application/dicom", "*"),)
    received = client.retrieve_study(stored[0].StudyInstanceUID, media_types)
    assert sorted(map(_content, received)) == sorted(map(_content, stored))


def test_it_retrieves_a_series_as_stored(client: DICOMwebClient, stored: list[Dataset]) -> None:
    media_types = (("application/dicom", "*"),)
    received = client.retrieve_series(*_uids(stored[0])[:2], media_types)
    assert sorted(map(_content, received)) == sorted(map(_content, stored))


def test_it_retrieves_an_instance_as_stored(client: DICOMwebClient, stored: list[Dataset]) -> None:
    received = client.retrieve_instance(*_uids(stored[0]), (("application/dicom", "*"),))
    assert _content(received) == _content(stored[0])


def test_it_iterates_over_a_series(client: DICOMwebClient, stored: list[Dataset]) -> None:
    received = client.iter_series(*_uids(stored[0])[:2])
    assert sorted(map(_content, received)) == sorted(map(_content, stored))


def test_it_iterates_over_frames(client: DICOMwebClient, stored: list[Dataset]) -> None:
    received = client.iter_instance_frames(*_uids(stored[0]), [2, 3])
    assert list(received) == _frames(stored[0])[1:]


@pytest.mark.parametrize(
    "media_types",
    [
        ("application/octet-stream",),
        (("application/octet-stream", "1.2.840.10008.1.2.1"),),
        (("application/octet-stream", "*"),),
        ("image/jp2", "application/octet-stream"),
    ],
    ids=["native", "a named syntax", "any syntax", "of two media types"],
)
def test_it_retrieves_frames_of_a_media_type(
    client: DICOMwebClient, stored: list[Dataset], media_types: Any
) -> None:
    [received] = client.retrieve_instance_frames(*_uids(stored[0]), [2], media_types)
    assert received == _frames(stored[0])[1]


def test_it_reads_with_another_chunk_size(server: Server, stored: list[Dataset]) -> None:
    client = DICOMwebClient(server.v2)
    client.set_chunk_size(100)
    client.set_http_retry_params(retry=False)
    received = client.iter_instance_frames(*_uids(stored[0]), [1, 2, 3])
    assert list(received) == _frames(stored[0])


def test_it_deletes_an_instance(client: DICOMwebClient) -> None:
    dataset = _read(part10(image()))
    client.store_instances([dataset])
    client.delete_instance(*_uids(dataset))
    assert client.search_for_instances(dataset.StudyInstanceUID) == []


def test_it_deletes_a_series(client: DICOMwebClient) -> None:
    dataset = _read(part10(image()))
    client.store_instances([dataset])
    client.delete_series(*_uids(dataset)[:2])
    assert client.search_for_series(dataset.StudyInstanceUID) == []


def test_it_is_told_what_is_not_there(client: DICOMwebClient) -> None:
    with pytest.raises(HTTPError, match="404"):
        client.delete_study(generate_uid())


def test_what_it_looks_up_is_what_the_server_finds(
    client: DICOMwebClient, stored: list[Dataset]
) -> None:
    tag = client.lookup_tag("SeriesInstanceUID")
    found = client.search_for_series(search_filters={tag: stored[0].SeriesInstanceUID})
    assert [client.lookup_keyword(name) for name in found[0] if name == tag] == [
        "SeriesInstanceUID"
    ]


@pytest.fixture(scope="module")
def with_bulk_data(client: DICOMwebClient) -> Dataset:
    dataset = _read(part10(image(EncapsulatedDocument=_LOOKUP_TABLE, frames=3)))
    client.store_instances([dataset])
    return dataset


def _metadata(server: Server, dataset: Dataset) -> dict[str, Any]:
    """Metadata as another client gets it.

    This one names the host without the port in all but its streamed requests, so that the URLs in
    what it gets lack the port too.
    """
    study, series, instance = _uids(dataset)
    url = f"{server.v2}/studies/{study}/series/{series}/instances/{instance}/metadata"
    [document] = httpx.get(url, trust_env=False).json()
    return dict(document)


def test_it_retrieves_bulk_data(
    server: Server, client: DICOMwebClient, with_bulk_data: Dataset
) -> None:
    document = _metadata(server, with_bulk_data)
    assert client.retrieve_bulkdata(document["00420011"]["BulkDataURI"]) == [_LOOKUP_TABLE]


def test_it_iterates_over_bulk_data(
    server: Server, client: DICOMwebClient, with_bulk_data: Dataset
) -> None:
    document = _metadata(server, with_bulk_data)
    assert list(client.iter_bulkdata(document["00420011"]["BulkDataURI"])) == [_LOOKUP_TABLE]


def test_it_retrieves_pixel_data_as_bulk_data(
    server: Server, client: DICOMwebClient, stored: list[Dataset]
) -> None:
    document = _metadata(server, stored[0])
    received = client.retrieve_bulkdata(document["7FE00010"]["BulkDataURI"])
    assert b"".join(received) == stored[0].PixelData


def test_it_retrieves_a_rendered_instance(client: DICOMwebClient, stored: list[Dataset]) -> None:
    rendered = client.retrieve_instance_rendered(*_uids(stored[0]))
    assert Image.open(io.BytesIO(rendered)).size == (16, 16)


@pytest.mark.parametrize("format_", ["jpeg", "png", "gif"])
def test_it_retrieves_a_rendered_frame(
    client: DICOMwebClient, stored: list[Dataset], format_: str
) -> None:
    rendered = client.retrieve_instance_frames_rendered(
        *_uids(stored[0]), [2], media_types=(f"image/{format_}",)
    )
    opened = Image.open(io.BytesIO(rendered))
    assert opened.format == format_.upper()
    assert opened.size == (16, 16)


def test_it_retrieves_a_rendered_frame_as_it_comes(
    client: DICOMwebClient, stored: list[Dataset]
) -> None:
    rendered = client.retrieve_instance_frames_rendered(*_uids(stored[0]), [3])
    assert Image.open(io.BytesIO(rendered)).size == (16, 16)


def test_it_retrieves_a_rendered_instance_of_a_quality(
    client: DICOMwebClient, stored: list[Dataset]
) -> None:
    sizes = [
        len(
            client.retrieve_instance_rendered(
                *_uids(stored[0]), media_types=("image/jpeg",), params={"quality": quality}
            )
        )
        for quality in (5, 95)
    ]
    assert sizes[0] < sizes[1]


def test_it_retrieves_a_rendered_series(client: DICOMwebClient, stored: list[Dataset]) -> None:
    rendered = client.retrieve_series_rendered(*_uids(stored[0])[:2])
    assert rendered


def test_every_method_of_the_client_is_called() -> None:
    methods = {
        name for name, _ in inspect.getmembers(DICOMwebClient, callable) if not name.startswith("_")
    }
    texts = [
        Path(__file__).with_name(name).read_text()
        for name in ("test_dicomweb_client.py", Path(__file__).name)
    ]
    called = {name for text in texts for name in re.findall(r"client(?:_v2)?\.(\w+)\(", text)}
    assert methods <= called
