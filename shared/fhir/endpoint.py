"""Endpoint of a partition's DICOMweb service (FHIR R4, Endpoint)."""

from shared.fhir.coding import URI_SYSTEM
from shared.fhir.identifier import plain
from shared.fhir.resource import Identifier, Proposed
from shared.fhir.rules import MappingRules

_CONNECTION_TYPES = "http://terminology.hl7.org/CodeSystem/endpoint-connection-type"
_PAYLOAD_TYPES = "http://terminology.hl7.org/CodeSystem/endpoint-payload-type"
_MEDIA_TYPES = ("application/dicom", "application/dicom+json", "image/jpeg", "image/png")


def map_endpoint(partition_name: str, rules: MappingRules) -> Proposed:
    """Where the studies of a partition can be retrieved."""
    address = rules.service_url(partition_name)
    key = Identifier(URI_SYSTEM, address)
    return Proposed(
        key,
        {
            "resourceType": "Endpoint",
            "identifier": [plain(key)],
            "status": "active",
            "connectionType": {"system": _CONNECTION_TYPES, "code": "dicom-wado-rs"},
            "name": "DICOMweb",
            "payloadType": [
                {"coding": [{"system": _PAYLOAD_TYPES, "code": "any"}], "text": "DICOM"}
            ],
            "payloadMimeType": list(_MEDIA_TYPES),
            "address": address,
        },
    )
