"""Searches at a FHIR server (FHIR R4, 3.1.1)."""

from collections.abc import Sequence
from dataclasses import dataclass
from urllib.parse import urlencode

from shared.fhir.resource import Identifier

_ESCAPED = str.maketrans({sign: f"\\{sign}" for sign in "\\|,$"})


@dataclass(frozen=True, slots=True)
class FhirSearch:
    """A search for resources of one type; the values of its parameters are not yet encoded."""

    resource_type: str
    parameters: Sequence[tuple[str, str]]

    @classmethod
    def by_identifier(cls, resource_type: str, key: Identifier) -> "FhirSearch":
        """The search for resources of an identifier."""
        return cls(resource_type, (("identifier", token(key)),))

    @property
    def query(self) -> str:
        """Its parameters as the query of a URL."""
        return urlencode(self.parameters)


def token(key: Identifier) -> str:
    """An identifier as the value of a search parameter (FHIR R4, 3.1.1.4.10)."""
    return f"{key.system.translate(_ESCAPED)}|{key.value.translate(_ESCAPED)}"
