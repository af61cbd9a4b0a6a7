"""Resources of R4 as R5 has them (FHIR R5, "R4 Conversions")."""

from collections.abc import Callable

from shared.fhir.identifier import is_accession
from shared.fhir.resource import Resource


def to_r5(resource: Resource) -> Resource:
    """A resource in R5; one whose type has not changed is given as it is."""
    change = _CHANGES.get(resource["resourceType"])
    return resource if change is None else change(dict(resource))


def _imaging_study(study: Resource) -> Resource:
    study.pop("interpreter", None)
    # R5 has accession numbers only in basedOn.
    study["identifier"] = [one for one in study["identifier"] if not is_accession(one)]
    if "modality" in study:
        study["modality"] = [_concept(one) for one in study["modality"]]
    for old, new in (("procedureCode", "procedure"), ("reasonCode", "reason")):
        if old in study:
            study[new] = [{"concept": one} for one in study.pop(old)]
    if "series" in study:
        study["series"] = [_series(dict(one)) for one in study["series"]]
        # Not only those that make images.
        modalities = {
            one["coding"][0]["code"]: one for one in (s["modality"] for s in study["series"])
        }
        study["modality"] = [modalities[code] for code in sorted(modalities)]
    return study


def _series(series: Resource) -> Resource:
    for name in ("modality", "laterality"):
        if name in series:
            series[name] = _concept(series[name])
    if "bodySite" in series:
        series["bodySite"] = {"concept": _concept(series["bodySite"])}
    return series


def _endpoint(endpoint: Resource) -> Resource:
    endpoint["connectionType"] = [_concept(endpoint["connectionType"])]
    types, media = endpoint.pop("payloadType"), endpoint.pop("payloadMimeType")
    endpoint["payload"] = [{"type": types, "mimeType": media}]
    return endpoint


def _device(device: Resource) -> Resource:
    names = device.pop("deviceName", [])
    if names:
        kinds = {"model-name": "registered-name"}
        device["name"] = [
            {"value": one["name"], "type": kinds.get(one["type"], one["type"])} for one in names
        ]
        models = [one["name"] for one in names if one["type"] == "model-name"]
        if models:
            device["modelNumber"] = models[0]
    if "type" in device:
        device["type"] = [device["type"]]
    # R5 demands the issuer of a UDI, which DICOM does not tell.
    device.pop("udiCarrier", None)
    return device


def _service_request(request: Resource) -> Resource:
    if "code" in request:
        request["code"] = {"concept": request["code"]}
    return request


_CHANGES: dict[str, Callable[[Resource], Resource]] = {
    "ImagingStudy": _imaging_study,
    "Endpoint": _endpoint,
    "Device": _device,
    "ServiceRequest": _service_request,
}


def _concept(coding: Resource) -> Resource:
    return {"coding": [coding]} if "code" in coding else {"text": coding["display"]}
