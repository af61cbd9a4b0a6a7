"""FHIR resources as JSON objects, and how they are named."""

from dataclasses import dataclass
from typing import Any
from uuid import UUID, uuid5

type Resource = dict[str, Any]
"""A FHIR resource, or a part of one, as its JSON object: no empty values anywhere."""

DICOM_UID_SYSTEM = "urn:dicom:uid"

_NAMESPACE = UUID("3f2a7e0c-55c5-4f0e-9a51-8d6f6b1f1a0e")


@dataclass(frozen=True, slots=True)
class Identifier:
    """What a resource is known by everywhere: `system` is an absolute URI."""

    system: str
    value: str

    @classmethod
    def of_uid(cls, uid: str) -> "Identifier":
        """The identifier of what DICOM names by a UID (FHIR R4, ImagingStudy, notes)."""
        return cls(DICOM_UID_SYSTEM, f"urn:oid:{uid}")


@dataclass(frozen=True, slots=True)
class Proposed:
    """A resource as the images would have it, without id and version.

    Attributes:
        key: What it is found by at a FHIR server.
    """

    key: Identifier
    resource: Resource

    @property
    def type(self) -> str:
        """Its resource type."""
        return str(self.resource["resourceType"])

    @property
    def full_url(self) -> str:
        """How the other resources of a study refer to it, before it has an id."""
        return full_url(self.type, self.key)


def full_url(resource_type: str, key: Identifier) -> str:
    """The `urn:uuid:` that stands for a resource in references; the same for the same key."""
    return uuid5(_NAMESPACE, "\n".join((resource_type, key.system, key.value))).urn
