"""Codes of DICOM as Coding and CodeableConcept.

Standard: PS3.3 8, PS3.16 8 (2025b); FHIR R4, 4.3 (systems).
"""

import re
from collections.abc import Mapping
from functools import cache

from shared.fhir.data_set import DataSet
from shared.fhir.resource import Resource
from shared.fhir.uri import is_absolute_uri

DCM = "http://dicom.nema.org/resources/ontology/DCM"
SCT = "http://snomed.info/sct"
LOINC = "http://loinc.org"
UCUM = "http://unitsofmeasure.org"
URI_SYSTEM = "urn:ietf:rfc:3986"
IDENTIFIER_TYPES = "http://terminology.hl7.org/CodeSystem/v2-0203"
PARTICIPATION = "http://terminology.hl7.org/CodeSystem/v3-ParticipationType"

_SYSTEMS: Mapping[str, str] = {
    "ACR": "urn:oid:2.16.840.1.113883.6.76",
    "ASTM-SIGPURPOSE": "urn:oid:1.2.840.10065.1.12",
    "C4": "http://www.ama-assn.org/go/cpt",
    "CPT4": "http://www.ama-assn.org/go/cpt",
    "C5": "urn:oid:2.16.840.1.113883.6.82",
    "DCM": DCM,
    "DCMUID": URI_SYSTEM,
    "FMA": "http://purl.org/sig/ont/fma/fma",
    "HCPCS": "https://www.cms.gov/Medicare/Coding/HCPCSReleaseCodeSets",
    "I9": "http://hl7.org/fhir/sid/icd-9-cm",
    "I9C": "http://hl7.org/fhir/sid/icd-9-cm",
    "I10": "http://hl7.org/fhir/sid/icd-10",
    "I10P": "http://www.cms.gov/Medicare/Coding/ICD10",
    "I10CM": "http://hl7.org/fhir/sid/icd-10-cm",
    "ICD10": "http://hl7.org/fhir/sid/icd-10",
    "ICDO": "http://terminology.hl7.org/CodeSystem/icd-o-3",
    "ICDO3": "http://terminology.hl7.org/CodeSystem/icd-o-3",
    "ISO3166_1": "urn:iso:std:iso:3166",
    "LN": LOINC,
    "MSH": "urn:oid:2.16.840.1.113883.6.177",
    "NCIt": "http://ncicb.nci.nih.gov/xml/owl/EVS/Thesaurus.owl",
    "NDC": "http://hl7.org/fhir/sid/ndc",
    "NEU": "urn:oid:2.16.840.1.113883.6.210",
    "RADLEX": "http://www.radlex.org",
    "RADELEMENT": "urn:oid:1.2.840.10008.2.16.17",
    "RFC5646": "urn:ietf:bcp:47",
    "RXNORM": "http://www.nlm.nih.gov/research/umls/rxnorm",
    "SCT": SCT,
    "UCUM": UCUM,
    "UMLS": "http://www.nlm.nih.gov/research/umls",
    "UNII": "http://fdasis.nlm.nih.gov",
}
_UID = re.compile(r"[0-2](\.(0|[1-9]\d*))+\Z", re.ASCII)
_OLD_SNOMED = frozenset({"SRT", "SNM3", "99SDM"})
_CODE_KEYWORDS = ("CodeValue", "LongCodeValue", "URNCodeValue")


def modality_coding(code: str) -> Resource:
    """A modality as a Coding (PS3.16 CID 29 and 33)."""
    return {"system": DCM, "code": " ".join(code.split())}


def coding(item: DataSet, schemes: Mapping[str, str], root: DataSet) -> Resource | None:
    """An item of a code sequence as a Coding, None where its system has no name in FHIR.

    Args:
        item: With the code.
        schemes: Systems of a site by their designators, which go before all others.
        root: The data set, which may say what schemes are (PS3.3 C.12.1.1.8).
    """
    code = next((text for keyword in _CODE_KEYWORDS if (text := item.text(keyword))), None)
    designator = item.text("CodingSchemeDesignator")
    if code is not None and code == item.text("URNCodeValue"):
        named = {"system": URI_SYSTEM, "code": code}
        return _with_display(named, item) if is_absolute_uri(code) else None
    if code is None or designator is None:
        return None
    code = " ".join(code.split())
    if designator in _OLD_SNOMED and designator not in schemes:
        return _from_old_snomed(code, item)
    system = schemes.get(designator) or _SYSTEMS.get(designator) or _identified(designator, root)
    return None if system is None else _with_display({"system": system, "code": code}, item)


def concept(item: DataSet, schemes: Mapping[str, str], root: DataSet) -> Resource | None:
    """An item of a code sequence as a CodeableConcept; with its meaning alone where need be."""
    found = coding(item, schemes, root)
    meaning = item.text("CodeMeaning")
    whole: Resource = {}
    if found is not None:
        whole["coding"] = [found]
    if meaning is not None:
        whole["text"] = meaning
    return whole or None


def _from_old_snomed(code: str, item: DataSet) -> Resource | None:
    found = _codes_of_old_snomed().get(code)
    return None if found is None else _with_display({"system": SCT, "code": found}, item)


@cache
def _codes_of_old_snomed() -> Mapping[str, str]:
    from pydicom.sr._snomed_dict import mapping  # noqa: PLC0415 - large, and needed but here

    found: Mapping[str, str] = mapping["SRT"]
    return found


def _identified(designator: str, root: DataSet) -> str | None:
    for scheme in root.items("CodingSchemeIdentificationSequence"):
        if scheme.text("CodingSchemeDesignator") == designator:
            uid, url = scheme.text("CodingSchemeUID"), scheme.text("CodingSchemeURL")
            if uid is not None and _UID.match(uid):
                return f"urn:oid:{uid}"
            return url if url is not None and is_absolute_uri(url) else None
    return None


def _with_display(found: Resource, item: DataSet) -> Resource:
    meaning = item.text("CodeMeaning")
    return found if meaning is None else {**found, "display": meaning}
