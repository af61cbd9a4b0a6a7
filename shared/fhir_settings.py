"""The settings of what a FHIR server is told."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from urllib.parse import urlsplit
from zoneinfo import ZoneInfo

from shared.fhir.rules import (
    PARTITION,
    DeletedStudyRule,
    DoseRule,
    MappingRules,
    OrderRule,
    PatientConflictRule,
    PatientRule,
    PractitionerRule,
    SyncRules,
)
from shared.fhir.uri import is_absolute_uri
from shared.loopback import is_this_machine

type Pairs = tuple[tuple[str, str], ...]


class FhirAuthentication(Enum):
    """How the app proves to a FHIR server who it is."""

    NONE = "none"
    IDENTITY = "identity"
    """As the app's identity in Entra ID."""
    CLIENT_SECRET = "client-secret"  # noqa: S105 - the name of a way
    """As an application of Entra ID."""
    SMART = "smart"
    """As a backend service by a signed assertion (SMART App Launch 2.2, Backend Services)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FhirSettings:
    """What a FHIR server is told, how, and by what proof.

    Attributes:
        fhir_url: Base address of the FHIR server; without it, none is told anything.
        fhir_authentication: How the app proves there who it is.
        fhir_audience: What tokens are made for; the base address where it is empty.
        fhir_tenant_id: Tenant of the application, with `client-secret`.
        fhir_client_id: Its client ID; with `smart`, that of the registered client.
        fhir_secret_name: Name of its secret, or of the PEM of its private key, among the secrets.
        fhir_allowed_hosts: Hosts that the base address and the addresses of tokens may have.
        fhir_sync: Whether the FHIR server is told of every change.
        fhir_dicomweb_url: Public address of this service with its version.
        fhir_patient_system: System of patient IDs without a known issuer, with `{partition}` where
            each partition has patients of its own.
        fhir_accession_system: System of accession numbers without a known issuer.
        fhir_issuer_systems: Systems by issuer: `issuer=uri, ...`.
        fhir_issuer_template: URI of other issuers, with `{issuer}`.
        fhir_scheme_systems: Systems by coding scheme designator: `designator=uri, ...`.
        fhir_study_id_system: System of study IDs, which are not told without it.
        fhir_time_zone: Time zone of data sets that do not tell their offset from UTC.
        fhir_patients: What may be changed of a Patient that is there.
        fhir_patient_conflicts: What becomes of a study whose Patient there is somebody else.
        fhir_deleted_studies: What becomes of the ImagingStudy of a deleted study.
        fhir_practitioners: Whether physicians get resources.
        fhir_orders: Whether orders are only looked for, or made.
        fhir_dose: What is told of radiation dose reports.
        fhir_devices: Whether equipment gets resources.
        fhir_max_instances: A study with more lists none of them.
        fhir_max_conditional_entries: Most conditional entries of a transaction.
        fhir_concurrency: How many studies are told side by side.
    """

    fhir_url: str = ""
    fhir_authentication: FhirAuthentication = FhirAuthentication.NONE
    fhir_audience: str = ""
    fhir_tenant_id: str = ""
    fhir_client_id: str = ""
    fhir_secret_name: str = "fhir"  # noqa: S105 - a name
    fhir_allowed_hosts: tuple[str, ...] = ()
    fhir_sync: bool = True
    fhir_dicomweb_url: str = ""
    fhir_patient_system: str = ""
    fhir_accession_system: str = ""
    fhir_issuer_systems: Pairs = ()
    fhir_issuer_template: str = ""
    fhir_scheme_systems: Pairs = ()
    fhir_study_id_system: str = ""
    fhir_time_zone: ZoneInfo | None = None
    fhir_patients: PatientRule = PatientRule.SYNC
    fhir_patient_conflicts: PatientConflictRule = PatientConflictRule.LINK
    fhir_deleted_studies: DeletedStudyRule = DeletedStudyRule.DELETE
    fhir_practitioners: PractitionerRule = PractitionerRule.DISPLAY
    fhir_orders: OrderRule = OrderRule.LINK
    fhir_dose: DoseRule = DoseRule.SUMMARY
    fhir_devices: bool = True
    fhir_max_instances: int = 10_000
    fhir_max_conditional_entries: int = 8
    fhir_concurrency: int = 4

    @property
    def mapping_rules(self) -> MappingRules:
        """How data sets become resources."""
        return MappingRules(
            dicomweb_url=self.fhir_dicomweb_url.rstrip("/"),
            patient_system=self.fhir_patient_system,
            accession_system=self.fhir_accession_system,
            issuer_systems=dict(self.fhir_issuer_systems),
            issuer_template=self.fhir_issuer_template,
            scheme_systems=dict(self.fhir_scheme_systems),
            study_id_system=self.fhir_study_id_system,
            time_zone=self.fhir_time_zone,
            devices=self.fhir_devices,
            practitioners=self.fhir_practitioners,
            orders=self.fhir_orders,
            dose=self.fhir_dose,
        )

    @property
    def sync_rules(self) -> SyncRules:
        """How resources are brought to the FHIR server."""
        return SyncRules(
            patients=self.fhir_patients,
            patient_conflicts=self.fhir_patient_conflicts,
            deleted_studies=self.fhir_deleted_studies,
            max_instances=self.fhir_max_instances,
            max_conditional_entries=self.fhir_max_conditional_entries,
            concurrency=self.fhir_concurrency,
        )

    def is_allowed_fhir_host(self, url: str) -> bool:
        """Whether the app may send anything to an address for the FHIR server's sake."""
        parts = urlsplit(url)
        allowed = self.fhir_allowed_hosts or (urlsplit(self.fhir_url).netloc,)
        return _is_safe(url) and parts.netloc.casefold() in {host.casefold() for host in allowed}

    def fhir_mistakes(self) -> list[str]:
        """What is missing or contradicts itself."""
        found = [
            f"{name} is wrong: must be an absolute URI"
            for name, uri in self._uris().items()
            if uri and not is_absolute_uri(uri)
        ]
        if self.fhir_issuer_template and "{issuer}" not in self.fhir_issuer_template:
            found.append("FHIR_ISSUER_TEMPLATE is wrong: must have {issuer}")
        if self.fhir_max_conditional_entries < _FEWEST_CONDITIONAL:
            found.append(
                f"FHIR_MAX_CONDITIONAL_ENTRIES is wrong: must be at least {_FEWEST_CONDITIONAL}"
            )
        if self.fhir_url:
            found += self._mistakes_about_server()
        return found

    def _uris(self) -> Mapping[str, str]:
        found = {
            "FHIR_PATIENT_SYSTEM": self.fhir_patient_system.replace(PARTITION, "x"),
            "FHIR_ACCESSION_SYSTEM": self.fhir_accession_system,
            "FHIR_STUDY_ID_SYSTEM": self.fhir_study_id_system,
            "FHIR_ISSUER_TEMPLATE": self.fhir_issuer_template.replace("{issuer}", "x"),
        }
        systems = {
            "FHIR_ISSUER_SYSTEMS": self.fhir_issuer_systems,
            "FHIR_SCHEME_SYSTEMS": self.fhir_scheme_systems,
        }
        for name, pairs in systems.items():
            found[name] = next((uri for _, uri in pairs if not is_absolute_uri(uri)), "")
        return found

    def _mistakes_about_server(self) -> list[str]:
        found = []
        for name, url in (
            ("FHIR_URL", self.fhir_url),
            ("FHIR_DICOMWEB_URL", self.fhir_dicomweb_url),
        ):
            if not url:
                found.append(f"{name} is missing")
            elif not _is_safe(url):
                found.append(f"{name} is wrong: must be an HTTPS address without a query")
        if not found and not self.is_allowed_fhir_host(self.fhir_url):
            found.append("FHIR_URL is wrong: FHIR_ALLOWED_HOSTS does not name its host")
        if not self.fhir_patient_system:
            found.append("FHIR_PATIENT_SYSTEM is missing")
        needed = {
            FhirAuthentication.CLIENT_SECRET: ("fhir_tenant_id", "fhir_client_id"),
            FhirAuthentication.SMART: ("fhir_client_id",),
        }
        missing = [n for n in needed.get(self.fhir_authentication, ()) if not getattr(self, n)]
        return found + [f"{name.upper()} is missing" for name in missing]


_FEWEST_CONDITIONAL = 2
"""A new patient and his study."""
_PAIR = re.compile(r"\s*([^=]+?)\s*=\s*(\S+)\s*\Z")


def read_pairs(text: str) -> Pairs:
    """Read `name=value, ...`.

    Raises:
        ValueError: It is written differently.
    """
    found = [_PAIR.match(pair) for pair in text.split(",") if pair.strip()]
    if None in found:
        raise ValueError("must be names with values: name=value, ...")
    return tuple((pair[1], pair[2]) for pair in found if pair is not None)


def read_time_zone(text: str) -> ZoneInfo:
    """Read the name of a time zone.

    Raises:
        ValueError: There is none of the name.
    """
    try:
        return ZoneInfo(text)
    except (KeyError, OSError) as error:
        raise ValueError("must be a time zone, like Europe/Berlin") from error


def _is_safe(url: str) -> bool:
    """Whether an address is one of HTTPS, or of this machine, and nothing but an address."""
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname, parts.port
    except ValueError:
        return False
    if not host or parts.username or parts.query or parts.fragment:
        return False
    return parts.scheme == "https" or (parts.scheme == "http" and is_this_machine(parts.netloc))
