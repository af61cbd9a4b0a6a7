"""What v1 and v2 say of instances that are not quite as the Standard has them."""

from typing import Any

import pytest
from pydicom.dataset import Dataset
from pydicom.uid import ImplicitVRLittleEndian

from shared.dicom.resource import parse_path
from tests.archive import Client
from tests.builders import dataset, image, part10, with_values

JSON = "application/dicom+json"
NO_PROBLEM = {"vr": "SQ", "Value": []}


def _path(source: Dataset) -> str:
    return str(parse_path(source.StudyInstanceUID, source.SeriesInstanceUID, source.SOPInstanceUID))


def _comments(item: dict[str, Any]) -> list[str]:
    return [problem["00000902"]["Value"][0] for problem in item["00741048"]["Value"]]


async def _metadata(client: Client, source: Dataset) -> dict[str, Any]:
    answer = await client.get(f"/v2/{_path(source)}/metadata", JSON)
    (document,) = answer.json()
    return dict(document)


@pytest.mark.parametrize("version", ["v1", "v2"])
async def test_a_single_body_of_nothing_is_a_failed_instance(client: Client, version: str) -> None:
    headers = {"Accept": JSON, "Content-Type": "application/dicom"}
    answer = await client.send("POST", f"/{version}/studies", headers=headers, content=b"")
    assert answer.status_code == 409
    (failed,) = answer.json()["00081198"]["Value"]
    assert failed["00081197"]["Value"] == [0xA900]
    assert failed.keys().isdisjoint({"00081150", "00081155"})


@pytest.mark.parametrize("version", ["v1", "v2"])
@pytest.mark.parametrize("study", [b"abc.123", b"11|"])
async def test_a_malformed_study_is_refused(client: Client, version: str, study: bytes) -> None:
    source = dataset()
    content = with_values(part10(source), StudyInstanceUID=study)

    answer = await client.store(f"/{version}", [content])

    assert answer.status_code == 409
    assert answer.json().keys() == {"00081198"}
    (failed,) = answer.json()["00081198"]["Value"]
    assert failed["00081197"]["Value"] == [0xA900]


@pytest.mark.parametrize("version", ["v1", "v2"])
async def test_an_identifier_with_more_padding_is_the_same(client: Client, version: str) -> None:
    source = dataset()
    for padding, status in ((b" ", 200), (b" " * 6, 409)):
        study = source.StudyInstanceUID.encode() + padding
        source.StudyID = str(len(padding))
        content = with_values(part10(source), StudyInstanceUID=study)
        assert (await client.store(f"/{version}", [content])).status_code == status


@pytest.mark.parametrize(("version", "status"), [("v1", 200), ("v2", 202)])
async def test_private_elements_of_implicit_vr_are_kept_in_the_file(
    client: Client, version: str, status: int
) -> None:
    source = dataset()
    source.add_new(0x00070008, "LO", "private")
    content = part10(source, ImplicitVRLittleEndian)

    assert (await client.store(f"/{version}", [content])).status_code == status

    answer = await client.get(f"/v2/{_path(source)}", "application/dicom; transfer-syntax=*")
    assert answer.content == content
    metadata = await client.get(f"/v1/{_path(source)}/metadata", JSON)
    assert "00070008" not in metadata.json()[0]


async def test_v1_tells_in_a_header_that_only_the_first_value_is_indexed(client: Client) -> None:
    several = with_values(part10(dataset()), StudyDescription=b"first\\second")

    answer = await client.store("/v1", [several, several, part10(dataset())])

    assert answer.headers["warning"] == (
        '299 archive.test: "One or more indexed Dicom tag(s) have multiple values, '
        'only first value is indexed."'
    )
    stored = answer.json()["00081199"]["Value"]
    assert all("00081196" not in item for item in stored)
    found = await client.get("/v1/studies?StudyDescription=first", JSON)
    assert len(found.json()) == 1


async def test_v1_without_several_values_warns_of_nothing(client: Client) -> None:
    answer = await client.store("/v1", [part10(dataset())])
    assert answer.status_code == 200
    assert "warning" not in answer.headers


async def test_v1_refuses_an_indexed_attribute_that_is_too_long(client: Client) -> None:
    answer = await client.store("/v1", [with_values(part10(dataset()), Modality=b"M" * 20)])
    assert answer.status_code == 409
    assert answer.json().keys() == {"00081198"}
    assert answer.json()["00081198"]["Value"][0]["00081197"]["Value"] == [0xA900]


async def test_v1_refuses_an_identifier_of_a_patient_that_ends_in_nul(client: Client) -> None:
    content = with_values(part10(dataset()), PatientID=b"Before Null Character, \0")
    answer = await client.store("/v1", [content])
    assert answer.status_code == 409
    (failed,) = answer.json()["00081198"]["Value"]
    assert _comments(failed) == [
        "DICOM100: (0010,0020) - Dicom element 'PatientID' failed validation for VR 'LO': "
        "Value contains invalid character."
    ]


async def test_v2_leaves_a_malformed_date_out_of_metadata_and_index(client: Client) -> None:
    source = dataset(PatientBirthDate="20220315")
    content = with_values(part10(source), StudyDate=b"NotAValidStudyDate")

    answer = await client.store("/v2", [content])

    assert answer.status_code == 202
    (stored,) = answer.json()["00081199"]["Value"]
    assert stored["00081196"]["Value"] == [1]
    assert _comments(stored) == [
        'DICOM100: (0008,0020) - Content "NotAValidStudyDate" does not validate VR DA: '
        "one of the date values does not match the pattern YYYYMMDD"
    ]
    kept = await client.get(f"/v2/{_path(source)}", "application/dicom")
    assert kept.content == content
    metadata = await _metadata(client, source)
    assert metadata["00100030"]["Value"] == ["20220315"]
    assert "00080020" not in metadata
    wanted = f"StudyInstanceUID={source.StudyInstanceUID}&PatientBirthDate=20220315"
    (found,) = (await client.get(f"/v2/studies?{wanted}", JSON)).json()
    assert "00080020" not in found
    bad = await client.get("/v2/studies?StudyDate=NotAValidStudyDate", JSON)
    assert bad.status_code == 400


async def test_a_better_instance_makes_the_study_searchable_again(client: Client) -> None:
    source = dataset()
    await client.store("/v2", [with_values(part10(source), StudyDate=b"never")])
    query = "/v2/studies?StudyDate=20260102"
    assert (await client.get(query, JSON)).status_code == 204
    good = dataset(StudyInstanceUID=source.StudyInstanceUID)
    await client.store("/v2", [part10(good)])
    assert len((await client.get(query, JSON)).json()) == 1


@pytest.mark.parametrize("modality", [b"X\0X", b"M" * 20])
async def test_v2_stores_a_malformed_modality_with_a_warning(
    client: Client, modality: bytes
) -> None:
    answer = await client.store("/v2", [with_values(part10(dataset()), Modality=modality)])
    assert answer.status_code == 202
    (comment,) = _comments(answer.json()["00081199"]["Value"][0])
    assert " does not validate VR CS: value " in comment
    assert comment.startswith(f'DICOM100: (0008,0060) - Content "{modality.decode()}" ')


async def test_v2_finds_what_is_padded_with_nul(client: Client) -> None:
    source = dataset()
    content = with_values(part10(source), Modality=b"X\0")

    answer = await client.store("/v2", [content])

    assert answer.status_code == 200
    assert answer.json()["00081199"]["Value"][0]["00741048"] == NO_PROBLEM
    for value in ("X", "X%00"):
        found = await client.get(f"/v2/instances?Modality={value}", JSON)
        assert len(found.json()) == 1
    kept = await client.get(f"/v2/{_path(source)}", "application/dicom")
    assert kept.content == content


async def test_v2_knows_a_study_padded_with_nul_by_its_clean_uid(client: Client) -> None:
    source = dataset(StudyInstanceUID="1.2.3.45")
    content = with_values(part10(source), StudyInstanceUID=b"1.2.3.45\0\0")

    answer = await client.store("/v2", [content], "1.2.3.45")

    assert answer.status_code == 200
    assert answer.json()["00081199"]["Value"][0]["00741048"] == NO_PROBLEM
    assert (await client.get("/v2/studies/1.2.3.45/metadata", JSON)).status_code == 200
    assert (await client.send("DELETE", "/v2/studies/1.2.3.45")).status_code == 204


@pytest.mark.parametrize(("patient", "status"), [(b"123\0", 200), (b"\0123\0", 409)])
async def test_v2_lets_nul_only_pad_an_identifier_of_a_patient(
    client: Client, patient: bytes, status: int
) -> None:
    answer = await client.store("/v2", [with_values(part10(dataset()), PatientID=patient)])
    assert answer.status_code == status
    key, expected = ("00081199", NO_PROBLEM) if status == 200 else ("00081198", None)
    (item,) = answer.json()[key]["Value"]
    if expected is None:
        assert item["00081197"]["Value"] == [0xA900]
    else:
        assert item["00741048"] == expected


async def test_v2_stores_an_instance_without_a_patient_and_never_forgets_one(
    client: Client,
) -> None:
    study = "1.2.3.46"
    for patient, status, known in (("", 202, None), ("123", 200, "123"), ("", 202, "123")):
        source = dataset(StudyInstanceUID=study, PatientID=patient)
        answer = await client.store("/v2", [part10(source)])
        assert answer.status_code == status
        (stored,) = answer.json()["00081199"]["Value"]
        if status == 202:
            assert _comments(stored) == [
                "DICOM100: (0010,0020) - The required tag '(0010,0020)' is missing."
            ]
        (found,) = (await client.get(f"/v2/studies?StudyInstanceUID={study}", JSON)).json()
        assert found["00100020"].get("Value", [None]) == [known]


async def test_v2_tells_of_further_values_of_the_patient_in_a_header_alone(
    client: Client,
) -> None:
    answer = await client.store("/v2", [with_values(part10(dataset()), PatientID=b"1\\2")])
    assert answer.status_code == 200
    assert answer.headers["warning"].startswith("299 archive.test: ")


async def test_v2_takes_two_values_of_one_for_malformed(client: Client) -> None:
    answer = await client.store("/v2", [with_values(part10(dataset()), StudyDescription=b"a\\b")])
    assert answer.status_code == 202
    assert "warning" not in answer.headers


async def test_implicit_vr_goes_before_malformed_attributes_as_the_reason_to_warn(
    client: Client,
) -> None:
    content = part10(dataset(), ImplicitVRLittleEndian).replace(b"20260102", b"20269999")
    answer = await client.store("/v2", [content])
    (stored,) = answer.json()["00081199"]["Value"]
    assert stored["00081196"]["Value"] == [0xB007]
    assert len(_comments(stored)) == 1


@pytest.mark.parametrize(("version", "status"), [("v1", 200), ("v2", 202)])
async def test_a_preamble_that_makes_a_program_is_told(
    client: Client, version: str, status: int
) -> None:
    content = b"MZ".ljust(128, b"\x90") + part10(dataset())[128:]

    answer = await client.store(f"/{version}", [content])

    assert answer.status_code == status
    sentence = "The preamble makes the file a program; zeros are sent in its place."
    assert answer.headers["warning"] == f'299 archive.test: "{sentence}"'
    (stored,) = answer.json()["00081199"]["Value"]
    if version == "v2":
        assert _comments(stored) == [sentence]
        assert stored["00081196"]["Value"] == [1]


async def test_a_preamble_of_another_kind_is_nothing_to_tell(client: Client) -> None:
    content = b"II*\0".ljust(128, b"\0") + part10(dataset())[128:]
    answer = await client.store("/v2", [content])
    assert answer.status_code == 200
    assert "warning" not in answer.headers


@pytest.mark.parametrize(("version", "status"), [("v1", 200), ("v2", 202)])
async def test_v2_tells_that_a_file_ends_within_its_pixel_data(
    client: Client, version: str, status: int
) -> None:
    answer = await client.store(f"/{version}", [part10(image())[:-1]])

    assert answer.status_code == status
    (stored,) = answer.json()["00081199"]["Value"]
    if version == "v2":
        assert _comments(stored) == ["The file ends before its last value does."]
        assert stored["00081196"]["Value"] == [1]
