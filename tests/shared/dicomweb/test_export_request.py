"""What can be asked for to be exported, and how its members may be written."""

from typing import Any

import orjson
import pytest

from shared.dicom.deidentification.profile import Option, Profile
from shared.dicomweb.export_request import ExportFolder, ExportRequest, parse_export
from shared.errors import InvalidRequestError

_ASKED = {
    "source": {"type": "identifiers", "settings": {"values": ["1.2"]}},
    "destination": {"type": "folder", "settings": {"path": "a"}},
}


def parsed(*, version: int = 2, **members: Any) -> ExportRequest:
    return parse_export(orjson.dumps({**_ASKED, **members}), version=version)


@pytest.mark.parametrize("version", [1, 2])
def test_names_of_members_are_read_in_any_case(version: int) -> None:
    body = {
        "SOURCE": {"Type": "Identifiers", "SETTINGS": {"VALUES": ["1.2"]}},
        "dEstination": {"TYPE": "azureBlob", "settings": {"blobcontaineruri": "https://a.b/abc"}},
    }
    found = parse_export(orjson.dumps(body), version=version)
    assert found.source == parsed().source
    assert getattr(found.destination, "url", None) == "https://a.b/abc"


@pytest.mark.parametrize(
    "name", ["deidentification", "Deidentification", "deIdentification", "DEIDENTIFICATION"]
)
def test_de_identification_is_asked_for_in_any_case(name: str) -> None:
    asked = {"PROFILE": "basic", "Options": ["RetainUids"], "burnedinannotation": "keep"}
    found = parsed(version=2, **{name: asked})
    assert found.profile == Profile(frozenset([Option.RETAIN_UIDS]), keeps_burned_in=True)
    assert found.destination == ExportFolder("a")


@pytest.mark.parametrize("name", ["deidentify", "de-identification", "profile", ""])
def test_what_may_ask_for_de_identification_is_not_passed_over(name: str) -> None:
    with pytest.raises(InvalidRequestError):
        parsed(version=2, **{name: {"profile": "basic"}})


@pytest.mark.parametrize("wanted", [None, False, {}, {"profile": "basic"}])
@pytest.mark.parametrize("name", ["deidentification", "deIdentification"])
def test_de_identification_is_refused_where_there_is_none(name: str, wanted: object) -> None:
    with pytest.raises(InvalidRequestError, match="deidentification"):
        parsed(version=1, **{name: wanted})


def test_other_members_are_passed_over_in_v1_as_the_reference_does() -> None:
    assert parsed(version=1, note="for the study") == parsed()


@pytest.mark.parametrize("wanted", [None, False, [], "basic"])
def test_de_identification_that_is_no_object_is_refused(wanted: object) -> None:
    with pytest.raises(InvalidRequestError, match="deidentification"):
        parsed(deidentification=wanted)


def test_a_member_that_comes_twice_in_different_case_is_refused() -> None:
    with pytest.raises(InvalidRequestError):
        parsed(deidentification={}, Deidentification={"options": ["retainUids"]})
    with pytest.raises(InvalidRequestError, match=r"source\.settings"):
        parsed(source={"type": "identifiers", "settings": {"values": ["1.2"], "Values": ["1.3"]}})
