"""The judges of FHIR resources refuse what is wrong, so that what they let pass means something."""

from copy import deepcopy
from typing import Any

import pytest

from tests.fhir_judges import assert_valid, problems

GOOD: dict[str, Any] = {
    "resourceType": "ImagingStudy",
    "status": "available",
    "subject": {"reference": "Patient/p1"},
    "started": "2024-01-02T03:04:05+01:00",
    "series": [
        {
            "uid": "1.2.3",
            "modality": {"code": "CT"},
            "instance": [{"uid": "1.2.3.4", "sopClass": {"code": "urn:oid:1.2"}, "number": 1}],
        }
    ],
}


def test_a_good_resource_passes() -> None:
    assert_valid(GOOD)


MISTAKES: dict[str, Any] = {
    "an unknown member": lambda r: r.update(colour="red"),
    "no subject": lambda r: r.pop("subject"),
    "no SOP class": lambda r: r["series"][0]["instance"][0].pop("sopClass"),
    "a time without a zone": lambda r: r.update(started="2024-01-02T03:04:05"),
    "an impossible date": lambda r: r.update(started="2020-02-30"),
    "an unknown status": lambda r: r.update(status="there"),
    "an empty text": lambda r: r.update(description=""),
    "blanks": lambda r: r.update(description="  "),
    "a negative number": lambda r: r["series"][0].update(number=-1),
    "a UID of 65 characters": lambda r: r["series"][0].update(uid="1." + "2" * 63),
    "null": lambda r: r.update(description=None),
    "an empty array": lambda r: r.update(modality=[]),
    "an empty object": lambda r: r.update(location={}),
    "a reference to nothing": lambda r: r.update(subject={"reference": "nobody"}),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_does_not_pass(mistake: str) -> None:
    resource = deepcopy(GOOD)
    MISTAKES[mistake](resource)
    assert problems(resource)
