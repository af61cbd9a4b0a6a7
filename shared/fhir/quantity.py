"""Measured values as Quantity (PS3.3 C.18.1, 2025b; FHIR R4, 2.24.0.6)."""

import math

from shared.fhir.coding import UCUM
from shared.fhir.data_set import DataSet
from shared.fhir.resource import Resource


def quantity(measured: DataSet) -> Resource | None:
    """An item of Measured Value Sequence as a Quantity, None where it has no number."""
    number = _number(measured)
    if number is None:
        return None
    found: Resource = {"value": number}
    unit = measured.item("MeasurementUnitsCodeSequence")
    code, meaning = unit.text("CodeValue"), unit.text("CodeMeaning")
    if code is None or unit.text("CodingSchemeDesignator") != "UCUM":
        return found if meaning is None else {**found, "unit": meaning}
    return {**found, "unit": meaning or code, "system": UCUM, "code": code}


def whole_number(measured: DataSet) -> int | None:
    """An item of Measured Value Sequence as a count, None where it is none."""
    number = _number(measured)
    return int(number) if number is not None and number == int(number) else None


def _number(measured: DataSet) -> float | int | None:
    """The value as exactly as it is said: a double where there is one, else its digits."""
    double = next(iter(measured.values("FloatingPointValue")), None)
    said = double if isinstance(double, float | int) else measured.text("NumericValue")
    try:
        number = float(said) if said is not None else None
    except ValueError:
        return None
    if number is None or not math.isfinite(number):
        return None
    return int(number) if number.is_integer() else number
