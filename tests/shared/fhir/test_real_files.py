"""Real data sets, and made ones of every kind, are told as resources that all judges let pass."""

from pathlib import Path

from shared.dicom.json_model import Document
from shared.errors import InvalidInstanceError
from shared.fhir.endpoint import map_endpoint
from shared.fhir.r5 import to_r5
from shared.fhir.rules import DoseRule, OrderRule, PractitionerRule
from shared.fhir.study_content import StudyContent
from shared.fhir.study_resources import map_study
from tests.fhir_judges import assert_valid
from tests.shared.dicom import corpus
from tests.shared.dicom.test_documents_of_pydicom import read
from tests.shared.fhir.contents import content_of_documents, rules

EVERYTHING = rules(
    practitioners=PractitionerRule.CREATE,
    orders=OrderRule.CREATE,
    dose=DoseRule.EVENTS,
    study_id_system="https://hospital.example.org/studies",
    issuer_template="https://hospital.example.org/issuer/{issuer}",
)


def assert_told(content: StudyContent) -> None:
    for site in (rules(), EVERYTHING):
        resources = map_study(content, site)
        for proposed in resources.proposed:
            assert_valid(proposed.resource)
            assert_valid(to_r5(proposed.resource), "R5")


@corpus.by_file
def test_a_real_file_is_told_as_valid_resources(path: Path) -> None:
    try:
        document = read(path).document
    except InvalidInstanceError:
        assert corpus.expected(path) in {"must-refuse", "may-refuse"}
        return
    assert_told(content_of_documents(with_uids(document)))


def with_uids(document: Document) -> Document:
    """A data set as the index has it: what has no UIDs is never stored."""
    needed = ("0020000D", "0020000E", "00080018", "00080016")
    missing = {
        tag: {"vr": "UI", "Value": [f"1.2.{number}"]}
        for number, tag in enumerate(needed)
        if not document.get(tag, {}).get("Value")
    }
    return {**document, **missing}


def test_the_endpoint_of_a_partition_is_valid_and_has_no_final_slash() -> None:
    for partition in ("Microsoft.Default", "clinic"):
        proposed = map_endpoint(partition, rules())
        assert_valid(proposed.resource)
        assert_valid(to_r5(proposed.resource), "R5")
        assert not proposed.resource["address"].endswith("/")
    assert proposed.resource["address"].endswith("/v2/partitions/clinic")
