"""The client library of the DICOM community, with the headers that it sends by default."""

import io

import pydicom
import pytest
from dicomweb_client import DICOMwebClient
from pydicom.data import get_testdata_file
from pydicom.dataset import Dataset
from pydicom.uid import generate_uid

from tests.builders import image, part10
from tests.e2e.server import Server

pytestmark = pytest.mark.host


@pytest.fixture(params=["v1", "v2"])
def client(server: Server, request: pytest.FixtureRequest) -> DICOMwebClient:
    return DICOMwebClient(f"{server.address}/{request.param}")


@pytest.fixture
def client_v2(server: Server) -> DICOMwebClient:
    return DICOMwebClient(server.v2)


def new_series(count: int = 1) -> list[Dataset]:
    """Instances of one series of a new study, as they are read from files."""
    study, series = generate_uid(), generate_uid()
    return [
        pydicom.dcmread(
            io.BytesIO(
                part10(
                    image(
                        frames=3,
                        StudyInstanceUID=study,
                        SeriesInstanceUID=series,
                        InstanceNumber=number,
                    )
                )
            )
        )
        for number in range(count)
    ]


def uids(dataset: Dataset) -> tuple[str, str, str]:
    return dataset.StudyInstanceUID, dataset.SeriesInstanceUID, dataset.SOPInstanceUID


def content(dataset: Dataset) -> bytes:
    buffer = io.BytesIO()
    pydicom.dcmwrite(buffer, dataset)
    return buffer.getvalue()


def contents(datasets: list[Dataset]) -> list[bytes]:
    return sorted(map(content, datasets))


def test_it_stores_instances(client: DICOMwebClient) -> None:
    stored = new_series(3)
    report = client.store_instances(stored)
    assert [item.ReferencedSOPInstanceUID for item in report.ReferencedSOPSequence] == [
        dataset.SOPInstanceUID for dataset in stored
    ]
    assert "FailedSOPSequence" not in report


def test_it_finds_the_study(client: DICOMwebClient) -> None:
    [dataset] = new_series()
    client.store_instances([dataset])
    [found] = client.search_for_studies(
        search_filters={"StudyInstanceUID": dataset.StudyInstanceUID}
    )
    assert Dataset.from_json(found).StudyInstanceUID == dataset.StudyInstanceUID


def test_it_finds_the_series(client: DICOMwebClient) -> None:
    [dataset] = new_series()
    client.store_instances([dataset])
    [found] = client.search_for_series(dataset.StudyInstanceUID)
    assert Dataset.from_json(found).SeriesInstanceUID == dataset.SeriesInstanceUID


def test_it_finds_the_instances(client: DICOMwebClient) -> None:
    stored = new_series(3)
    client.store_instances(stored)
    found = client.search_for_instances(*uids(stored[0])[:2])
    assert {Dataset.from_json(item).SOPInstanceUID for item in found} == {
        dataset.SOPInstanceUID for dataset in stored
    }


def test_it_retrieves_an_instance(client: DICOMwebClient) -> None:
    [dataset] = new_series()
    client.store_instances([dataset])
    assert content(client.retrieve_instance(*uids(dataset))) == content(dataset)


def test_it_retrieves_a_series_of_one(client: DICOMwebClient) -> None:
    [dataset] = new_series()
    client.store_instances([dataset])
    assert contents(client.retrieve_series(*uids(dataset)[:2])) == [content(dataset)]


def test_it_retrieves_a_study_of_one(client: DICOMwebClient) -> None:
    [dataset] = new_series()
    client.store_instances([dataset])
    assert contents(client.retrieve_study(dataset.StudyInstanceUID)) == [content(dataset)]


# In v1 several instances are not given in a transfer syntax that is asked for, as the client does
# by leaving it out.


def test_it_retrieves_a_series_of_many(client_v2: DICOMwebClient) -> None:
    stored = new_series(5)
    client_v2.store_instances(stored)
    assert contents(client_v2.retrieve_series(*uids(stored[0])[:2])) == contents(stored)


def test_it_retrieves_a_study_of_many(client_v2: DICOMwebClient) -> None:
    stored = new_series(5)
    client_v2.store_instances(stored)
    assert contents(client_v2.retrieve_study(stored[0].StudyInstanceUID)) == contents(stored)


def test_it_iterates_over_a_study(client_v2: DICOMwebClient) -> None:
    stored = new_series(5)
    client_v2.store_instances(stored)
    received = list(client_v2.iter_study(stored[0].StudyInstanceUID))
    assert contents(received) == contents(stored)


def test_it_retrieves_metadata_at_each_level(client: DICOMwebClient) -> None:
    [dataset] = new_series()
    client.store_instances([dataset])
    study, series, instance = uids(dataset)
    of_study = client.retrieve_study_metadata(study)
    of_series = client.retrieve_series_metadata(study, series)
    of_instance = client.retrieve_instance_metadata(study, series, instance)
    assert of_study == of_series == [of_instance]
    read = Dataset.from_json({tag: item for tag, item in of_instance.items() if tag != "7FE00010"})
    without_pixels = pydicom.dcmread(io.BytesIO(content(dataset)), stop_before_pixels=True)
    assert read == Dataset(without_pixels)


def test_it_retrieves_frames(client: DICOMwebClient) -> None:
    [dataset] = new_series()
    client.store_instances([dataset])
    size = len(dataset.PixelData) // 3
    frames = [dataset.PixelData[size * number : size * (number + 1)] for number in range(3)]
    assert client.retrieve_instance_frames(*uids(dataset), [3, 1]) == [frames[2], frames[0]]


def test_it_gets_a_real_file_back_as_it_was(client: DICOMwebClient) -> None:
    dataset = pydicom.dcmread(str(get_testdata_file("CT_small.dcm")))
    client.store_instances([dataset])
    assert content(client.retrieve_instance(*uids(dataset))) == content(dataset)
    client.delete_study(dataset.StudyInstanceUID)  # So that the next version can store it anew.


def test_it_deletes_a_study(client: DICOMwebClient) -> None:
    [dataset] = new_series()
    client.store_instances([dataset])
    client.delete_study(dataset.StudyInstanceUID)
    assert (
        client.search_for_studies(search_filters={"StudyInstanceUID": dataset.StudyInstanceUID})
        == []
    )
