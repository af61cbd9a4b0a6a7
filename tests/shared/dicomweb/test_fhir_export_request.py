"""What can be asked for to be told to a FHIR server."""

from typing import Any

import orjson
import pytest

from shared.dicom.resource import Level
from shared.dicomweb.export_request import QuerySource
from shared.dicomweb.fhir_export_request import FhirExportRequest, parse_fhir_export
from shared.errors import InvalidRequestError


def parsed(source: Any, *, has_partition: bool = False) -> FhirExportRequest:
    body = orjson.dumps({"source": source})
    return parse_fhir_export(body, has_partition=has_partition)


def test_the_archive_and_a_partition_are_told_whole() -> None:
    assert parsed({"type": "archive"}) == FhirExportRequest(is_of_archive=True)
    assert parsed({"type": "Partition"}) == FhirExportRequest()


def test_of_identifiers_each_study_is_told_once() -> None:
    source = {"type": "identifiers", "settings": {"values": ["1.2", "1.2/3.4", "1.3"]}}
    assert parsed(source).source == ("1.2", "1.3")


def test_a_search_is_told_by_its_studies() -> None:
    settings = {"path": "studies", "parameters": {"PatientID": "7"}}
    found = parsed({"type": "query", "settings": settings}).source
    assert found == QuerySource(Level.STUDY, None, None, (("PatientID", "7"),))


def test_the_whole_archive_cannot_be_told_by_way_of_a_partition() -> None:
    with pytest.raises(InvalidRequestError, match=r"source\.type"):
        parsed({"type": "archive"}, has_partition=True)


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"[]",
        b"{",
        b"{}",
        b'{"source": "archive"}',
        b'{"source": {}}',
        b'{"source": {"type": 7}}',
        b'{"source": {"type": "everything"}}',
        b'{"source": {"type": "identifiers"}}',
        b'{"source": {"type": "query", "settings": []}}',
    ],
)
def test_what_asks_for_nothing_that_there_is_is_refused(body: bytes) -> None:
    with pytest.raises(InvalidRequestError):
        parse_fhir_export(body, has_partition=False)
