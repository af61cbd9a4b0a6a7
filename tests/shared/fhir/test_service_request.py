"""Who has asked for a study."""

from pydicom.dataset import Dataset

from tests.builders import dataset
from tests.shared.fhir.contents import ACCESSION_SYSTEM, mapped


def _requested(number: str, issuer: str | None = None) -> Dataset:
    item = Dataset()
    item.AccessionNumber = number
    if issuer is not None:
        universal = Dataset()
        universal.UniversalEntityID, universal.UniversalEntityIDType = issuer, "ISO"
        item.IssuerOfAccessionNumberSequence = [universal]
    return item


def _numbers(*items: Dataset) -> list[tuple[str, str]]:
    resources = mapped(dataset(RequestAttributesSequence=list(items)))
    identifiers = [one["identifier"] for one in resources.imaging_study.resource["basedOn"]]
    return [(one["value"], one["system"]) for one in identifiers]


def test_a_study_may_fulfil_several_orders_each_of_which_is_named_once() -> None:
    assert _numbers(_requested("A3"), _requested("A2"), _requested("A3")) == [
        ("A2", ACCESSION_SYSTEM),
        ("A3", ACCESSION_SYSTEM),
    ]


def test_one_number_of_two_issuers_is_two_orders() -> None:
    assert _numbers(_requested("A2", "1.2.4"), _requested("A2", "1.2.3")) == [
        ("A2", "urn:oid:1.2.3"),
        ("A2", "urn:oid:1.2.4"),
    ]


def test_the_number_of_the_study_counts_where_no_request_has_one() -> None:
    assert _numbers(Dataset()) == [("A1", ACCESSION_SYSTEM)]
