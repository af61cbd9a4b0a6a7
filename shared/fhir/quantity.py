"""Measured values as Quantity (PS3.3 C.18.1, 2025b; FHIR R4, 2.24.0.6)."""

import math
import re

from shared.fhir.coding import UCUM
from shared.fhir.data_set import DataSet
from shared.fhir.resource import Resource

_DECIMAL = re.compile(r"[+-]?(\d+(\.\d*)?|\.\d+)([eE][+-]?\d{1,3})?\Z", re.ASCII)
_EXACT = 2.0**53


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
    return {**found, "unit": meaning or code, "system": UCUM, "code": "".join(code.split())}


def whole_number(measured: DataSet) -> int | None:
    """An item of Measured Value Sequence as a count, None where it is none."""
    number = _number(measured)
    return int(number) if number is not None and number == int(number) else None


def _number(measured: DataSet) -> float | int | None:
    """The value as exactly as it is said: a double where there is one, else its digits."""
    double = next(iter(measured.values("FloatingPointValue")), None)
    said = measured.text("NumericValue") or ""
    if isinstance(double, float | int):
        number = float(double)
    elif _DECIMAL.match(said):
        number = float(said)
    else:
        return None
    if not math.isfinite(number):
        return None
    # Beyond this a double does not hold every integer, nor JSON of some readers any.
    is_exact = number.is_integer() and abs(number) < _EXACT
    return int(number) if is_exact else number
