"""The body of a request to tell a FHIR server of what is stored (ours)."""

from collections.abc import Sequence
from dataclasses import dataclass

from shared.dicom.uid import Uid
from shared.dicomweb.export_request import (
    QuerySource,
    parse_body,
    parse_identifiers,
    parse_object,
    parse_query_source,
)
from shared.errors import InvalidRequestError


@dataclass(frozen=True, slots=True)
class FhirExportRequest:
    """What is asked for.

    Attributes:
        source: Studies of a partition, or a search in it; None for all of them.
        is_of_archive: Whether it is all studies of all partitions.
    """

    source: Sequence[Uid] | QuerySource | None = None
    is_of_archive: bool = False


def parse_fhir_export(body: bytes, *, has_partition: bool) -> FhirExportRequest:
    """Read the body; `has_partition` says whether the URL names a partition.

    Raises:
        InvalidRequestError: It is malformed, or asks for what there is not.
    """
    source = parse_object(parse_body(body).get("source"), "source")
    settings = parse_object(source.get("settings", {}), "source.settings")
    match str(source.get("type")).lower():
        case "archive" if not has_partition:
            return FhirExportRequest(is_of_archive=True)
        case "partition":
            return FhirExportRequest()
        case "identifiers":
            paths = parse_identifiers(settings)
            return FhirExportRequest(tuple(dict.fromkeys(path.study for path in paths)))
        case "query":
            return FhirExportRequest(parse_query_source(settings))
        case _:
            raise InvalidRequestError(
                "The field 'source.type' in request body is invalid: there is no such source."
            )
