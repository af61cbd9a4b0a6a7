"""Device from the equipment of a series (PS3.3 C.7.5.1, 2025b)."""

from urllib.parse import quote

from shared.fhir.coding import modality_coding
from shared.fhir.data_set import DataSet
from shared.fhir.identifier import plain
from shared.fhir.pruning import prune
from shared.fhir.resource import Identifier, Proposed
from shared.fhir.rules import MappingRules


def map_device(data_set: DataSet, rules: MappingRules) -> Proposed | None:
    """The Device that made a series, None where nothing tells it from others of its model."""
    key = _identifier(data_set, rules)
    if key is None:
        return None
    names = (
        ("ManufacturerModelName", "model-name"),
        ("StationName", "user-friendly-name"),
    )
    modality = data_set.text("Modality")
    udi = data_set.item("UDISequence").text("UniqueDeviceIdentifier")
    resource = prune(
        {
            "resourceType": "Device",
            "identifier": [plain(key)],
            "udiCarrier": [{"carrierHRF": udi}],
            "status": "active",
            "manufacturer": data_set.text("Manufacturer"),
            "serialNumber": data_set.text("DeviceSerialNumber"),
            "deviceName": [
                {"name": name, "type": kind}
                for keyword, kind in names
                if (name := data_set.text(keyword))
            ],
            "type": None if modality is None else {"coding": [modality_coding(modality)]},
            "version": [{"value": version} for version in data_set.texts("SoftwareVersions")],
        }
    )
    return Proposed(key, resource)


def device_name(data_set: DataSet) -> str | None:
    """How equipment is called: its maker and model, or its station."""
    parts = [data_set.text("Manufacturer"), data_set.text("ManufacturerModelName")]
    return " ".join(part for part in parts if part) or data_set.text("StationName")


def _identifier(data_set: DataSet, rules: MappingRules) -> Identifier | None:
    uid = data_set.text("DeviceUID")
    if uid is not None:
        return Identifier.of_uid(uid)
    serial, model = data_set.text("DeviceSerialNumber"), data_set.text("ManufacturerModelName")
    maker = data_set.text("Manufacturer")
    if serial is None or maker is None:
        return None
    # Serial numbers are given by a maker for each of his models.
    kind = "/".join(quote(part.casefold(), safe="") for part in (maker, model or "-"))
    return Identifier(f"{rules.dicomweb_url}/device-serial/{kind}", serial)
