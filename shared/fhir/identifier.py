"""Identifiers with their systems: which namespace a DICOM issuer stands for.

Standard: PS3.3 Tables 10-17 and 10-18 (2025b); FHIR R4, 2.24.0.8.
"""

from urllib.parse import quote
from uuid import UUID

from shared.fhir.coding import IDENTIFIER_TYPES
from shared.fhir.data_set import DataSet
from shared.fhir.resource import Identifier, Resource
from shared.fhir.rules import MappingRules
from shared.fhir.uri import is_absolute_uri

_OID = frozenset("0123456789.")


def issued_identifier(
    value: str, issuer: str | None, qualifiers: DataSet, rules: MappingRules, default: str
) -> Identifier | None:
    """An identifier in the namespace of its issuer, or in a default one; None where there is none.

    Args:
        value: What was issued.
        issuer: The local text that names the issuer.
        qualifiers: Its universal entity, an item of an issuer or qualifiers sequence.
        rules: Which systems a site has for its issuers.
        default: System of what has no issuer that is known.
    """
    # An entity of a type that is no URI still tells one issuer from another.
    names = (issuer, *map(qualifiers.text, ("LocalNamespaceEntityID", "UniversalEntityID")))
    local = next((name for name in names if name), None)
    system = (
        _universal(qualifiers)
        or (local and (rules.issuer_systems.get(local) or _from_template(local, rules)))
        or default
    )
    return Identifier(system, value) if system else None


def typed(key: Identifier, code: str, *, assigner: str | None = None) -> Resource:
    """An identifier with its type (HL7 v2 table 0203)."""
    found: Resource = {
        "type": {"coding": [{"system": IDENTIFIER_TYPES, "code": code}]},
        **plain(key),
    }
    return found if assigner is None else {**found, "assigner": {"display": assigner}}


def plain(key: Identifier) -> Resource:
    """An identifier as a member of a resource."""
    return {"system": key.system, "value": key.value}


def is_accession(identifier: Resource) -> bool:
    """Whether an identifier, maybe of somebody else's making, is an accession number."""
    codings = identifier.get("type", {}).get("coding", [])
    return any(
        one.get("system") == IDENTIFIER_TYPES and one.get("code") == "ACSN" for one in codings
    )


def accession(data_set: DataSet, rules: MappingRules) -> Identifier | Resource | None:
    """An accession number; as it is said where its system is not known."""
    number = data_set.text("AccessionNumber")
    if number is None:
        return None
    issuer = data_set.item("IssuerOfAccessionNumberSequence")
    return issued_identifier(number, None, issuer, rules, rules.accession_system) or {
        "type": {"coding": [{"system": IDENTIFIER_TYPES, "code": "ACSN"}]},
        "value": number,
    }


def _universal(qualifiers: DataSet) -> str | None:
    entity, kind = qualifiers.text("UniversalEntityID"), qualifiers.text("UniversalEntityIDType")
    if entity is None:
        return None
    match kind:
        case "ISO" if _OID.issuperset(entity):
            return f"urn:oid:{entity}"
        case "UUID" if _is_uuid(entity):
            return f"urn:uuid:{entity.lower()}"
        case "URI" if is_absolute_uri(entity):
            return entity
        case _:
            return None


def _from_template(local: str, rules: MappingRules) -> str | None:
    return rules.issuer_template.replace("{issuer}", quote(local, safe="")) or None


def _is_uuid(text: str) -> bool:
    try:
        return UUID(text) is not None
    except ValueError:
        return False
