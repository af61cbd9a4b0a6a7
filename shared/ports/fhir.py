"""A FHIR server, as far as it is told of images."""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Protocol

from shared.fhir.resource import Resource
from shared.fhir.search import FhirSearch


class FhirRelease(Enum):
    """A release of FHIR by the beginning of its version."""

    R4 = "4.0"
    R4B = "4.3"
    R5 = "5.0"


@dataclass(frozen=True, slots=True)
class FhirWrite:
    """A change of one resource.

    Attributes:
        method: POST, PUT or DELETE.
        url: A resource type to POST to, or a type and an id.
        resource: What is written, None where it is deleted.
        full_url: What stands for it in references of the other writes.
        if_match: The version that it must be of.
        if_none_exist: It is made only where this finds nothing.
    """

    method: str
    url: str
    resource: Resource | None = None
    full_url: str | None = None
    if_match: str | None = None
    if_none_exist: FhirSearch | None = None


@dataclass(frozen=True, slots=True)
class FhirWritten:
    """What became of a change; `reference` is its resource's type and id, where it is told."""

    status: int
    reference: str | None = None


class FhirServer(Protocol):
    """Resources at a FHIR server.

    Every method raises one of these:
        StoreUnavailableError: It does not answer now, or is too busy, also after some tries.
        FhirAccessError: It does not let the app in, or is no FHIR server that the app can use.
        FhirRefusedError: It refuses what it was sent.
    """

    async def release(self) -> FhirRelease:
        """The release it speaks, as its CapabilityStatement says; asked once."""

    async def search(self, searches: Sequence[FhirSearch]) -> Sequence[Sequence[Resource]]:
        """What each of some searches finds, at most a few hundred resources."""

    async def read(self, reference: str) -> Resource | None:
        """Read a resource by its type and id, None where it is not there or not any more."""

    async def write(self, writes: Sequence[FhirWrite]) -> Sequence[FhirWritten]:
        """Make all of some changes or none; outcomes in the order given.

        A server without transactions makes them one by one, in the order given.

        Raises:
            FhirConflictError: A resource is not of the version it must be of, or several are where
                one may be.
        """

    async def close(self) -> None:
        """Close the connections."""
