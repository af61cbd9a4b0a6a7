"""Studies as FHIR sees them, made of data sets."""

from collections import defaultdict
from typing import Any

from pydicom.dataset import Dataset

from shared.dicom.json_model import Document, from_pydicom
from shared.fhir.rules import MappingRules
from shared.fhir.study_content import (
    InstanceContent,
    SeriesContent,
    StudyContent,
    has_told_content,
)
from shared.fhir.study_resources import StudyResources, map_study

SERVICE = "https://dicom.example.org/v2"
PATIENT_SYSTEM = "https://hospital.example.org/patients"
ACCESSION_SYSTEM = "https://hospital.example.org/orders"


def rules(**others: Any) -> MappingRules:
    """Rules of a site; others on top."""
    given: dict[str, Any] = {
        "dicomweb_url": SERVICE,
        "patient_system": PATIENT_SYSTEM,
        "accession_system": ACCESSION_SYSTEM,
        **others,
    }
    return MappingRules(**given)


def content_of(*data_sets: Dataset, partition: str = "Microsoft.Default") -> StudyContent:
    """The study of some data sets."""
    return content_of_documents(*map(from_pydicom, data_sets), partition=partition)


def content_of_documents(
    *documents: Document, partition: str = "Microsoft.Default"
) -> StudyContent:
    """The study of some data sets in the JSON model."""
    series: defaultdict[str, list[Document]] = defaultdict(list)
    for document in documents:
        series[_uid(document, "0020000E")].append(document)
    first = series[min(series)][-1]
    return StudyContent(
        _uid(first, "0020000D"),
        partition,
        first,
        [
            SeriesContent(uid, members[-1], len(members), [_instance(one) for one in members])
            for uid, members in series.items()
        ],
    )


def mapped(*data_sets: Dataset, **others: Any) -> StudyResources:
    """What some data sets are told as, by rules of a site with others on top."""
    partition = others.pop("partition", "Microsoft.Default")
    return map_study(content_of(*data_sets, partition=partition), rules(**others))


def _instance(document: Document) -> InstanceContent:
    is_whole = has_told_content(_uid(document, "00080016"))
    return InstanceContent(_uid(document, "00080018"), document, is_whole)


def _uid(document: Document, tag: str) -> str:
    values = document.get(tag, {}).get("Value") or ["1.2.3"]
    return str(values[0])
